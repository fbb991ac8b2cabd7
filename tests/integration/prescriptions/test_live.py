"""Does a change at one replica reach who listens at the other, and nobody else?"""

from __future__ import annotations

import asyncio
import json
import socket
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from datetime import timedelta
from typing import Any

import httpx
import pytest
import uvicorn

from libs.common import wakes
from libs.common.audit import Outcome
from tests.integration.prescriptions.given import Hospital, ask, decide, review
from tests.support.toy import eventually
from tests.unit.prescriptions.given import linked, unlinked

pytestmark = [pytest.mark.asyncio(loop_scope="module"), pytest.mark.timeout(400)]

#: Seconds. While a transaction of a process that was killed is open, up to a minute, the embedded
#: database tells no changes of others either.
PATIENCE = 150
DOCTOR, PHARMACIST = "/v1/work-lists/doctor/live", "/v1/work-lists/pharmacist/live"


@pytest.fixture(autouse=True)
def only_woken(monkeypatch: pytest.MonkeyPatch) -> None:
    """No stream looks by itself: what it tells, it was woken for."""
    monkeypatch.setattr(wakes, "LOOK", 3600.0)


@asynccontextmanager
async def served(hospital: Hospital, replica: int = 0) -> AsyncIterator[str]:
    """One replica on a port of its own: a stream needs a real connection."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    app = hospital.service.apps[replica]
    config = uvicorn.Config(app, host="127.0.0.1", port=port, lifespan="off", log_config=None)
    server = uvicorn.Server(config)
    task = asyncio.create_task(server.serve())
    try:

        async def started() -> bool:
            return server.started

        await eventually(started)
        yield f"http://127.0.0.1:{port}"
    finally:
        server.should_exit = True
        await task


class Stream:
    """An open list: what it was told, in order."""

    def __init__(self) -> None:
        self.ids: list[str] = []
        self.events: list[tuple[str, dict[str, Any]]] = []
        self.status = 0

    @property
    def changes(self) -> list[tuple[str, str, bool]]:
        return [(d["id"], d["status"], d["listed"]) for name, d in self.events if name == "renewal"]

    async def listen(self, base: str, caller: httpx.AsyncClient, path: str, last: str) -> None:
        headers = {"Authorization": caller.headers["Authorization"]}
        if last:
            headers["Last-Event-ID"] = last
        async with (
            httpx.AsyncClient(base_url=base, headers=headers, timeout=None) as c,
            c.stream("GET", path) as stream,
        ):
            self.status = stream.status_code
            name = ""
            async for line in stream.aiter_lines():
                key, _, value = line.partition(": ")
                if key == "id":
                    self.ids.append(value)
                elif key == "event":
                    name = value
                elif key == "data":
                    self.events.append((name, json.loads(value)))


@asynccontextmanager
async def streams(
    base: str, *asked: tuple[httpx.AsyncClient, str], last: str = ""
) -> AsyncIterator[list[Stream]]:
    """Streams that are open, each by its first event."""
    opened = [Stream() for _ in asked]
    async with AsyncExitStack() as stack:
        for stream, (caller, path) in zip(opened, asked, strict=True):
            task = asyncio.create_task(stream.listen(base, caller, path, last))
            stack.push_async_callback(_ended, task)

        async def all_open() -> bool:
            return all(s.events for s in opened)

        if not last:
            await eventually(all_open)
        yield opened


async def _ended(task: asyncio.Task[None]) -> None:
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)


async def soon(stream: Stream, count: int) -> None:
    async def told() -> bool:
        return len(stream.changes) >= count

    await eventually(told, PATIENCE)


async def test_a_change_at_one_replica_is_streamed_by_the_other(hospital: Hospital) -> None:
    await hospital.prescribe()
    async with (
        served(hospital) as base,
        streams(
            base,
            (hospital.doctor(), DOCTOR),
            (hospital.doctor("dr3", "surgery"), DOCTOR),
            (hospital.pharmacist(), PHARMACIST),
            (hospital.patient(), "/v1/refills/live?patient_id=p1"),
        ) as (doctor, outsider, pharmacist, patient),
    ):
        refill = await hospital.asked(replica=1)
        id = refill["id"]
        await soon(doctor, 1)
        assert doctor.changes == [(id, "waiting_doctor", True)]
        assert pharmacist.changes == []
        approved = (await decide(hospital.doctor("dr2", replica=1), refill, "approve")).json()
        await soon(doctor, 2)
        await soon(pharmacist, 1)
        assert doctor.changes[1:] == [(id, "waiting_pharmacist", False)]
        assert pharmacist.changes == [(id, "waiting_pharmacist", True)]
        returned = await review(hospital.pharmacist(replica=1), approved, "return", reason="dose")
        await soon(doctor, 3)
        await soon(pharmacist, 2)
        # It is with the doctor who signed, and others see on the list who has it.
        assert doctor.changes[2:] == [(id, "returned", True)]
        assert pharmacist.changes[1:] == [(id, "returned", False)]
        assert doctor.events[-1][1]["version"] == returned.json()["version"]
        await soon(patient, 3)
        assert [status for _, status, _ in patient.changes] == [
            "waiting_doctor",
            "waiting_pharmacist",
            "returned",
        ]
        assert doctor.events[-1][1]["holder_id"] == "dr2"
        assert patient.events[-1][1]["holder_id"] is None
        assert outsider.changes == []
        told = json.dumps([s.events for s in (doctor, pharmacist)])
        assert "p1" not in told and "amlodipine" not in told


async def test_a_stream_goes_on_where_it_was_cut(hospital: Hospital) -> None:
    await hospital.prescribe("rx1")
    await hospital.prescribe("rx2", ingredient="b")
    async with served(hospital) as base:
        async with streams(base, (hospital.doctor(), DOCTOR)) as (first,):
            seen = await hospital.asked("rx1")
            await soon(first, 1)
        missed = await hospital.asked("rx2", replica=1)
        last = first.ids[-1]
        async with streams(base, (hospital.doctor(), DOCTOR), last=last) as (again,):

            async def told() -> bool:
                return missed["id"] in {id for id, _, _ in again.changes}

            await eventually(told, PATIENCE)
        assert {id for id, _, _ in again.changes} <= {seen["id"], missed["id"]}
        assert ("reset", {}) not in again.events


async def test_anothers_renewals_can_not_be_listened_to_and_a_link_that_ends_ends_it(
    hospital: Hospital,
) -> None:
    await hospital.prescribe()
    now = hospital.service.clock.now()
    await hospital.tell(linked("p5", linked_at=now - timedelta(hours=1)))
    await hospital.settled("link")
    path = "/v1/refills/live?patient_id=p1"
    for stranger in (hospital.patient("p9"), hospital.guardian("p9")):
        answer = await stranger.get(path)
        assert (answer.status_code, answer.json()["reason"]) == (404, "not_found")
    refused = await hospital.service.rows("audit", hospital.id)
    assert sum(r["outcome"] == Outcome.MINOR_FAILURE for r in refused) == 2
    async with (
        served(hospital) as base,
        streams(base, (hospital.guardian(), path)) as (guardian,),
    ):
        asked = await ask(hospital.patient(replica=1))
        await soon(guardian, 1)
        await hospital.tell(unlinked(now, "p5"))
        await hospital.settled("link", 2)
        cancel = await hospital.patient(replica=1).post(f"/v1/refills/{asked.json()['id']}/cancel")
        assert cancel.status_code == 200

        async def ended() -> bool:
            return guardian.events[-1][0] == "reconnect"

        await eventually(ended, PATIENCE)
        assert len(guardian.changes) == 1
