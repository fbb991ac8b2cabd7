"""What do hospital systems tell about results and findings (``hospital.reports``)?"""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated, ClassVar

from pydantic import AwareDatetime, Field, FiniteFloat, StrictInt, StringConstraints

from libs.common.events.base import (
    Code,
    Event,
    EventModel,
    Id,
    Line,
    Prose,
    Sensitive,
    Url,
    Word,
)


class ReportKind(StrEnum):
    """Which kind of service made the report."""

    LABORATORY = "laboratory"
    MICROBIOLOGY = "microbiology"
    PATHOLOGY = "pathology"
    IMAGING = "imaging"
    ULTRASOUND = "ultrasound"
    ENDOSCOPY = "endoscopy"
    FUNCTION_TEST = "function_test"
    OTHER = "other"


class ReportStatus(StrEnum):
    """FHIR DiagnosticReport.status."""

    REGISTERED = "registered"
    PARTIAL = "partial"
    PRELIMINARY = "preliminary"
    MODIFIED = "modified"
    FINAL = "final"
    AMENDED = "amended"
    CORRECTED = "corrected"
    APPENDED = "appended"
    CANCELLED = "cancelled"
    ENTERED_IN_ERROR = "entered-in-error"
    UNKNOWN = "unknown"


class Interpretation(StrEnum):
    """HL7 v3 ObservationInterpretation (HL7 v2 table 0078)."""

    NORMAL = "N"
    LOW = "L"
    HIGH = "H"
    CRITICALLY_LOW = "LL"
    CRITICALLY_HIGH = "HH"
    BELOW_SCALE = "<"
    ABOVE_SCALE = ">"
    ABNORMAL = "A"
    CRITICALLY_ABNORMAL = "AA"
    BETTER = "B"
    WORSE = "W"
    UP = "U"
    DOWN = "D"
    POSITIVE = "POS"
    NEGATIVE = "NEG"
    INDETERMINATE = "IND"
    DETECTED = "DET"
    NOT_DETECTED = "ND"
    SUSCEPTIBLE = "S"
    INTERMEDIATE = "I"
    RESISTANT = "R"


class ReferenceRange(EventModel):
    """What is usual; bounds are inclusive and in the observation's unit."""

    low: FiniteFloat | None = Field(default=None, description="Lower bound.")
    high: FiniteFloat | None = Field(default=None, description="Upper bound.")
    text: Line | None = Field(
        default=None, description="The range in words, where numbers do not do."
    )


#: 140 stays 140 and 5.6 stays 5.6; who must show 5.60 sends it as text.
Value = StrictInt | FiniteFloat | Annotated[str, StringConstraints(max_length=2000)]


class Observation(EventModel):
    """One line of a report."""

    code: Code = Field(description="LOINC code, or the laboratory's own.")
    display: Line = Field(description="What was observed, in words.")
    value: Sensitive[Value | None] = Field(default=None, description="A number, or text.")
    unit: Annotated[str, StringConstraints(max_length=32)] | None = Field(
        default=None, description="Unit of the number (UCUM where it has one)."
    )
    reference_range: ReferenceRange | None = Field(default=None, description="What is usual.")
    interpretation: Interpretation | None = Field(default=None, description="HL7 code.")


class Hold(EventModel):
    """Whether the patient must not see the report yet."""

    on: bool = Field(default=False, description="True: not to be released to the patient.")
    reason: Word | None = Field(default=None, description="Why it is held.")


class DocumentRef(EventModel):
    """A document that belongs to a report: an event holds no document, only where it is."""

    document_id: Id = Field(description="The document; the same content has the same id.")
    content_type: Annotated[str, StringConstraints(pattern=r"^[a-z0-9.+-]+/[a-z0-9.+-]+$")] = Field(
        description="Its media type: application/pdf, image/jpeg."
    )
    title: Line | None = Field(default=None, description="Its name, for people.")
    size: int = Field(ge=0, description="Its length in bytes.")
    sha256: Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{64}$")] = Field(
        description="SHA-256 of its bytes, in hexadecimal."
    )
    url: Url = Field(description="Where it can be had, with a token of the platform.")


class ReportContent(Event):
    """A report as it is now: the whole of it, not a difference."""

    TOPIC: ClassVar[str] = "hospital.reports"
    SUBJECT: ClassVar[str] = "report_id"

    report_id: Id = Field(description="The report; stays the same through its versions.")
    patient_id: Id = Field(description="The patient.")
    kind: ReportKind = Field(description="Which kind of service made it.")
    code: Code = Field(description="LOINC code of the report.")
    title: Line = Field(description="Its name, as patients read it.")
    status: ReportStatus = Field(description="FHIR DiagnosticReport.status.")
    version: int = Field(
        default=1, ge=1, description="Grows with every change; a lower one is stale."
    )
    hold: Hold = Field(default=Hold(), description="Whether the patient must not see it yet.")
    critical: bool = Field(default=False, description="True: a value is a danger to life.")
    ordering_practitioner_id: Id | None = Field(
        default=None, description="Who ordered it, and is told of critical values."
    )
    department_code: Code | None = Field(
        default=None, description="The department that ordered it."
    )
    encounter_id: Id | None = Field(
        default=None, description="The stay or visit that it belongs to."
    )
    effective_at: AwareDatetime | None = Field(
        default=None, description="When the specimen was taken or the examination made."
    )
    issued_at: AwareDatetime = Field(description="When this version was issued; backfill by it.")
    observations: Sensitive[tuple[Observation, ...]] = Field(
        default=(), max_length=300, description="The lines of the report."
    )
    conclusion: Sensitive[Prose | None] = Field(default=None, description="The finding in words.")
    documents: tuple[DocumentRef, ...] = Field(
        default=(), max_length=16, description="The report as a document: a PDF, an image."
    )


class ReportReady(ReportContent):
    """A report, preliminary or final, exists; it may come again as it grows."""

    TYPE: ClassVar[str] = "hospital.report.ready.v1"


class ReportCorrected(ReportContent):
    """A report that was wrong is replaced by this version."""

    TYPE: ClassVar[str] = "hospital.report.corrected.v1"

    corrects: int | None = Field(default=None, ge=1, description="The version that was wrong.")
    correction: Prose | None = Field(default=None, description="What was corrected, in words.")


class ReportWithdrawn(Event):
    """A report was taken back and must no longer be shown."""

    TYPE: ClassVar[str] = "hospital.report.withdrawn.v1"
    TOPIC: ClassVar[str] = "hospital.reports"
    SUBJECT: ClassVar[str] = "report_id"

    report_id: Id = Field(description="The report.")
    patient_id: Id = Field(description="The patient.")
    version: int | None = Field(
        default=None, ge=1, description="The last version that is withdrawn; absent: all there are."
    )
    withdrawn_at: AwareDatetime = Field(description="When it was taken back.")
    reason: Prose | None = Field(default=None, description="Why, in words for staff.")
