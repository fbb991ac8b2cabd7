"""Are an order and its appointment one examination, whatever each of them leaves out?"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from libs.common.events import (
    AllergyRecorded,
    ConditionRecorded,
    Event,
    ExamCancelled,
    ExamRescheduled,
    ExamScheduled,
    ReportKind,
)
from services.interop.domain.exam import Booking
from services.interop.domain.patient import MOST_TOLD, Patient, completed, repeats
from services.interop.domain.receipt import Receipt, Received
from services.interop.handlers import HANDLERS, RECEIVE
from services.interop.store import COLLECTIONS
from tests.support.rules import Case

NOW = datetime(2026, 3, 2, 9, 0, tzinfo=UTC)
HOUR = timedelta(hours=1)
AT = NOW + 24 * HOUR


def case() -> Case:
    return Case(HANDLERS, collections=COLLECTIONS, now=NOW)


def send(c: Case, *events: Event, booking: Booking | None = None) -> None:
    n = len(c.docs(Receipt))
    data = Received(
        sender="HIS|LX",
        control_id=str(n),
        type="X",
        raw=b"%d" % n,
        patient_id="p1",
        events=events,
        booking=booking,
    )
    c.command(RECEIVE, data, source="/mllp")


ORDER = ExamScheduled(
    exam_id="e1",
    patient_id="p1",
    kind=ReportKind.IMAGING,
    code="24627-2",
    title="胸部CT",
    ordering_practitioner_id="d-9",
    encounter_id="V1",
    scheduled_at=NOW - 10 * HOUR,
)
APPOINTMENT = ExamScheduled(
    exam_id="e1",
    patient_id="p1",
    kind=ReportKind.OTHER,
    code="CT1",
    title="CT",
    starts_at=AT,
    ends_at=AT + HOUR,
    location="3号机房",
    scheduled_at=NOW - 9 * HOUR,
)


def last(c: Case) -> ExamScheduled:
    found = c.emitted[-1].data
    assert isinstance(found, ExamScheduled)
    return found


def test_an_appointment_has_what_its_order_said() -> None:
    c = case()
    send(c, ORDER)
    send(c, APPOINTMENT)
    told = last(c)
    assert (told.kind, told.ordering_practitioner_id) == (ReportKind.IMAGING, "d-9")
    assert (told.encounter_id, told.starts_at, told.location) == ("V1", AT, "3号机房")


def test_order_and_appointment_may_come_in_one_message() -> None:
    c = case()
    send(c, ORDER, APPOINTMENT)
    assert (last(c).kind, last(c).starts_at) == (ReportKind.IMAGING, AT)


def test_a_changed_order_costs_an_examination_neither_its_time_nor_its_place() -> None:
    c = case()
    send(c, ORDER)
    send(c, APPOINTMENT)
    send(c, ORDER.model_copy(update={"scheduled_at": NOW - HOUR}))
    assert (last(c).starts_at, last(c).location) == (AT, "3号机房")


def test_another_time_has_no_end_and_place_of_the_old_one() -> None:
    c = case()
    send(c, APPOINTMENT)
    moved = {"starts_at": AT + 24 * HOUR, "ends_at": None, "location": None}
    send(c, APPOINTMENT.model_copy(update={**moved, "scheduled_at": NOW - HOUR}))
    assert (last(c).starts_at, last(c).ends_at, last(c).location) == (AT + 24 * HOUR, None, None)


def test_a_cancelled_time_does_not_come_back_with_the_next_order() -> None:
    c = case()
    send(c, ORDER)
    send(c, APPOINTMENT)
    send(c, ExamCancelled(exam_id="e1", patient_id="p1", cancelled_at=NOW - 2 * HOUR))
    send(c, ORDER.model_copy(update={"scheduled_at": NOW - HOUR}))
    assert (last(c).starts_at, last(c).ordering_practitioner_id) == (None, "d-9")


def test_an_older_message_is_told_as_it_is_and_changes_nothing() -> None:
    c = case()
    send(c, APPOINTMENT)
    send(c, ExamCancelled(exam_id="e1", patient_id="p1", cancelled_at=NOW - 20 * HOUR))
    send(
        c, APPOINTMENT.model_copy(update={"starts_at": AT + HOUR, "scheduled_at": NOW - 11 * HOUR})
    )
    assert last(c).scheduled_at == NOW - 11 * HOUR, "stale by its own time"
    send(c, ORDER.model_copy(update={"scheduled_at": NOW - HOUR}))
    assert last(c).starts_at == AT


def test_an_order_that_comes_after_its_appointment_still_says_of_which_kind_and_whose_it_is() -> (
    None
):
    c = case()
    send(c, APPOINTMENT)
    send(c, ORDER)
    told = last(c)
    assert (told.kind, told.ordering_practitioner_id) == (ReportKind.IMAGING, "d-9")
    assert (told.starts_at, told.location) == (AT, "3号机房")
    assert told.scheduled_at == APPOINTMENT.scheduled_at, "no reader takes it for stale"
    send(c, ORDER)
    assert last(c).scheduled_at == ORDER.scheduled_at, "said once"


def test_an_order_that_comes_after_its_cancellation_stays_cancelled() -> None:
    c = case()
    send(c, ExamCancelled(exam_id="e1", patient_id="p1", cancelled_at=NOW - HOUR))
    send(c, ORDER)
    assert last(c).scheduled_at == ORDER.scheduled_at, "stale"


OLD, NEW = Booking(placer="P1", filler="B1"), Booking(placer="P2", filler="B2")
OFF = ExamCancelled(exam_id="e1", patient_id="p1", cancelled_at=NOW - 2 * HOUR)


def test_who_books_the_new_appointment_before_the_old_one_is_cancelled_keeps_the_new_one() -> None:
    c = case()
    send(c, APPOINTMENT, booking=OLD)
    later = {"starts_at": AT + 24 * HOUR, "scheduled_at": NOW - 3 * HOUR}
    send(c, APPOINTMENT.model_copy(update=later), booking=NEW)
    send(c, OFF, booking=OLD)
    assert len(c.emitted) == 2
    assert c.docs(Receipt)[-1].notes == ("another_appointment_stands",)
    send(c, ORDER.model_copy(update={"scheduled_at": NOW - HOUR}))
    assert last(c).starts_at == AT + 24 * HOUR
    send(c, OFF.model_copy(update={"cancelled_at": NOW}), booking=Booking(filler="B2"))
    assert isinstance(c.emitted[-1].data, ExamCancelled)


def test_a_cancelled_order_takes_whatever_appointment_it_has_with_it() -> None:
    c = case()
    send(c, APPOINTMENT, booking=OLD)
    send(c, OFF)
    assert isinstance(c.emitted[-1].data, ExamCancelled)


def test_an_appointment_is_another_one_only_if_no_number_is_the_same() -> None:
    assert OLD.differs(NEW)
    for same in (Booking(), Booking(placer="P1"), Booking(placer="P1", filler="B9"), OLD):
        assert not OLD.differs(same) and not same.differs(OLD)
    assert not Booking(placer="P1").differs(Booking(filler="B2"))


def test_two_plans_of_one_message_are_two_examinations_in_their_patients_order() -> None:
    c = case()
    send(c, ORDER, APPOINTMENT.model_copy(update={"exam_id": "e2"}))
    assert [(e.subject, e.sequence) for e in c.emitted] == [("e1", 1), ("e2", 2)]
    assert last(c).kind is ReportKind.OTHER
    send(c, ExamRescheduled(**APPOINTMENT.model_dump()))
    assert c.emitted[-1].data.kind is ReportKind.IMAGING  # type: ignore[attr-defined]


CONDITION = ConditionRecorded(
    condition_id="c1", patient_id="p1", code="I10", recorded_at=NOW - 3 * HOUR
)
ALLERGY = AllergyRecorded(allergy_id="a1", patient_id="p1", display="青霉素", recorded_at=NOW)


def test_a_condition_or_allergy_that_is_repeated_is_told_once_and_a_change_again() -> None:
    c = case()
    for hours in (3, 2, 1):
        at = {"recorded_at": NOW - hours * HOUR}
        send(c, CONDITION.model_copy(update=at), ALLERGY.model_copy(update=at))
    assert [type(e.data) for e in c.emitted] == [ConditionRecorded, AllergyRecorded]
    send(c, CONDITION.model_copy(update={"display": "高血压", "recorded_at": NOW}), ALLERGY)
    assert [type(e.data) for e in c.emitted[2:]] == [ConditionRecorded]
    other = CONDITION.model_copy(update={"condition_id": "c2"})
    send(c, other)
    assert len(c.emitted) == 4


def test_a_sender_with_ever_new_conditions_does_not_fill_the_patients_record() -> None:
    patient = Patient(id="p1", hospital="h1")
    for n in range(MOST_TOLD + 1):
        event = CONDITION.model_copy(update={"condition_id": f"c{n}"})
        _, patient = completed(event, patient, set())
    assert len(patient.told) == MOST_TOLD
    for n, is_known in ((MOST_TOLD + 1, False), (0, False), (1, True), (MOST_TOLD, True)):
        event = CONDITION.model_copy(update={"condition_id": f"c{n}"})
        assert repeats(event, patient) is is_known
