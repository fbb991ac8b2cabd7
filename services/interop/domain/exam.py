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
    #: Since when it is so: an older message changes nothing.
    known_at: datetime | None = None


#: What a cancellation takes with it: another plan has another time.
_OF_APPOINTMENT = {"starts_at": None, "ends_at": None, "location": None, "instructions": None}


def planned(exam: Exam, event: ExamEvent) -> tuple[Event, Exam]:
    """``event`` with what its message left out, and ``exam`` after it."""
    if isinstance(event, ExamCancelled):
        if exam.known_at is not None and event.cancelled_at < exam.known_at:
            return event, exam
        known = exam.known.model_copy(update=_OF_APPOINTMENT)
        return event, exam.but(known=known, known_at=event.cancelled_at)
    if exam.known_at is not None and event.scheduled_at < exam.known_at:
        return event, exam
    names = set(Known.model_fields)
    if event.starts_at is not None:
        names -= {"ends_at", "location"}  # another time: the old end and place say nothing
    filled = {n: getattr(exam.known, n) for n in names if getattr(event, n) is None}
    if event.kind is ReportKind.OTHER:
        filled["kind"] = exam.kind
    whole = event.model_copy(update=filled)
    known = Known(**{name: getattr(whole, name) for name in Known.model_fields})
    return whole, exam.but(known=known, kind=whole.kind, known_at=event.scheduled_at)
