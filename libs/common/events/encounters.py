"""What do hospital systems tell about stays (``hospital.encounters``)?"""

from __future__ import annotations

from datetime import date
from enum import StrEnum
from typing import ClassVar

from pydantic import AwareDatetime, Field

from libs.common.events.base import (
    Code,
    Contact,
    Department,
    Event,
    EventModel,
    Id,
    Line,
    Prose,
    Sensitive,
)
from libs.common.events.patients import Gender, Relationship


class Disposition(StrEnum):
    """Where the patient went (FHIR's discharge disposition, in our words)."""

    HOME = "home"
    TRANSFERRED = "transferred"
    DECEASED = "deceased"
    AGAINST_ADVICE = "against_advice"
    OTHER = "other"


class DiagnosisUse(StrEnum):
    """What the diagnosis is to the stay (FHIR's Encounter.diagnosis.use)."""

    DISCHARGE = "discharge"
    ADMISSION = "admission"
    COMORBIDITY = "comorbidity"
    OTHER = "other"


class Diagnosis(EventModel):
    """One coded diagnosis of the stay."""

    code: Code = Field(description="ICD-10 code; national extensions are kept (I63.900x001).")
    display: Line | None = Field(default=None, description="The diagnosis in words.")
    use: DiagnosisUse = Field(default=DiagnosisUse.DISCHARGE, description="Its role in this stay.")
    rank: int = Field(
        default=1, ge=1, le=99, description="1 is the main one among those of its use."
    )


class Procedure(EventModel):
    """One coded procedure that was performed during the stay."""

    code: Code = Field(description="Code of the procedure in `system`.")
    system: Code = Field(default="ICD-9-CM-3", description="The code system.")
    display: Line | None = Field(default=None, description="The procedure in words.")
    performed_at: AwareDatetime | None = Field(default=None, description="When it was performed.")


class PatientSnapshot(Contact):
    """The patient as the hospital knew them when they left."""

    birth_date: Sensitive[date] = Field(description="Date of birth.")
    gender: Gender = Field(default=Gender.UNKNOWN, description="Administrative gender.")
    deceased: bool = Field(default=False, description="True: the patient has died.")


class Guardian(Contact):
    """A person who may act for the patient, as the hospital knew them."""

    person_id: Id = Field(description="The guardian's person id.")
    relationship: Relationship = Field(
        default=Relationship.OTHER, description="What the person is to the patient."
    )


class Attending(EventModel):
    """The physician responsible for the stay."""

    practitioner_id: Id = Field(description="The practitioner; also their own person id.")
    name: Sensitive[Line | None] = Field(default=None, description="Their name.")


class EncounterDischarged(Event):
    """A stay ended. A discharge that was cancelled may be followed by another one."""

    TYPE: ClassVar[str] = "hospital.encounter.discharged.v1"
    TOPIC: ClassVar[str] = "hospital.encounters"
    SUBJECT: ClassVar[str] = "encounter_id"

    encounter_id: Id = Field(description="The stay.")
    patient_id: Id = Field(description="The patient; also the patient's own person id.")
    patient: PatientSnapshot = Field(description="The patient when leaving.")
    guardians: tuple[Guardian, ...] = Field(
        default=(), max_length=16, description="Who may act for the patient; matters for a child."
    )
    department: Department = Field(description="The department that discharged.")
    diagnoses: Sensitive[tuple[Diagnosis, ...]] = Field(
        default=(), max_length=64, description="Coded diagnoses of the stay."
    )
    procedures: Sensitive[tuple[Procedure, ...]] = Field(
        default=(), max_length=64, description="Coded procedures of the stay."
    )
    attending: Attending | None = Field(default=None, description="The responsible physician.")
    admitted_at: AwareDatetime | None = Field(default=None, description="When the stay began.")
    discharged_at: AwareDatetime = Field(description="When the patient left; age counts here.")
    disposition: Disposition = Field(description="Where the patient went.")


class DischargeCancelled(Event):
    """A discharge was taken back. It may arrive before the discharge that it names."""

    TYPE: ClassVar[str] = "hospital.encounter.discharge_cancelled.v1"
    TOPIC: ClassVar[str] = "hospital.encounters"
    SUBJECT: ClassVar[str] = "encounter_id"

    encounter_id: Id = Field(description="The stay.")
    patient_id: Id = Field(description="The patient.")
    discharge_event_id: Id = Field(
        description="CloudEvents id of the cancelled discharge (same source)."
    )
    cancelled_at: AwareDatetime = Field(description="When it was taken back.")
    reason: Prose | None = Field(default=None, description="Why, in words for staff.")


class EncounterAdmitted(Event):
    """A stay began. Said again with other values, it replaces what was said before."""

    TYPE: ClassVar[str] = "hospital.encounter.admitted.v1"
    TOPIC: ClassVar[str] = "hospital.encounters"
    SUBJECT: ClassVar[str] = "encounter_id"

    encounter_id: Id = Field(description="The stay.")
    patient_id: Id = Field(description="The patient.")
    department: Department | None = Field(
        default=None, description="The department that admitted; absent: not known yet."
    )
    attending: Attending | None = Field(default=None, description="The responsible physician.")
    admitted_at: AwareDatetime = Field(description="When the stay began.")


class AdmissionCancelled(Event):
    """An admission was taken back: the stay never was. It may arrive before the admission."""

    TYPE: ClassVar[str] = "hospital.encounter.admission_cancelled.v1"
    TOPIC: ClassVar[str] = "hospital.encounters"
    SUBJECT: ClassVar[str] = "encounter_id"

    encounter_id: Id = Field(description="The stay that never was.")
    patient_id: Id = Field(description="The patient.")
    cancelled_at: AwareDatetime = Field(description="When it was taken back.")
    reason: Prose | None = Field(default=None, description="Why, in words for staff.")
