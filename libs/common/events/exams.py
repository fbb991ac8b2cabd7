"""What do hospital systems tell about examinations to come (``hospital.exams``)?

An examination may be ordered before it has a time, and reports name it by the same order.
"""

from __future__ import annotations

from typing import ClassVar

from pydantic import AwareDatetime, Field

from libs.common.events.base import Code, Department, Event, Id, Line, Sensitive, Word
from libs.common.events.reports import ReportKind


class ExamFact(Event):
    """Which examination of which patient."""

    TOPIC: ClassVar[str] = "hospital.exams"
    SUBJECT: ClassVar[str] = "exam_id"

    exam_id: Id = Field(description="The examination; the same from the order to its end.")
    patient_id: Id = Field(description="The patient.")


class ExamPlan(ExamFact):
    """The examination as it is planned now: the whole of it, not a difference."""

    kind: ReportKind = Field(description="Which kind of service examines.")
    code: Code = Field(description="LOINC code, or the hospital's own.")
    title: Line = Field(description="Its name, as patients read it.")
    starts_at: AwareDatetime | None = Field(
        default=None, description="When it begins; absent: ordered, without a time yet."
    )
    ends_at: AwareDatetime | None = Field(default=None, description="When it shall be over.")
    department: Department | None = Field(default=None, description="The department that examines.")
    location: Line | None = Field(default=None, description="Where to come to: building, room.")
    ordering_practitioner_id: Id | None = Field(default=None, description="Who ordered it.")
    encounter_id: Id | None = Field(default=None, description="The stay or visit it belongs to.")
    instructions: Sensitive[Line | None] = Field(
        default=None, description="What the patient must mind, beyond the usual of its code."
    )
    scheduled_at: AwareDatetime = Field(
        description="When it was planned so; an older plan is stale."
    )


class ExamScheduled(ExamPlan):
    """An examination was ordered or has got a time."""

    TYPE: ClassVar[str] = "hospital.exam.scheduled.v1"


class ExamRescheduled(ExamPlan):
    """An examination has another time or place; it also serves a reader that missed the first."""

    TYPE: ClassVar[str] = "hospital.exam.rescheduled.v1"


class ExamCancelled(ExamFact):
    """An examination will not take place. It may arrive before the plan."""

    TYPE: ClassVar[str] = "hospital.exam.cancelled.v1"

    cancelled_at: AwareDatetime = Field(
        description="When it was cancelled; a plan made later holds again."
    )
    reason: Word | None = Field(default=None, description="no_show, entered_in_error, ...")
