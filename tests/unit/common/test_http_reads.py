"""Is no patient's data shown unless it is on record who saw it?"""

from __future__ import annotations

import asyncio
from datetime import timedelta

import pytest
from structlog.testing import capture_logs

from libs.common import audit
from libs.common.audit import Audit, AuditUnavailable, Outcome
from libs.common.auth import Principal, Role
from libs.common.clock import Ports
from libs.common.decision import Actor
from tests.support.access import client
from tests.support.http_sample import START, CountedIds, RecordedAudit, SetClock, sample


def caller(*roles: str) -> Principal:
    return Principal("h1", Actor("p1", frozenset(roles)), START + timedelta(hours=1))


def trail() -> tuple[Audit, RecordedAudit]:
    sink = RecordedAudit()
    return Audit(service="s", sink=sink, ports=Ports(clock=SetClock(), ids=CountedIds())), sink


async def read(to: Audit, patient: str = "pat1", outcome: Outcome = Outcome.SUCCESS) -> None:
    await to.read(
        caller("doctor"),
        patient_id=patient,
        resource="DiagnosticReport",
        resource_ids=["r1"],
        route="GET /v1/reports/{id}",
        correlation_id="c1",
        outcome=outcome,
    )


async def test_a_record_says_who_read_what_of_whom_when_and_why() -> None:
    to, sink = trail()
    await read(to)
    assert sink.rows == [
        {
            "_id": "h1/id-1",
            "id": "id-1",
            "hospital": "h1",
            "recorded": START,
            "type": "rest",
            "action": "R",
            "outcome": "0",
            "purposeOfEvent": "TREAT",
            "agent": {"who": "p1", "role": ["doctor"], "requestor": True},
            "source": {"observer": "/services/s", "site": "GET /v1/reports/{id}"},
            "patient": "pat1",
            "entity": {"type": "DiagnosticReport", "what": ["r1"]},
            "correlation_id": "c1",
        }
    ]


@pytest.mark.parametrize(
    ("roles", "purpose"),
    [
        (["patient"], "PATRQT"),
        (["guardian"], "FAMRQT"),
        (["nurse"], "TREAT"),
        (["patient", "doctor"], "TREAT"),
        (["ops"], "HOPERAT"),
        ([], None),
    ],
)
async def test_the_purpose_follows_from_the_role(roles: list[str], purpose: str | None) -> None:
    to, sink = trail()
    await to.read(caller(*roles), patient_id="p", resource="Patient", route="r")
    assert sink.rows[0]["purposeOfEvent"] == purpose


def test_every_role_has_a_purpose() -> None:
    assert set(audit._PURPOSE) == set(Role)


async def test_a_read_waits_until_its_record_is_durable() -> None:
    to, sink = trail()
    sink.open.clear()
    reading = asyncio.create_task(read(to))
    for _ in range(5):
        await asyncio.sleep(0)
    assert not reading.done()
    sink.open.set()
    await reading
    assert len(sink.rows) == 1


async def test_reads_that_come_during_a_write_share_the_next_one() -> None:
    to, sink = trail()
    sink.open.clear()
    reads = [asyncio.create_task(read(to, f"pat{n}")) for n in range(audit.BATCH + 2)]
    for _ in range(3):
        await asyncio.sleep(0)
    later = [asyncio.create_task(read(to, "late")) for _ in range(50)]
    await asyncio.sleep(0)
    sink.open.set()
    await asyncio.gather(*reads, *later)
    assert [len(w) for w in sink.writes] == [audit.BATCH, 52]
    assert len({row["_id"] for row in sink.rows}) == audit.BATCH + 52


async def test_a_read_that_can_not_be_recorded_fails_and_the_next_one_may_work() -> None:
    to, sink = trail()
    sink.broken = True
    with capture_logs() as logs, pytest.raises(AuditUnavailable):
        await read(to)
    assert logs[0]["event"] == "audit_not_written"
    sink.broken = False
    await read(to)
    assert len(sink.rows) == 1


async def test_a_write_that_hangs_does_not_hold_readers_for_ever(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(audit, "PATIENCE", 0.0)
    to, sink = trail()
    sink.open.clear()
    with pytest.raises(AuditUnavailable):
        await read(to)
    sink.open.set()
    await to.close()
    assert len(sink.rows) == 1  # its record may stay, too many are better than too few


async def test_too_many_waiting_reads_are_sent_away(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(audit, "WAITING", 2)
    to, sink = trail()
    sink.open.clear()
    first = asyncio.create_task(read(to))
    for _ in range(3):
        await asyncio.sleep(0)  # the writer has taken it
    waiting = [asyncio.create_task(read(to)) for _ in range(2)]
    await asyncio.sleep(0)
    with pytest.raises(AuditUnavailable):
        await read(to)
    sink.open.set()
    await asyncio.gather(first, *waiting)


async def test_a_reader_that_goes_leaves_its_record_and_harms_no_other() -> None:
    to, sink = trail()
    sink.open.clear()
    gone, stays = (asyncio.create_task(read(to, p)) for p in ("gone", "stays"))
    for _ in range(3):
        await asyncio.sleep(0)
    gone.cancel()
    sink.open.set()
    await stays
    assert {row["patient"] for row in sink.rows} == {"gone", "stays"}


async def test_a_reader_that_goes_in_the_moment_of_the_answer_has_gone() -> None:
    class Sink:
        async def insert_many(self, _rows: object) -> None:
            asyncio.get_running_loop().call_soon(reading.cancel)

    to = Audit(service="s", sink=Sink(), ports=Ports(clock=SetClock(), ids=CountedIds()))
    reading = asyncio.create_task(read(to))
    with pytest.raises(asyncio.CancelledError):
        await reading


async def test_who_waits_no_longer_for_the_close_hears_that_it_did_not_end() -> None:
    to, sink = trail()
    sink.open.clear()
    reading = asyncio.create_task(read(to))
    await asyncio.sleep(0)
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.01):
            await to.close()
    sink.open.set()
    await reading


async def test_closing_waits_for_what_is_under_way() -> None:
    to, sink = trail()
    sink.open.clear()
    reading = asyncio.create_task(read(to))
    await asyncio.sleep(0)
    closing = asyncio.create_task(to.close())
    await asyncio.sleep(0)
    assert not closing.done()
    sink.open.set()
    await closing
    await reading


async def test_a_route_records_the_read_before_it_answers() -> None:
    s = sample()
    headers = {**s.callers.headers("doctor"), "X-Correlation-ID": "c7"}
    async with client(s.app, **headers) as c:
        assert (await c.get("/v1/orders/o1")).status_code == 200
    (row,) = s.audit.rows
    assert (row["patient"], row["hospital"]) == ("patient-1", "h1")
    assert row["agent"]["who"] == "p1"
    assert row["entity"] == {"type": "MedicationRequest", "what": ["o1"]}
    assert row["source"]["site"] == "GET /v1/orders/{id}"
    assert row["correlation_id"] == "c7"


async def test_a_route_whose_read_can_not_be_recorded_shows_nothing() -> None:
    s = sample()
    s.audit.broken = True
    with capture_logs():
        async with client(s.app, **s.callers.headers("doctor")) as c:
            answer = await c.get("/v1/orders/o1")
    assert answer.status_code == 503
    assert answer.json()["reason"] == "audit_unavailable"
    assert "Retry-After" in answer.headers


async def test_without_a_trail_nothing_is_shown() -> None:
    s = sample()
    s.app.state.audit = None
    async with client(s.app, **s.callers.headers("doctor")) as c:
        answer = await c.get("/v1/orders/o1")
    assert (answer.status_code, answer.json()["reason"]) == (503, "not_ready")
