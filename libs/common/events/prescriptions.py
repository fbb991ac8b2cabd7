"""What do hospital systems tell about prescriptions and visits (``hospital.prescriptions``)?"""

from __future__ import annotations

from enum import StrEnum
from typing import ClassVar, Literal

from pydantic import AwareDatetime, Field, FiniteFloat

from libs.common.events.base import (
    Code,
    Department,
    Event,
    EventModel,
    Id,
    Line,
    Prose,
    Sensitive,
    Word,
)


class VisitClass(StrEnum):
    """FHIR Encounter.class. In person are ``ambulatory`` and ``inpatient``."""

    AMBULATORY = "ambulatory"
    INPATIENT = "inpatient"
    EMERGENCY = "emergency"
    VIRTUAL = "virtual"


class Medication(EventModel):
    """The medicine that was prescribed."""

    code: Code = Field(description="ATC code.")
    name: Line = Field(description="Its name, as on the prescription.")
    ingredient_code: Code = Field(
        description="Code of the active ingredient: renewals are counted by it."
    )
    form: Line | None = Field(default=None, description="Tablet, capsule, ...")
    strength: Line | None = Field(default=None, description="5 mg, 20 mg/5 ml, ...")


class Quantity(EventModel):
    """How much."""

    value: FiniteFloat = Field(gt=0, description="The number.")
    unit: Line = Field(description="Tablets, boxes, ml, ...")


class PrescriptionIssued(Event):
    """A medicine was prescribed: one event for each medicine (FHIR MedicationRequest)."""

    TYPE: ClassVar[str] = "hospital.prescription.issued.v1"
    TOPIC: ClassVar[str] = "hospital.prescriptions"
    SUBJECT: ClassVar[str] = "prescription_id"

    prescription_id: Id = Field(description="The prescription (of one medicine).")
    patient_id: Id = Field(description="The patient.")
    medication: Medication = Field(description="The medicine.")
    dosage: Prose = Field(description="How to take it, in words.")
    quantity: Quantity = Field(description="How much was prescribed.")
    days_supply: int = Field(ge=1, le=366, description="For how many days it lasts.")
    assumed: tuple[Literal["quantity", "days_supply"], ...] = Field(
        default=(),
        max_length=2,
        description="Which of the two nobody told: what stands there is the sender's usual figure,"
        " and no rule rests on it.",
    )
    dosage_assumed: bool = Field(
        default=False,
        description="True: nobody told how to take it, and `dosage` is the sender's usual text.",
    )
    prescriber_id: Id = Field(description="The practitioner who prescribed it.")
    department: Department = Field(description="The treating department.")
    authored_here: bool = Field(default=True, description="False: prescribed at another hospital.")
    diagnoses: Sensitive[tuple[Code, ...]] = Field(
        default=(), max_length=16, description="ICD-10 codes of what it is for."
    )
    issued_at: AwareDatetime = Field(description="When it was prescribed.")
    updated_at: AwareDatetime | None = Field(
        default=None,
        description="When it was written so (FHIR meta.lastUpdated, HL7 MSH-7). Of its forms the"
        " one that was written last holds; one that does not say when counts from `issued_at`.",
    )
    based_on: Id | None = Field(default=None, description="The prescription that it follows from.")
    refill_id: Id | None = Field(
        default=None,
        description="The renewal that brought it about, by its id or by that of the prescription"
        " which it became; such a one resets no count.",
    )


class PrescriptionStopped(Event):
    """A prescription must no longer be followed or renewed."""

    TYPE: ClassVar[str] = "hospital.prescription.stopped.v1"
    TOPIC: ClassVar[str] = "hospital.prescriptions"
    SUBJECT: ClassVar[str] = "prescription_id"

    prescription_id: Id = Field(description="The prescription.")
    patient_id: Id = Field(description="The patient.")
    stopped_at: AwareDatetime = Field(description="When it was stopped.")
    stopped_by: Id | None = Field(default=None, description="The practitioner who stopped it.")
    reason: Word | None = Field(default=None, description="Why it was stopped.")


class VisitCompleted(Event):
    """A patient was seen. In person at the treating department, it resets the renewals. Said
    again with other values, it replaces what was said before."""

    TYPE: ClassVar[str] = "hospital.visit.completed.v1"
    TOPIC: ClassVar[str] = "hospital.prescriptions"
    SUBJECT: ClassVar[str] = "visit_id"

    visit_id: Id = Field(description="The visit.")
    patient_id: Id = Field(description="The patient.")
    visit_class: VisitClass = Field(description="How the patient was seen.")
    department: Department = Field(description="The department that saw the patient.")
    practitioner_id: Id | None = Field(default=None, description="Who saw the patient.")
    occurred_at: AwareDatetime = Field(
        description="When the visit took place; what counts, however late it is told."
    )
    recorded_at: AwareDatetime | None = Field(
        default=None,
        description="When this was recorded; absent: the event's time. A cancellation takes back"
        " what was recorded until then.",
    )


class VisitCancelled(Event):
    """A completed visit was taken back: the patient was not seen, or the visit goes on. It may
    arrive before the visit."""

    TYPE: ClassVar[str] = "hospital.visit.cancelled.v1"
    TOPIC: ClassVar[str] = "hospital.prescriptions"
    SUBJECT: ClassVar[str] = "visit_id"

    visit_id: Id = Field(description="The visit, as it was told.")
    patient_id: Id = Field(description="The patient of whom it was told.")
    visit_class: VisitClass | None = Field(
        default=None, description="How the patient was said to be seen; absent: not known."
    )
    cancelled_at: AwareDatetime = Field(description="When it was taken back.")
    reason: Prose | None = Field(default=None, description="Why, in words for staff.")
