"""A renewal of four weeks that waits for a doctor's answer, and what people see of it."""

from __future__ import annotations

from typing import Any

from libs.common.decision import Answer
from libs.common.events import (
    Medication,
    Quantity,
)
from services.prescriptions.domain.documents import Refill
from services.prescriptions.domain.form import PrescriptionForm
from services.prescriptions.domain.views import Reader, RefillView, refill_view
from tests.unit.prescriptions.given import (
    DAY,
    NOW,
    Hospital,
    policies,
    prescription,
    visit,
)

MEDICINE = Medication(
    code="C08CA01", name="Amlodipine", ingredient_code="amlodipine", strength="5 mg"
)
LONG: dict[str, Any] = {
    "assessed": True,
    "comment": "stable for years",
    "patient_signature": "form-1",
}


def tablets(value: float, unit: str = "tablet") -> dict[str, Any]:
    return {"value": value, "unit": unit}


def asked(days: int = 28, **more: Any) -> tuple[Hospital, str]:
    """A renewal of 28 tablets for 28 days that waits for a doctor."""
    case = Hospital()
    fields: dict[str, Any] = {
        "at": NOW - 60 * DAY,
        "medication": MEDICINE,
        "quantity": Quantity(value=28, unit="tablet"),
        "days_supply": days,
        "diagnoses": ("I10",),
        **more,
    }
    case.event(prescription(**fields))
    case.event(visit(NOW - 60 * DAY))
    return case, case.asked()


def replace(case: Hospital, id: str, **more: Any) -> Answer:
    fields = {"dosage": "two tablets in the morning", "quantity": tablets(28), "days_supply": 14}
    return case.doctor(id, "replace", **{**fields, **more})


def form_of(refill: Refill) -> PrescriptionForm:
    return PrescriptionForm.model_validate_json(refill.forms[-1].text)


def view(refill: Refill, audience: Any = "patient") -> RefillView:
    return refill_view(refill, Reader(policies(), "en", audience, NOW))
