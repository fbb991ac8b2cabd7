"""What do pharmacy systems tell about dispensing (``hospital.pharmacy``)?"""

from __future__ import annotations

from enum import StrEnum
from typing import ClassVar

from pydantic import AwareDatetime, Field

from libs.common.events.base import Event, Id, Word
from libs.common.events.prescriptions import Quantity


class FulfilmentStatus(StrEnum):
    """How far the medicine is on its way to the patient."""

    PREPARING = "preparing"
    DISPENSED = "dispensed"  # ready, or handed to the courier
    COLLECTED = "collected"
    DELIVERED = "delivered"
    RETURNED_TO_STOCK = "returned_to_stock"
    DECLINED = "declined"  # this pharmacy will not dispense it


class FulfilmentMethod(StrEnum):
    """How the medicine comes to the patient."""

    PICKUP = "pickup"  # at the pharmacy
    DELIVERY = "delivery"  # home, by the pharmacy


class FulfilmentUpdated(Event):
    """A pharmacy got further with a prescription (FHIR MedicationDispense)."""

    TYPE: ClassVar[str] = "hospital.fulfilment.updated.v1"
    TOPIC: ClassVar[str] = "hospital.pharmacy"
    SUBJECT: ClassVar[str] = "fulfilment_id"

    fulfilment_id: Id = Field(description="The dispensing; one prescription may have several.")
    prescription_id: Id = Field(description="The prescription that is dispensed.")
    patient_id: Id = Field(description="The patient.")
    refill_id: Id | None = Field(
        default=None, description="The renewal, where the pharmacy knows it."
    )
    pharmacy_id: Id | None = Field(default=None, description="The pharmacy.")
    status: FulfilmentStatus = Field(description="How far it is.")
    quantity: Quantity | None = Field(default=None, description="How much was dispensed.")
    reason: Word | None = Field(default=None, description="Why: of declined, returned_to_stock.")
    occurred_at: AwareDatetime = Field(
        description="When it happened; what counts, however late it is told."
    )
