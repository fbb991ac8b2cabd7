"""What was known of an examination before, where a message leaves it out?

An order knows what is examined and by whose wish, an appointment when and where; both are about
one examination if they name one order. Our events hold the whole plan. So what one of them does
not say is kept here, or a changed order would cost the examination its time.
"""

from __future__ import annotations

from datetime import datetime
from typing import ClassVar

from pydantic import BaseModel, ConfigDict

from libs.common.decision import Document
from libs.common.events import Department, Event, ExamCancelled, ReportKind
from libs.common.events.base import Sensitive
from libs.common.events.exams import ExamPlan

ExamEvent = ExamPlan | ExamCancelled


class Booking(BaseModel):
    """An appointment, by the numbers that its two sides give it; a message may leave one out."""

    model_config = ConfigDict(frozen=True)

    placer: str | None = None
    filler: str | None = None

    def differs(self, other: Booking) -> bool:
        """Whether it is another one for certain: what both of them have is nowhere the same."""
        pairs = ((self.placer, other.placer), (self.filler, other.filler))
        told = [mine == theirs for mine, theirs in pairs if mine and theirs]
        return bool(told) and not any(told)


class Known(BaseModel):
    """What a plan may leave out."""

    model_config = ConfigDict(frozen=True)

    starts_at: datetime | None = None
    ends_at: datetime | None = None
    location: str | None = None
    department: Department | None = None
    ordering_practitioner_id: str | None = None
    encounter_id: str | None = None
    instructions: str | None = None


class Exam(Document):
    COLLECTION: ClassVar[str] = "exams"

    known: Sensitive[Known] = Known()
    kind: ReportKind = ReportKind.OTHER
    #: Since when it is so: an older message only adds what is not known.
    known_at: datetime | None = None
    cancelled: bool = False
    #: Which appointment its time is from.
    booking: Booking | None = None


#: What a cancellation takes with it: another plan has another time.
_OF_APPOINTMENT = {"starts_at": None, "ends_at": None, "location": None, "instructions": None}


#: What only an order knows, and tells even if it comes after its own appointment.
_OF_ORDER = ("department", "ordering_practitioner_id", "encounter_id")


def planned(
    exam: Exam, event: ExamEvent, booking: Booking | None = None
) -> tuple[Event | None, Exam]:
    """``event`` with what its message left out, and ``exam`` after it.

    ``booking`` is the appointment that it is about, if it is one. ``None`` is told where an
    appointment is cancelled that another one of the same order has replaced: many book the new
    one first.
    """
    if isinstance(event, ExamCancelled):
        if booking and exam.booking and booking.differs(exam.booking):
            return None, exam
        if exam.known_at is not None and event.cancelled_at < exam.known_at:
            return event, exam
        known = exam.known.model_copy(update=_OF_APPOINTMENT)
        after = {"known": known, "known_at": event.cancelled_at, "cancelled": True}
        return event, exam.but(**after, booking=None)
    if exam.known_at is not None and event.scheduled_at < exam.known_at:
        return _late(exam, event)
    names = set(Known.model_fields)
    if event.starts_at is not None:
        names -= {"ends_at", "location"}  # another time: the old end and place say nothing
    filled = {n: getattr(exam.known, n) for n in names if getattr(event, n) is None}
    if event.kind is ReportKind.OTHER:
        filled["kind"] = exam.kind
    whole = event.model_copy(update=filled)
    known = Known(**{name: getattr(whole, name) for name in Known.model_fields})
    after = {"known": known, "kind": whole.kind, "known_at": event.scheduled_at}
    return whole, exam.but(**after, cancelled=False, booking=booking or exam.booking)


def _late(exam: Exam, event: ExamPlan) -> tuple[Event, Exam]:
    """An older plan: the newer one with what only this one says, or it stays of no kind, and
    nobody says to the patient what to prepare. If it says no more, it is told as it is: stale."""
    added = {
        name: found
        for name in _OF_ORDER
        if getattr(exam.known, name) is None and (found := getattr(event, name)) is not None
    }
    is_kind_new = exam.kind is ReportKind.OTHER and event.kind is not ReportKind.OTHER
    if exam.cancelled or not (added or is_kind_new):
        return event, exam
    known = exam.known.model_copy(update=added)
    kind = event.kind if is_kind_new else exam.kind
    said = {name: getattr(known, name) for name in Known.model_fields}
    whole = event.model_copy(update={**said, "kind": kind, "scheduled_at": exam.known_at})
    return whole, exam.but(known=known, kind=kind)
