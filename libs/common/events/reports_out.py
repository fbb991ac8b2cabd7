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
