"""What do people see of a renewal and of a prescription that may be renewed?"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import date, datetime
from typing import Any

from pydantic import BaseModel, ConfigDict, Field

from libs.common.events import Department, Medication, Quantity
from services.prescriptions.domain.accounts import used
from services.prescriptions.domain.chart import Chart, gather
from services.prescriptions.domain.documents import (
    Action,
    PatientCare,
    Prescription,
    Reason,
    Refill,
    RenewalAccount,
    Status,
    Step,
)
from services.prescriptions.domain.facts import Outcome, Verdict
from services.prescriptions.domain.parameters import Language
from services.prescriptions.domain.policy import Audience, RenewalPolicies, RenewalPolicy
from services.prescriptions.domain.rules import LISTING, evaluate, refusal


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


class OutcomeView(View):
    """What one rule said at a step, in words, and where it stands."""

    rule: str
    verdict: Verdict
    figures: Mapping[str, Any] = Field(description="What it looked at.")
    kind: str | None = Field(description="`law` or `hospital_policy`.")
    text: str | None = Field(description="For staff what the rule asks, for the patient its no.")
    source: tuple[str, ...] = Field(description="Where it stands.")
    in_force_from: date | None


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
    outcomes: tuple[OutcomeView, ...] = Field(
        description="What each rule said: all of them to staff, a no to the patient's side."
    )


class RefillView(Receipt):
    """One renewal. What is renewed is shown as it was when it was asked for."""

    requested_by: str
    requested_at: datetime
    note: str | None
    medication: Medication
    dosage: str
    quantity: Quantity | None = Field(description="Null: the hospital did not tell.")
    days_supply: int | None = Field(description="Null: the hospital did not tell.")
    approved_days_supply: int | None = Field(description="For how many days a doctor approved it.")
    patient_signature: str | None = Field(description="Where the signature for a long supply is.")
    declaration: Mapping[str, str] = Field(description="What the patient's side declared.")
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


@dataclass(frozen=True, slots=True)
class Reader:
    """For whom something is shown: in which words, and how much of it."""

    policies: RenewalPolicies
    language: Language
    audience: Audience


def refill_view(refill: Refill, reader: Reader) -> RefillView:
    order, facts = refill.order, refill.facts
    return RefillView.model_validate(
        {
            **refill.model_dump(exclude={"order", "history", "facts", "days_supply"}),
            **order.model_dump(
                include={"medication", "dosage", "quantity", "days_supply", "diagnoses",
                         "department", "prescriber_id"}
            ),
            "prescribed_at": order.issued_at,
            "approved_days_supply": refill.days_supply,
            "declaration": (facts.declaration if facts is not None else None) or {},
            "history": [_step_view(step, reader) for step in refill.history],
        }
    )  # fmt: skip


def _step_view(step: Step, reader: Reader) -> dict[str, Any]:
    shown = [
        _outcome_view(outcome, reader.policies.version(step.policy), reader)
        for outcome in step.outcomes
        if reader.audience == "staff" or outcome.verdict is Verdict.REFUSED
    ]
    return {**step.model_dump(exclude={"outcomes"}), "outcomes": shown}


def _outcome_view(outcome: Outcome, policy: RenewalPolicy | None, reader: Reader) -> OutcomeView:
    """In the words of the version that decided; without them if its file is gone."""
    rule = policy.rule(outcome.rule) if policy and outcome.rule in policy.order else None
    return OutcomeView(
        rule=outcome.rule,
        verdict=outcome.verdict,
        figures=outcome.figures,
        kind=rule.kind if rule else None,
        text=rule.words(reader.language, reader.audience) if rule else None,
        source=rule.source if rule else (),
        in_force_from=policy.in_force_from if policy else None,
    )


class QuestionView(View):
    """A question to be answered with yes or no."""

    id: str
    text: Mapping[str, str] = Field(description="By language.")


class Declared(View):
    """What the patient's side declares when it asks for a renewal."""

    policy: str = Field(description="The version of the rules.")
    questions: tuple[QuestionView, ...]

    @classmethod
    def of(cls, policy: RenewalPolicy) -> Declared:
        asked = policy.rules.declaration.parameters.questions
        return cls(
            policy=policy.version,
            questions=tuple(QuestionView.model_validate(q) for q in asked),
        )


class Renewable(View):
    """One prescription, whether it may be renewed now, and if not, why."""

    prescription_id: str
    medication: Medication
    dosage: str
    quantity: Quantity | None
    days_supply: int | None
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
    chart: Chart,
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
    facts = gather(
        prescription, order, care, account, chart, today=policy.day(now), oneself=oneself
    )
    reason = refusal(evaluate(facts, policy, now, LISTING), policy)
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
