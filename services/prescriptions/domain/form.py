"""What exactly do doctor and pharmacist sign?

The prescription of an effective renewal as one canonical text: the same content is always
the same bytes, so a signature of them is a signature of the prescription. It holds what
a prescription must (处方管理办法, article 6: hospital, patient's name, sex and age,
department, diagnoses and date; medicine, form, strength, quantity, dosage) and by which
rules it came about.
"""

from __future__ import annotations

import hashlib
import json
from base64 import urlsafe_b64encode
from collections.abc import Mapping
from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict

from libs.common.decision import derived_id
from libs.common.events import Gender
from services.prescriptions.domain.documents import Changes, Order, Refill


class Part(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True)


class FormPatient(Part):
    id: str
    name: str
    gender: Gender
    birth_date: date


class FormDepartment(Part):
    code: str
    name: str | None = None


class FormMedication(Part):
    code: str
    name: str
    ingredient_code: str
    form: str | None = None
    strength: str | None = None


class FormQuantity(Part):
    value: str  # decimal: JSON numbers are not read alike everywhere
    unit: str


class FormBefore(Part):
    """What ``based_on`` said where this prescription says otherwise; absent: the same."""

    dosage: str | None = None
    strength: str | None = None
    quantity: FormQuantity | None = None
    days_supply: int | None = None


class PrescriptionForm(Part):
    """The content. ``version`` counts the approvals; ``nonce`` makes its hash unguessable."""

    form: Literal["lianxin.prescription.v1"] = "lianxin.prescription.v1"
    hospital: str
    prescription_id: str
    version: int
    refill_id: str
    based_on: str
    patient: FormPatient
    department: FormDepartment
    diagnoses: tuple[str, ...]
    medication: FormMedication
    dosage: str
    quantity: FormQuantity | None = None  # absent: nobody told the hospital
    days_supply: int
    #: The prescription that it stands in for: the dosing is another.
    replaces: str | None = None
    before: FormBefore | None = None
    #: How many renewals may follow it, if the doctor allowed fewer than the rules do.
    refills_allowed: int | None = None
    doctor_id: str
    doctor_name: str | None = None  # absent: the hospital has not told it
    issued_at: str
    valid_on: date
    policy: str
    nonce: str

    def text(self) -> str:
        return canonical(self.model_dump(mode="json", exclude_none=True))


def canonical(content: Mapping[str, Any]) -> str:
    """RFC 8785 for what a form holds: ASCII keys, texts, whole numbers, lists and objects.

    Within these, sorted keys and no blanks are all there is to it. Texts stay as they are:
    the RFC forbids normalizing them (3.1).
    """
    return json.dumps(
        content, ensure_ascii=False, allow_nan=False, separators=(",", ":"), sort_keys=True
    )


def digest(text: str) -> str:
    """SHA-256 of a form's bytes in base64url: its verification code."""
    return urlsafe_b64encode(hashlib.sha256(text.encode()).digest()).rstrip(b"=").decode()


def made_out(
    refill: Refill,
    patient: FormPatient,
    *,
    doctor_id: str,
    doctor_name: str | None,
    at: datetime,
    valid_on: date,
    days_supply: int,
    policy: str,
    nonce: str,
) -> PrescriptionForm:
    """The form of ``refill`` with its changes, if ``doctor_id`` signs it ``at`` this time."""
    order, changes = refill.prescribed, refill.changes or Changes()
    return PrescriptionForm(
        hospital=refill.hospital,
        prescription_id=own_prescription(refill),
        version=len(refill.forms) + 1,
        refill_id=refill.id,
        based_on=refill.prescription_id,
        patient=patient,
        department=FormDepartment(code=order.department.code, name=order.department.name),
        diagnoses=order.diagnoses,
        medication=FormMedication(**order.medication.model_dump()),
        dosage=order.dosage,
        quantity=_quantity(order),
        days_supply=days_supply,
        replaces=refill.prescription_id if changes.replaces else None,
        before=_before(refill.order, changes),
        refills_allowed=changes.refills_allowed,
        doctor_id=doctor_id,
        doctor_name=doctor_name,
        issued_at=at.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z"),
        valid_on=valid_on,
        policy=policy,
        nonce=nonce,
    )


def _quantity(order: Order) -> FormQuantity | None:
    if order.quantity is None:
        return None
    return FormQuantity(value=decimal(order.quantity.value), unit=order.quantity.unit)


def _before(order: Order, changes: Changes) -> FormBefore | None:
    before = FormBefore(
        dosage=order.dosage if changes.dosage is not None else None,
        strength=order.medication.strength if changes.strength is not None else None,
        quantity=_quantity(order) if changes.quantity is not None else None,
        days_supply=order.days_supply if changes.days_supply is not None else None,
    )
    return before if before != FormBefore() else None


def nonce_of(text: str) -> str:
    return PrescriptionForm.model_validate_json(text).nonce


def own_prescription(refill: Refill) -> str:
    """The id of the prescription that the renewal becomes."""
    return derived_id("prescription", refill.hospital, refill.id)


def decimal(value: float) -> str:
    """``28.0`` as ``28``, ``0.5`` as ``0.5``, never with an exponent."""
    plain = format(Decimal(repr(value)), "f")
    return plain.rstrip("0").rstrip(".") if "." in plain else plain
