"""What do people see of a renewal and of a prescription that may be renewed?"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import date, datetime
from typing import Any

from pydantic import BaseModel, ConfigDict, Field

from libs.common.events import Department, Medication, Quantity
from services.prescriptions.domain.accounts import used
from services.prescriptions.domain.documents import (
    Action,
    PatientCare,
    Prescription,
    Reason,
    Refill,
    RenewalAccount,
    Status,
)
from services.prescriptions.domain.eligibility import why_not
from services.prescriptions.domain.policy import RenewalPolicy


class View(BaseModel):
    model_config = ConfigDict(frozen=True, from_attributes=True)


class Receipt(View):
    """Where a renewal stands, without what it is about. ``version`` is its ``ETag``."""

    id: str
    patient_id: str
    prescription_id: str
    status: Status
    reason: str | None = Field(description="Why the last step was taken, if it said no.")
    number: int | None = Field(description="It is this renewal since the last visit in person.")
    remaining: int | None = Field(description="Renewals left after it, until the next visit.")
    deadline: datetime | None = Field(description="Decided by then, or it expires.")
    valid_on: date | None = Field(description="The last day on which it may be dispensed.")
    new_prescription_id: str | None = Field(description="The renewal's own prescription.")
    version: int


def receipt(refill: Refill) -> dict[str, Any]:
    """The answer to the command that leaves ``refill``, which is yet to be saved."""
    saved: Refill = refill.but(version=refill.version + 1)
    return Receipt.model_validate(saved).model_dump(mode="json")


class StepView(View):
    """One entry of the history; without a person it was a rule or a deadline."""

    at: datetime
    action: Action
    from_status: Status | None
    to_status: Status
    person_id: str | None
    role: str
    reason: str | None
    comment: str | None
    policy: str


class RefillView(Receipt):
    """One renewal. What is renewed is shown as it was when it was asked for."""

    requested_by: str
    requested_at: datetime
    note: str | None
    medication: Medication
    dosage: str
    quantity: Quantity
    days_supply: int
    diagnoses: tuple[str, ...]
    department: Department
    prescriber_id: str
    prescribed_at: datetime
    waiting_since: datetime | None
    doctor_id: str | None
    signed_at: datetime | None
    pharmacist_id: str | None
    effective_at: datetime | None
    history: tuple[StepView, ...]


def refill_view(refill: Refill) -> RefillView:
    order = refill.order
    return RefillView.model_validate(
        {
            **refill.model_dump(exclude={"order"}),
            **order.model_dump(
                include={"medication", "dosage", "quantity", "days_supply", "diagnoses",
                         "department", "prescriber_id"}
            ),
            "prescribed_at": order.issued_at,
        }
    )  # fmt: skip


class Renewable(View):
    """One prescription, whether it may be renewed now, and if not, why."""

    prescription_id: str
    medication: Medication
    dosage: str
    quantity: Quantity
    days_supply: int
    department: Department
    issued_at: datetime
    renewable: bool
    reason: str | None
    explanation: str | None = Field(description="The reason in words.")
    renewals_used: int = Field(description="Since the last visit in person.")
    renewals_left: int
    open_refill_id: str | None = Field(description="The renewal that is under way.")
    policy: str = Field(description="The version of the rules.")


def renewable(
    prescription: Prescription,
    care: PatientCare,
    accounts: Mapping[str, RenewalAccount],
    now: datetime,
    policy: RenewalPolicy,
    *,
    oneself: bool,
    explain: Callable[[Reason], str | None],
) -> Renewable:
    order = prescription.order
    if order is None:
        raise ValueError("without an order there is nothing to renew")
    account = accounts[order.medication.ingredient_code]
    reason: Reason | None = why_not(
        prescription, order, care, account, now, policy, oneself=oneself
    )
    count = used(account, care, order.department.code)
    return Renewable(
        prescription_id=prescription.id,
        medication=order.medication,
        dosage=order.dosage,
        quantity=order.quantity,
        days_supply=order.days_supply,
        department=order.department,
        issued_at=order.issued_at,
        renewable=reason is None,
        reason=reason,
        explanation=explain(reason) if reason is not None else None,
        renewals_used=count,
        renewals_left=max(0, policy.rules.limit.parameters.renewals - count - len(account.open)),
        open_refill_id=account.open[0] if account.open else None,
        policy=policy.version,
    )
