"""What does the reports service tell about what patients may see (``reports.events``)?"""

from __future__ import annotations

from typing import ClassVar

from pydantic import AwareDatetime, Field

from libs.common.events.base import Code, Event, Id, Word
from libs.common.events.reports import ReportKind


class ResultFact(Event):
    """Which version of which report it is about."""

    TOPIC: ClassVar[str] = "reports.events"
    SUBJECT: ClassVar[str] = "report_id"

    report_id: Id = Field(description="The report.")
    patient_id: Id = Field(description="The patient.")
    version: int = Field(ge=1, description="The report's version.")


class ResultReleased(ResultFact):
    """The patient may see this version from now on; it replaces an earlier one."""

    TYPE: ClassVar[str] = "hospital.result.released.v1"

    kind: ReportKind = Field(description="Which kind of service made the report.")
    code: Code = Field(description="LOINC code of the report.")
    corrected: bool = Field(
        default=False, description="True: it replaces one that was released before."
    )
    released_at: AwareDatetime = Field(description="When.")


class ResultViewed(ResultFact):
    """A person saw this version for the first time."""

    TYPE: ClassVar[str] = "hospital.result.viewed.v1"

    person_id: Id = Field(description="The patient, or who may act for them.")
    viewed_at: AwareDatetime = Field(description="When.")


class ResultRecalled(ResultFact):
    """What was released can no longer be seen."""

    TYPE: ClassVar[str] = "hospital.result.recalled.v1"

    recalled_at: AwareDatetime = Field(description="When.")
    reason: Word = Field(description="withdrawn, held, ...")


class InterpretationFact(Event):
    """Which explanation of which report."""

    TOPIC: ClassVar[str] = "reports.events"
    SUBJECT: ClassVar[str] = "interpretation_id"

    interpretation_id: Id = Field(description="The request for an explanation.")
    report_id: Id = Field(description="The report.")
    patient_id: Id = Field(description="The patient.")


class InterpretationRequested(InterpretationFact):
    """A patient asks what a report means."""

    TYPE: ClassVar[str] = "hospital.interpretation.requested.v1"
    DRAFT: ClassVar[bool] = True

    requested_by: Id = Field(description="The patient, or who may act for them.")
    department_code: Code | None = Field(default=None, description="The department that is asked.")
    requested_at: AwareDatetime = Field(description="When.")
    due_at: AwareDatetime | None = Field(
        default=None, description="Until when an answer is promised."
    )


class InterpretationGiven(InterpretationFact):
    """A doctor explained a report; the words stay in the service."""

    TYPE: ClassVar[str] = "hospital.interpretation.given.v1"
    DRAFT: ClassVar[bool] = True

    version: int = Field(ge=1, description="The version of the report that was explained.")
    given_by: Id = Field(description="The doctor.")
    given_at: AwareDatetime = Field(description="When.")


class PreparationReminded(Event):
    """A patient was told what to mind before an examination."""

    TYPE: ClassVar[str] = "hospital.preparation.reminded.v1"
    DRAFT: ClassVar[bool] = True
    TOPIC: ClassVar[str] = "reports.events"
    SUBJECT: ClassVar[str] = "exam_id"

    exam_id: Id = Field(description="The examination.")
    patient_id: Id = Field(description="The patient.")
    preparation: Word = Field(description="Which sheet: mri, colonoscopy, gastroscopy, ...")
    starts_at: AwareDatetime = Field(description="When the examination begins.")
    reminded_at: AwareDatetime = Field(description="When the patient was reminded.")
