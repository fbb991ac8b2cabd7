"""What does the prescriptions service tell about renewals (``prescriptions.events``)?"""

from __future__ import annotations

from datetime import date
from enum import StrEnum
from typing import ClassVar

from pydantic import AwareDatetime, Field

from libs.common.events.base import Code, Event, Id, Line, Prose, Word
from libs.common.events.pharmacy import FulfilmentMethod
from libs.common.events.prescriptions import Quantity


class RefillStage(StrEnum):
    """With whom a renewal lay."""

    DOCTOR = "doctor"
    PHARMACIST = "pharmacist"


class Refill(Event):
    """Which renewal it is about."""

    TOPIC: ClassVar[str] = "prescriptions.events"
    SUBJECT: ClassVar[str] = "refill_id"

    refill_id: Id = Field(description="The renewal.")
    patient_id: Id = Field(description="The patient.")
    prescription_id: Id = Field(description="The prescription to be renewed.")
    ingredient_code: Code = Field(description="Active ingredient: renewals are counted by it.")
    requested_by: Id = Field(description="The patient, or who may act for them.")
    department_code: Code | None = Field(default=None, description="The treating department.")


class RefillRequested(Refill):
    """A renewal was asked for, is eligible, and waits for a doctor."""

    TYPE: ClassVar[str] = "hospital.refill.requested.v1"

    number: int = Field(ge=1, description="It would be this renewal since the last visit.")
    requested_at: AwareDatetime = Field(description="When.")


class RefillRefused(Refill):
    """A rule said no: to what was asked for, or to a request under way, which is over then. A
    pharmacist's no is ``pharmacist_refused``."""

    TYPE: ClassVar[str] = "hospital.refill.refused.v1"

    reason: Word = Field(description="renewal_limit_reached, not_on_list, too_old, ...")
    refused_at: AwareDatetime = Field(description="When.")


class DoctorDecision(Refill):
    """What all answers of a doctor have in common."""

    doctor_id: Id = Field(description="The doctor who decided.")
    decided_at: AwareDatetime = Field(description="When.")


class RefillDoctorApproved(DoctorDecision):
    """A doctor approved and signed; a pharmacist reviews next."""

    TYPE: ClassVar[str] = "hospital.refill.doctor_approved.v1"

    days_supply: int = Field(ge=1, le=366, description="For how many days.")


class RefillDoctorChanged(DoctorDecision):
    """A doctor approved another quantity, or fewer renewals after it; a pharmacist reviews next."""

    TYPE: ClassVar[str] = "hospital.refill.doctor_changed.v1"

    days_supply: int = Field(ge=1, le=366, description="For how many days, after the change.")
    quantity: Quantity | None = Field(default=None, description="How much, after the change.")
    refills_allowed: int | None = Field(
        default=None,
        ge=0,
        description="So many renewals after it until the next visit, if the doctor said so.",
    )


class RefillDoctorReplaced(DoctorDecision):
    """A doctor changed the dosing: once a pharmacist has passed it, a new prescription stands in
    for the one that was to be renewed."""

    TYPE: ClassVar[str] = "hospital.refill.doctor_replaced.v1"

    new_prescription_id: Id = Field(description="The prescription with the new dosing.")
    dosage: Prose = Field(description="How to take it from now on, in words.")
    strength: Line | None = Field(default=None, description="Of the medicine from now on.")
    quantity: Quantity | None = Field(default=None, description="How much.")
    days_supply: int = Field(ge=1, le=366, description="For how many days.")
    refills_allowed: int | None = Field(
        default=None,
        ge=0,
        description="So many renewals after it until the next visit, if the doctor said so.",
    )


class RefillVisitNeeded(DoctorDecision):
    """A doctor wants to see the patient first: the renewal is over, its place is given back."""

    TYPE: ClassVar[str] = "hospital.refill.visit_needed.v1"

    reason: Word = Field(description="Why: a code; the doctor's words stay in the service.")


class RefillDoctorDeclined(DoctorDecision):
    """A doctor declined: the renewal is over and its place is given back."""

    TYPE: ClassVar[str] = "hospital.refill.doctor_declined.v1"

    reason: Word = Field(description="Why: a code; the doctor's words stay in the service.")


class PharmacistReview(Refill):
    """What all answers of a pharmacist have in common."""

    pharmacist_id: Id = Field(description="The pharmacist who reviewed.")
    reviewed_at: AwareDatetime = Field(description="When.")


class RefillPharmacistPassed(PharmacistReview):
    """A pharmacist passed the prescription; it takes effect."""

    TYPE: ClassVar[str] = "hospital.refill.pharmacist_passed.v1"


class RefillPharmacistReturned(PharmacistReview):
    """A pharmacist returned it to the doctor who approved it."""

    TYPE: ClassVar[str] = "hospital.refill.pharmacist_returned.v1"

    doctor_id: Id = Field(description="The same doctor, who decides again.")
    reason: Word = Field(description="Why: a code; the pharmacist's words stay in the service.")


class RefillPharmacistRefused(PharmacistReview):
    """A pharmacist refused: the renewal is over and its place is given back."""

    TYPE: ClassVar[str] = "hospital.refill.pharmacist_refused.v1"

    reason: Word = Field(description="Why: a code; the pharmacist's words stay in the service.")


class RefillEffective(Refill):
    """The renewal counts, and its prescription may be dispensed."""

    TYPE: ClassVar[str] = "hospital.refill.effective.v1"

    new_prescription_id: Id = Field(description="The renewal's own prescription.")
    doctor_id: Id = Field(description="The doctor who signed it.")
    pharmacist_id: Id = Field(description="The pharmacist who passed it.")
    days_supply: int = Field(ge=1, le=366, description="For how many days.")
    number: int = Field(ge=1, description="It is this renewal since the last visit.")
    remaining: int = Field(ge=0, description="Renewals left until the next visit.")
    effective_at: AwareDatetime = Field(description="When it took effect.")
    valid_on: date | None = Field(
        default=None, description="The last day on which it is dispensed."
    )
    method: FulfilmentMethod | None = Field(
        default=None, description="How the patient's side wants it; absent: not chosen yet."
    )
    pharmacy_id: Id | None = Field(default=None, description="The pharmacy that they chose.")


class RefillFulfilmentChosen(Refill):
    """The patient's side chose, or changed, how an effective renewal is fulfilled. Where to
    deliver it the pharmacy reads over HTTP: ``GET /v1/refills/{refill_id}/fulfilment``."""

    TYPE: ClassVar[str] = "hospital.refill.fulfilment_chosen.v1"

    new_prescription_id: Id = Field(description="The renewal's own prescription.")
    method: FulfilmentMethod = Field(description="How.")
    pharmacy_id: Id = Field(description="The pharmacy that is to dispense it.")
    previous_pharmacy_id: Id | None = Field(
        default=None, description="The pharmacy that is not to dispense it any more."
    )
    valid_on: date | None = Field(
        default=None, description="The last day on which it is dispensed."
    )
    chosen_at: AwareDatetime = Field(description="When.")


class RefillCancelled(Refill):
    """The patient's side took the request back; its place is given back."""

    TYPE: ClassVar[str] = "hospital.refill.cancelled.v1"

    cancelled_by: Id = Field(description="Who took it back.")
    cancelled_at: AwareDatetime = Field(description="When.")
    reason: Word | None = Field(default=None, description="Why.")


class RefillExpired(Refill):
    """Nobody decided in time; its place is given back."""

    TYPE: ClassVar[str] = "hospital.refill.expired.v1"

    stage: RefillStage = Field(description="With whom it lay.")
    expired_at: AwareDatetime = Field(description="When.")


class RefillSuspended(Refill):
    """The hospital told of something that nobody knew who decided. Not yet in effect: it goes
    no further until a doctor has looked at it. In effect: nothing may be dispensed any more, and
    what lies ready or is on its way must not reach the patient."""

    TYPE: ClassVar[str] = "hospital.refill.suspended.v1"

    reason: Word = Field(
        description="allergy_recorded, allergy_to_compare (by no code, so a doctor has to),"
        " condition_changed (a diagnosis, an admission, another prescription stopped),"
        " prescription_stopped, patient_deceased, ..."
    )
    suspended_at: AwareDatetime = Field(description="When.")
    new_prescription_id: Id | None = Field(
        default=None,
        description="The renewal's own prescription, if it was in effect: it is void for good.",
    )
    pharmacy_id: Id | None = Field(
        default=None,
        description="The pharmacy that has dispensed it or, before that, was chosen to.",
    )


class RefillLapsed(Refill):
    """It was not dispensed while it was valid; it may be asked for again. It goes on counting
    as a renewal: a pharmacy's report may still come."""

    TYPE: ClassVar[str] = "hospital.refill.lapsed.v1"

    new_prescription_id: Id = Field(description="The renewal's own prescription.")
    valid_on: date = Field(description="The last day on which it was valid.")
    lapsed_at: AwareDatetime = Field(description="When.")
    pharmacy_id: Id | None = Field(
        default=None, description="The pharmacy that was to dispense it, if one was chosen."
    )


class RefillFulfilment(Refill):
    """What all steps of the pharmacy have in common."""

    new_prescription_id: Id = Field(description="The renewal's own prescription.")
    fulfilment_id: Id | None = Field(default=None, description="The dispensing.")
    pharmacy_id: Id | None = Field(default=None, description="The pharmacy.")
    occurred_at: AwareDatetime = Field(description="When it happened.")


class RefillDispensed(RefillFulfilment):
    """The medicine is ready to be collected, or on its way."""

    TYPE: ClassVar[str] = "hospital.refill.dispensed.v1"


class RefillCollected(RefillFulfilment):
    """The medicine was collected."""

    TYPE: ClassVar[str] = "hospital.refill.collected.v1"


class RefillDelivered(RefillFulfilment):
    """The medicine was delivered."""

    TYPE: ClassVar[str] = "hospital.refill.delivered.v1"


class RefillReturnedToStock(RefillFulfilment):
    """Nobody collected the medicine, or it came back."""

    TYPE: ClassVar[str] = "hospital.refill.returned_to_stock.v1"

    reason: Word | None = Field(default=None, description="Why.")
