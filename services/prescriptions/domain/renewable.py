"""What may be renewed, and what is asked of whom, before anybody acts?"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime

from pydantic import Field

from libs.common.events import Department, Medication, Quantity
from services.prescriptions.domain.accounts import left, used
from services.prescriptions.domain.chart import Chart, gather
from services.prescriptions.domain.documents import PatientCare, Prescription, RenewalAccount
from services.prescriptions.domain.instead import Instead, instead
from services.prescriptions.domain.parameters import Language
from services.prescriptions.domain.policy import RenewalPolicy
from services.prescriptions.domain.receipt import View
from services.prescriptions.domain.rules import LISTING, evaluate, refusal


class QuestionView(View):
    """A question to be answered with yes or no."""

    id: str
    text: Mapping[str, str] = Field(description="By language.")


class AnswerReason(View):
    """A reason that a doctor or pharmacist may give."""

    code: str
    answers: tuple[str, ...] = Field(description="`decline`, `visit_needed`, `return`, `refuse`.")
    needs_comment: bool
    text: Mapping[str, str] = Field(description="For the patient, by language.")


class AnswerReasons(View):
    """All reasons to say no, in the order in which to show them."""

    policy: str = Field(description="The version of the rules.")
    reasons: tuple[AnswerReason, ...]

    @classmethod
    def of(cls, policy: RenewalPolicy) -> AnswerReasons:
        return cls(
            policy=policy.version,
            reasons=tuple(
                AnswerReason(
                    code=name,
                    answers=tuple(sorted(code.of)),
                    needs_comment=code.needs_comment,
                    text=code.text,
                )
                for name, code in policy.answers.codes.items()
            ),
        )


class LongSupplyView(View):
    """What is signed by `POST /v1/refills/{id}/consent`."""

    days: int = Field(description="For a supply of more days than these.")
    text: Mapping[str, str] = Field(description="By language.")


class Declared(View):
    """What the patient's side declares when it asks for a renewal."""

    policy: str = Field(description="The version of the rules.")
    questions: tuple[QuestionView, ...]
    long_supply: LongSupplyView

    @classmethod
    def of(cls, policy: RenewalPolicy) -> Declared:
        asked = policy.rules.declaration.parameters.questions
        long = policy.rules.long_supply.parameters
        return cls(
            policy=policy.version,
            questions=tuple(QuestionView.model_validate(q) for q in asked),
            long_supply=LongSupplyView(
                days=long.days, text={each: long.shown(each) for each in long.consent}
            ),
        )


class MyPatient(View):
    """A patient whom the caller is or may act for."""

    patient_id: str = Field(description="For `patient_id` of the other routes.")
    oneself: bool
    name: str | None = Field(description="Null: the hospital has not sent the record yet.")


def my_patient(care: PatientCare, *, oneself: bool) -> MyPatient:
    return MyPatient(patient_id=care.id, oneself=oneself, name=care.name)


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
    instead: Instead | None = Field(description="If it may not be renewed now, what to do.")
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
    language: Language,
) -> Renewable:
    order = prescription.order
    if order is None:
        raise ValueError("without an order there is nothing to renew")
    account = accounts[order.medication.ingredient_code]
    facts = gather(
        prescription, order, care, account, chart, now=now, policy=policy, oneself=oneself
    )
    reason = refusal(evaluate(facts, policy, now, LISTING), policy)
    count = used(account, care, order.department.code)
    more = left(account, care, order.department.code, policy.rules.limit.parameters.renewals)
    open_refill = account.open[0] if account.open else None
    next_step = None
    if reason is not None:
        next_step = instead(reason, facts, order.department, open_refill, now, policy)
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
        explanation=policy.words(reason, language) if reason is not None else None,
        instead=next_step.told(language) if next_step is not None else None,
        renewals_used=count,
        renewals_left=max(0, more - len(account.open)),
        open_refill_id=open_refill,
        policy=policy.version,
    )
