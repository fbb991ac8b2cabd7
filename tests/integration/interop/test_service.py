"""Is what a sender gets acknowledged really kept, and does it lead to what it should?"""

from __future__ import annotations

import asyncio
from dataclasses import replace
from pathlib import Path

import pytest

from libs.common import logs
from libs.common.decision import Answer, Env, Input, State
from libs.common.devstack.places import free_ports
from libs.common.devstack.stack import Stack
from libs.common.events import (
    DischargeCancelled,
    EncounterDischarged,
    ExamCancelled,
    ExamRescheduled,
    ExamScheduled,
    PatientMerged,
    PrescriptionIssued,
    ReportKind,
    ReportReady,
    VisitCancelled,
    VisitCompleted,
)
from libs.common.kafka.reading import read_all
from services.interop.edge.hl7.receive import Senders
from services.interop.handlers import RECEIVE
from services.interop.main import SPEC
from tests.integration.interop.given import sender
from tests.support.running import Running, running

CORPUS = Path(__file__).parents[2] / "data" / "hl7"


def message(name: str) -> bytes:
    return (CORPUS / f"{name}.hl7").read_bytes()


async def test_the_journeys_events_come_from_hl7_alone(interop: Running) -> None:
    async with sender(interop) as his:
        for name in ("adt-a03-adult", "adt-a13-cancelled", "adt-a40-merged", "oru-final"):
            assert (await his.send(message(name))).code == "AA", name
        assert (await his.send(message("rde-o11-atc"))).code == "AA"
    (discharged,) = await interop.published(EncounterDischarged)
    (cancelled,) = await interop.published(DischargeCancelled)
    assert cancelled.encounter_id == discharged.encounter_id
    kept = await interop.rows("messages", standing="accepted")
    (event_id,) = [id for r in kept for type, id in r["events"] if type == EncounterDischarged.TYPE]
    assert cancelled.discharge_event_id == event_id
    for model in (PatientMerged, ReportReady, PrescriptionIssued):
        assert await interop.published(model)


async def test_the_same_message_is_acknowledged_again_and_tells_nothing_twice(
    interop: Running,
) -> None:
    async with sender(interop) as his, sender(interop) as again:
        answers = await asyncio.gather(
            his.send(message("adt-a03-adult")), again.send(message("adt-a03-adult"))
        )
        third = await his.send(message("adt-a03-adult"))
    assert [a.code for a in (*answers, third)] == ["AA"] * 3
    assert len(await interop.rows("messages")) == 1
    (body,) = await interop.rows("bodies")
    assert body["raw"] == message("adt-a03-adult")
    async with sender(interop) as his:  # of the same patient, so it is behind all those
        assert (await his.send(message("adt-a13-cancelled"))).code == "AA"
    told: list[bytes | None] = []
    async with asyncio.timeout(30):
        async for record in read_all(interop.stack.bootstrap, [EncounterDischarged.TOPIC]):
            headers = dict(record.headers)
            if headers.get("ce_hospital") == interop.hospital.encode():
                told.append(headers["ce_type"])
                if told[-1] == DischargeCancelled.TYPE.encode():
                    break
    assert told.count(EncounterDischarged.TYPE.encode()) == 1


async def test_what_is_refused_says_where_and_is_taken_up_again_by_staff(interop: Running) -> None:
    async with sender(interop) as his:
        answer = await his.send(message("adt-a03-wrong-date"))
    assert answer.code == "AR"
    assert answer.errors
    async with interop.client("ops", person="o1") as ops:
        listed = (await ops.get("/v1/messages", params={"standing": "refused"})).json()["items"]
        (refused,) = listed
        assert refused["faults"][0]["segment"] in answer.errors[0]
        shown = await ops.get(f"/v1/messages/{refused['id']}")
        assert shown.json()["raw"].startswith("MSH|")
        again = await ops.post(
            f"/v1/messages/{refused['id']}/reprocess", headers={"Idempotency-Key": "k1"}
        )
    assert again.json()["standing"] == "refused", "it is still wrong"
    reads = await interop.database.find_rows(interop.database.raw("audit"), {})
    assert [r["entity"]["what"] for r in reads] == [[refused["id"]]]


async def test_many_are_taken_up_at_once_in_the_order_in_which_they_came(interop: Running) -> None:
    wrong = [message("adt-a03-wrong-date"), message("adt-z99"), message("adt-a03-no-department")]
    async with sender(interop) as his:
        codes = [(await his.send(raw)).code for raw in wrong]
        assert "AR" in codes
        assert (await his.send(message("adt-a03-adult"))).code == "AA"
    async with interop.client("ops", person="o1") as ops:
        kept = (await ops.get("/v1/messages")).json()["items"]
        body, key = {"ids": [m["id"] for m in kept]}, {"Idempotency-Key": "all-1"}
        again = await ops.post("/v1/reprocessing", json=body, headers=key)
        unknown = {"ids": [kept[0]["id"], "no-such-message"]}
        missing = await ops.post("/v1/reprocessing", json=unknown, headers=key)
    assert again.status_code == 200, again.text
    before = {m["id"]: m["standing"] for m in kept}
    assert [i["id"] for i in again.json()["items"]] == [m["id"] for m in reversed(kept)]
    assert all(i["standing"] == before[i["id"]] for i in again.json()["items"])
    assert missing.status_code == 404
    rows = await interop.rows("messages")
    discharges = [t for r in rows for t, _ in r["events"] if t == EncounterDischarged.TYPE]
    assert len(discharges) == 1 + (codes[2] == "AA"), "what was accepted tells nothing twice"


async def test_a_cancellation_may_overtake_its_discharge(interop: Running) -> None:
    async with sender(interop) as his, sender(interop) as other:
        assert (await other.send(message("adt-a13-cancelled"))).code == "AA"
        assert (await his.send(message("adt-a03-adult"))).code == "AA"
    (discharged,) = await interop.published(EncounterDischarged)
    (cancelled,) = await interop.published(DischargeCancelled)
    assert cancelled.encounter_id == discharged.encounter_id
    (seen,) = await interop.published(VisitCompleted)
    (not_seen,) = await interop.published(VisitCancelled)
    assert seen.visit_id == not_seen.visit_id == discharged.encounter_id
    assert seen.recorded_at is not None, "by which their order is known"
    assert seen.recorded_at < not_seen.cancelled_at


async def test_an_order_and_its_appointment_are_one_examination(interop: Running) -> None:
    async with sender(interop) as his:
        for name in ("orm-o01-ct", "siu-s12-ordered", "siu-s13-moved", "orm-o01-cancelled"):
            assert (await his.send(message(name))).code == "AA", name
    ordered, appointed = await interop.published(ExamScheduled, 2)
    (moved,) = await interop.published(ExamRescheduled)
    (cancelled,) = await interop.published(ExamCancelled)
    assert {e.exam_id for e in (ordered, appointed, moved, cancelled)} == {"CK1001@HIS"}
    assert appointed.kind is moved.kind is ReportKind.IMAGING, "as it was ordered"
    assert appointed.ordering_practitioner_id == "d-3002"
    assert ordered.starts_at == appointed.starts_at != moved.starts_at


async def test_what_is_no_news_of_a_patients_diagnoses_is_told_once(interop: Running) -> None:
    first = message("adt-a08-diagnoses-and-allergies")
    again = first.replace(b"|A0802|", b"|A0803|").replace(b"20261112080000", b"20261113080000")
    async with sender(interop) as his:
        assert (await his.send(first)).code == "AA"
        assert (await his.send(again)).code == "AA"
    told = [len(r["events"]) for r in await interop.rows("messages")]
    assert sorted(told) == [1, 5]


async def test_training_messages_are_kept_and_tell_nothing(interop: Running) -> None:
    training = message("adt-a03-adult").replace(b"|P|2.", b"|T|2.", 1)
    assert training != message("adt-a03-adult")
    async with sender(interop) as his:
        assert (await his.send(training)).code == "AA"
    (kept,) = await interop.rows("messages")
    assert (kept["standing"], kept["events"]) == ("not_production", [])


async def test_what_a_bug_of_ours_stops_is_kept_for_staff_and_the_next_message_goes_on(
    stack: Stack,
) -> None:
    rule, (port,) = SPEC.handlers[RECEIVE], free_ports(1)
    broken = True

    def decide(input: Input, state: State, env: Env) -> Answer:
        if broken and input.data.events:
            raise KeyError("a bug")
        return rule.decide(input, state, env)

    spec = replace(SPEC, handlers={RECEIVE: replace(rule, decide=decide)})
    settings = {"interop_hospital": "h-bug", "mllp_port": port, "mllp_host": "127.0.0.1"}
    async with running(stack, spec, **settings) as service, sender(service) as his:
        service.hospital = "h-bug"
        answer = await his.send(message("adt-a03-adult"))
        assert answer.code == "AR", "AE would make its sender repeat it for ever"
        assert "207" in answer.errors[0]
        assert (await his.send(message("siu-s12"))).code == "AA"
        (kept,) = await service.rows("messages", standing="refused")
        (body,) = await service.rows("bodies", id=kept["id"])
        assert body["raw"] == message("adt-a03-adult")
        broken = False
        async with service.client("ops", person="o1") as ops:
            again = await ops.post(
                f"/v1/messages/{kept['id']}/reprocess", headers={"Idempotency-Key": "k1"}
            )
        assert again.json()["standing"] == "accepted"
        assert await service.published(EncounterDischarged)


async def test_a_message_is_taken_again_with_the_certificate_with_which_it_came(
    interop: Running, monkeypatch: pytest.MonkeyPatch
) -> None:
    senders: Senders = interop.runtime.policy.senders
    default = senders.profile("", "")
    monkeypatch.setattr(
        senders, "profile",
        lambda *_: default.model_copy(update={"certificates": frozenset({"his.example"})}),
    )  # fmt: skip
    async with sender(interop) as his:
        answer = await his.send(message("adt-a03-adult"))
    assert (answer.code, "MSH^1^3" in answer.errors[0]) == ("AR", True)
    (kept,) = await interop.rows("messages")
    path = f"/v1/messages/{kept['id']}/reprocess"
    async with interop.client("ops", person="o1") as ops:
        again = await ops.post(path, headers={"Idempotency-Key": "k1"})
        assert again.json()["standing"] == "refused", "staff are no way around it"
        monkeypatch.undo()
        mended = await ops.post(path, headers={"Idempotency-Key": "k2"})
    assert mended.json()["standing"] == "accepted"


async def test_messages_live_as_long_as_is_set_and_a_body_outlives_its_receipt(
    interop: Running,
) -> None:
    found = {}
    for name in ("messages", "controls", "bodies"):
        for index in await interop.database.indexes(name):
            if "expireAfterSeconds" in index:
                found[name] = (*index["key"], index["expireAfterSeconds"] / 86_400)
    at = "received_at"
    assert found == {"messages": (at, 90), "controls": (at, 90), "bodies": (at, 91)}


async def test_no_patient_stands_in_the_keys_or_the_log(
    interop: Running, capsys: pytest.CaptureFixture[str]
) -> None:
    logs.configure("interop", level="INFO")
    async with sender(interop) as his:
        await his.send(message("adt-a03-adult"))
        await his.send(message("adt-a03-wrong-date"))
    said = capsys.readouterr().out
    assert said.count('"message_answered"') == 2
    kept = await interop.rows("messages", standing="accepted")
    assert kept[0]["patient_id"] not in said
