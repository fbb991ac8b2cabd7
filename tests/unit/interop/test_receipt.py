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
    PatientRegistered,
    PatientSnapshot,
)
from services.interop.domain.receipt import Fault, Receipt, Received, Standing
from services.interop.handlers import HANDLERS, RECEIVE
from services.interop.store import COLLECTIONS
from tests.support.rules import Case

NOW = datetime(2026, 3, 2, 9, 0, tzinfo=UTC)
SENDER = "HIS|WARD"


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


def discharged(encounter: str = "e1") -> EncounterDischarged:
    return EncounterDischarged(
        encounter_id=encounter,
        patient_id="p1",
        patient=PatientSnapshot(name="甲", birth_date=date(1960, 1, 1)),
        department=Department(code="NEURO"),
        discharged_at=NOW - timedelta(hours=1),
        disposition=Disposition.HOME,
    )


def cancelled(encounter: str = "e1") -> DischargeCancelled:
    return DischargeCancelled(
        encounter_id=encounter, patient_id="p1", discharge_event_id="unknown", cancelled_at=NOW
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
    assert first.raw == b"MSH|1|"
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


def test_the_same_control_id_with_another_body_is_a_new_message_and_noted() -> None:
    c = case()
    message(c, "1", discharged(), body="a")
    message(c, "1", discharged("e2"), body="b")
    assert len(c.emitted) == 2
    assert sorted(r.notes for r in c.docs(Receipt)) == [(), ("control_id_reused",)]


def test_a_cancelled_discharge_names_the_last_discharge_of_its_stay() -> None:
    c = case()
    message(c, "1", discharged())
    message(c, "2", cancelled())
    message(c, "3", discharged())
    message(c, "4", cancelled())
    found = [e.discharge_event_id for e in c.events(DischargeCancelled)]
    assert found == [derived_id("h1", "/mllp", f"c{n}", 0) for n in (1, 3)]


def test_a_cancellation_without_a_discharge_is_refused_and_can_be_seen() -> None:
    c = case()
    message(c, "1", discharged("e2"))
    assert standing(message(c, "2", cancelled("e9"))) == Standing.REFUSED
    message(c, "3", cancelled("e2"))
    assert standing(message(c, "4", cancelled("e2"))) == Standing.REFUSED, "it is cancelled"
    refused = c.docs(Receipt, standing=Standing.REFUSED)
    assert [(r.faults[0].segment, r.faults[0].field) for r in refused] == [("PV1", 19)] * 2
    assert len(c.events(DischargeCancelled)) == 1


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
