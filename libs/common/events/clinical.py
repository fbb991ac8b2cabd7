"""What do hospital systems tell about conditions and allergies (``hospital.clinical``)?"""

from __future__ import annotations

from datetime import date
from enum import StrEnum
from typing import ClassVar

from pydantic import AwareDatetime, Field

from libs.common.events.base import Code, Event, Id, Line, Sensitive


class ClinicalStatus(StrEnum):
    """FHIR clinical status, of a condition or an allergy (which is active, inactive, resolved)."""

    ACTIVE = "active"
    RECURRENCE = "recurrence"
    RELAPSE = "relapse"
    INACTIVE = "inactive"
    REMISSION = "remission"
    RESOLVED = "resolved"


class VerificationStatus(StrEnum):
    """FHIR verification status."""

    UNCONFIRMED = "unconfirmed"
    PROVISIONAL = "provisional"
    DIFFERENTIAL = "differential"
    CONFIRMED = "confirmed"
    REFUTED = "refuted"
    ENTERED_IN_ERROR = "entered-in-error"


class AllergyCategory(StrEnum):
    """FHIR AllergyIntolerance.category."""

    FOOD = "food"
    MEDICATION = "medication"
    ENVIRONMENT = "environment"
    BIOLOGIC = "biologic"


class Criticality(StrEnum):
    """FHIR AllergyIntolerance.criticality."""

    LOW = "low"
    HIGH = "high"
    UNABLE_TO_ASSESS = "unable-to-assess"


class ClinicalRecord(Event):
    """The whole record as it is now, not a difference."""

    TOPIC: ClassVar[str] = "hospital.clinical"

    patient_id: Id = Field(description="The patient.")
    encounter_id: Id | None = Field(default=None, description="Where it was recorded.")
    practitioner_id: Id | None = Field(default=None, description="Who recorded it.")
    clinical_status: ClinicalStatus = Field(
        default=ClinicalStatus.ACTIVE, description="Whether it still is so."
    )
    verification_status: VerificationStatus = Field(
        default=VerificationStatus.CONFIRMED,
        description="How sure it is; refuted and entered-in-error take the record back.",
    )
    recorded_at: AwareDatetime = Field(
        description="When the record took this form; an older one is stale."
    )


class ConditionRecorded(ClinicalRecord):
    """A diagnosis or problem of the patient was recorded or changed."""

    TYPE: ClassVar[str] = "hospital.condition.recorded.v1"
    SUBJECT: ClassVar[str] = "condition_id"

    condition_id: Id = Field(description="The record of the condition.")
    code: Sensitive[Code] = Field(description="ICD-10 code; national extensions are kept.")
    display: Sensitive[Line | None] = Field(default=None, description="The condition in words.")
    department_code: Code | None = Field(
        default=None, description="The department that diagnosed it."
    )
    onset_on: Sensitive[date | None] = Field(default=None, description="Since when.")


class AllergyRecorded(ClinicalRecord):
    """An allergy or intolerance of the patient was recorded or changed."""

    TYPE: ClassVar[str] = "hospital.allergy.recorded.v1"
    SUBJECT: ClassVar[str] = "allergy_id"

    allergy_id: Id = Field(description="The record of the allergy.")
    code: Sensitive[Code | None] = Field(
        default=None, description="Code of the substance in `system`; absent: in words only."
    )
    system: Code | None = Field(
        default=None, description="The code system: ATC for medicines where it is known."
    )
    display: Sensitive[Line] = Field(description="The substance in words.")
    category: AllergyCategory | None = Field(default=None, description="What kind of substance.")
    criticality: Criticality | None = Field(
        default=None, description="How dangerous a reaction may be."
    )
    reaction: Sensitive[Line | None] = Field(
        default=None, description="What happened, in words: rash, anaphylaxis."
    )
