"""What is kept of a message, what does it tell, and what is its sender answered?"""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from typing import Any

from libs.common.decision import Answer, Decision, derived_id
from libs.common.events import (
    Department,
    DischargeCancelled,
    Disposition,
    EncounterDischarged,
    Event,
    Gender,
    PatientMerged,
    PatientRegistered,
    PatientSnapshot,
)
from services.interop.domain.kept import Kept
from services.interop.domain.receipt import (
    OUTDATED,
    Body,
    Fault,
    Format,
    Receipt,
    Received,
    Standing,
)
from services.interop.handlers import HANDLERS, RECEIVE
from services.interop.store import COLLECTIONS
from tests.support.rules import Case

NOW = datetime(2026, 3, 2, 9, 0, tzinfo=UTC)
SENDER = "HIS|WARD"
HOUR = timedelta(hours=1)


def case() -> Case:
    return Case(HANDLERS, collections=COLLECTIONS, now=NOW)


def message(c: Case, control_id: str, *events: Event, body: str = "", **more: Any) -> Answer:
    raw = f"MSH|{control_id}|{body}".encode()
    data = Received(
        sender=SENDER,
        control_id=control_id,
        type="ADT^A03",
        raw=raw,
        patient_id="p1" if events else "",
        events=events,
        **more,
    )
    return c.command(RECEIVE, data, source="/mllp")


def standing(answer: Answer) -> str:
    assert isinstance(answer, Decision)
    return str(answer.result["standing"])


def registered() -> PatientRegistered:
    return PatientRegistered(
        patient_id="p1", name="甲", birth_date=date(1960, 1, 1), updated_at=NOW
    )


def discharged(encounter: str = "e1", at: datetime = NOW - HOUR) -> EncounterDischarged:
    return EncounterDischarged(
        encounter_id=encounter,
        patient_id="p1",
        patient=PatientSnapshot(name="甲", birth_date=date(1960, 1, 1)),
        department=Department(code="NEURO"),
        discharged_at=at,
        disposition=Disposition.HOME,
    )


def cancelled(encounter: str = "e1", at: datetime = NOW) -> DischargeCancelled:
    return DischargeCancelled(
        encounter_id=encounter, patient_id="p1", discharge_event_id="unknown", cancelled_at=at
    )


def test_a_message_is_kept_as_it_came_and_its_events_leave_in_the_patients_order() -> None:
    c = case()
    assert standing(message(c, "1", registered(), discharged())) == Standing.ACCEPTED
    assert standing(message(c, "2", discharged("e2"))) == Standing.ACCEPTED
    assert [(e.type, e.subject, e.sequence) for e in c.emitted] == [
        (PatientRegistered.TYPE, "p1", 1),
        (EncounterDischarged.TYPE, "e1", 2),
        (EncounterDischarged.TYPE, "e2", 3),
    ]
    (first,) = [r for r in c.docs(Receipt) if len(r.events) == 2]
    assert c.docs(Body, id=first.id)[0].raw == b"MSH|1|"
    assert first.patient_id == "p1"
    assert [id for _, id in first.events] == [derived_id("h1", "/mllp", "c1", n) for n in range(2)]


def test_the_same_message_again_is_answered_and_tells_nothing() -> None:
    c = case()
    first = message(c, "1", discharged())
    c.take()
    again = message(c, "1", discharged())
    assert isinstance(first, Decision) and isinstance(again, Decision)
    assert (again.note, again.result) == ("repeated", first.result)
    assert not c.emitted
    assert len(c.docs(Receipt)) == 1


def test_a_message_whose_receipt_has_been_deleted_is_new_though_its_body_is_still_there() -> None:
    before, c = case(), case()
    message(before, "1", discharged())
    c.put(*before.docs(Body))
    c.advance(timedelta(days=90))
    assert standing(message(c, "1", discharged())) == Standing.ACCEPTED
    (receipt,), (body,) = c.docs(Receipt), c.docs(Body)
    assert (body.id, body.received_at) == (receipt.id, receipt.received_at)


def test_the_same_control_id_with_another_body_is_a_new_message_and_noted() -> None:
    c = case()
    message(c, "1", discharged(), body="a")
    message(c, "1", discharged("e2"), body="b")
    assert len(c.emitted) == 2
    assert sorted(r.notes for r in c.docs(Receipt)) == [(), ("control_id_reused",)]


def test_a_cancellation_takes_back_every_discharge_of_its_stay_that_stands() -> None:
    c = case()
    message(c, "1", discharged())
    message(c, "2", discharged())
    message(c, "3", cancelled())
    message(c, "4", discharged(at=NOW + HOUR))
    message(c, "5", cancelled(at=NOW + 2 * HOUR))
    found = [e.discharge_event_id for e in c.events(DischargeCancelled)]
    assert found == [derived_id("h1", "/mllp", f"c{n}", 0) for n in (1, 2, 4)]


def test_a_cancellation_that_overtakes_its_discharge_is_kept_for_it() -> None:
    c = case()
    assert standing(message(c, "1", cancelled())) == Standing.ACCEPTED
    assert c.docs(Receipt)[0].notes == ("no_discharge_to_cancel",)
    message(c, "2", discharged())
    (told,) = c.events(DischargeCancelled)
    assert told.discharge_event_id == derived_id("h1", "/mllp", "c2", 0)
    message(c, "3", discharged(at=NOW + HOUR))
    assert len(c.events(DischargeCancelled)) == 1, "a later discharge is another one"


def test_each_fact_is_numbered_among_those_of_its_own_patient() -> None:
    c = case()
    message(c, "1", registered())
    message(c, "2", registered().model_copy(update={"patient_id": "p2"}))
    merged = PatientMerged(patient_id="p1", survivor_id="p2", merged_at=NOW)
    message(c, "3", merged)
    assert [(e.subject, e.sequence) for e in c.emitted] == [("p1", 1), ("p2", 1), ("p1", 2)]


def test_what_could_not_be_mapped_is_kept_and_tells_nothing() -> None:
    c = case()
    fault = Fault(segment="PID", field=3, code="101", text="is required")
    answer = message(c, "1", faults=(fault,))
    assert standing(answer) == Standing.REFUSED
    assert isinstance(answer, Decision)
    assert answer.result["faults"][0]["segment"] == "PID"
    assert [r.faults for r in c.docs(Receipt)] == [(fault,)]
    assert not c.emitted


def test_a_refused_message_that_comes_again_is_tried_afresh() -> None:
    c = case()
    message(c, "1", faults=(Fault(segment="PID", field=3, code="101", text="is required"),))
    c.advance(timedelta(days=1))
    assert standing(message(c, "1", discharged())) == Standing.ACCEPTED
    (now,) = c.docs(Receipt)
    assert (now.standing, now.faults, now.received_at) == (Standing.ACCEPTED, (), NOW)
    assert [e.subject for e in c.emitted] == ["e1"]
    message(c, "2", cancelled())
    (told,) = c.events(DischargeCancelled)
    assert told.discharge_event_id == now.events[0][1]


def test_an_older_message_does_not_bring_back_what_was_known_before() -> None:
    c = case()
    new, old = (
        registered(),
        registered().model_copy(update={"phone": "10000000000", "updated_at": NOW - HOUR}),
    )
    message(c, "1", new.model_copy(update={"phone": "10012345678"}))
    message(c, "2", old)
    message(c, "3", new, left_out=frozenset({"phone"}))
    assert c.events(PatientRegistered)[-1].phone == "10012345678"


def test_what_a_message_leaves_out_stays_as_it_was_and_what_it_takes_away_goes() -> None:
    c = case()
    contacts = frozenset({"phone", "email"})
    whole = registered().model_copy(update={"phone": "10012345678", "gender": Gender.FEMALE})
    message(c, "1", whole)
    message(c, "2", registered(), left_out=contacts)
    message(c, "3", discharged(), left_out=contacts | {"gender"})
    message(c, "4", registered())
    message(c, "5", registered(), left_out=contacts)
    told = [(e.phone, e.gender) for e in c.events(PatientRegistered)]
    assert told == [
        ("10012345678", Gender.FEMALE),
        ("10012345678", Gender.UNKNOWN),
        (None, Gender.UNKNOWN),
        (None, Gender.UNKNOWN),
    ]
    (left,) = c.events(EncounterDischarged)
    assert (left.patient.phone, left.patient.gender) == ("10012345678", Gender.UNKNOWN)


def test_training_messages_are_kept_and_tell_nothing() -> None:
    c = case()
    assert standing(message(c, "1", discharged(), production=False)) == Standing.NOT_PRODUCTION
    assert not c.emitted
    message(c, "2", discharged())
    assert [e.sequence for e in c.emitted] == [1]


def kept(content: bytes, version: int = 0) -> Kept:
    return Kept(
        id="k1", hospital="h1", version=version, type="Patient", fhir_id="1", content=content
    )


def fhir(c: Case, raw: bytes, *events: Event, **more: Any) -> Decision:
    data = Received(
        format=Format.FHIR,
        sender="ehr",
        control_id="",
        type="PUT Patient",
        raw=raw,
        events=events,
        **more,
    )
    answer = c.command(RECEIVE, data)
    assert isinstance(answer, Decision)
    return answer


def test_what_was_read_with_something_that_has_changed_since_is_not_decided() -> None:
    c = case()
    fhir(c, b"a", registered(), kept=(kept(b"a"),))
    c.take()
    for outdated in ({"kept": (kept(b"b"),)}, {"seen": (("k1", 0),)}):
        answer = fhir(c, b"b", registered(), **outdated)
        assert (answer.note, answer.result) == (OUTDATED, {"outdated": True})
    assert not c.emitted
    assert [k.content for k in c.docs(Kept)] == [b"a"]
    assert len(c.docs(Receipt)) == 1
    assert fhir(c, b"b", registered(), kept=(kept(b"b", version=1),)).note == Standing.ACCEPTED


def test_the_same_bytes_that_change_what_is_kept_are_no_repetition() -> None:
    c = case()
    fhir(c, b"a", registered(), kept=(kept(b"a"),))
    assert fhir(c, b"a", seen=(("k1", 1),)).note == "repeated"
    fhir(c, b"b", registered(), kept=(kept(b"b", version=1),))
    fhir(c, b"a", registered(), kept=(kept(b"a", version=2),))
    assert len(c.emitted) == 3
    first = next(r for r in c.docs(Receipt) if len(r.events) == 2)
    assert len(set(first.events)) == 2, "both that these bytes gave are on their receipt"
