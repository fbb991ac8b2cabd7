"""What may a pharmacist do with a renewal that a doctor has signed?

Pass it, and only then does it take effect and count; return it to that same doctor; or
refuse it. Always another person than the doctor. A hospital's pharmacists review for
all of its departments.
"""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

from libs.common.decision import (
    Actor,
    Answer,
    Common,
    Env,
    Input,
    Refusal,
    State,
)
from libs.common.events import (
    RefillEffective,
    RefillPharmacistPassed,
    RefillPharmacistRefused,
    RefillPharmacistReturned,
)
from libs.common.events.base import Word
from services.prescriptions.domain.accounts import counted, given_back, used
from services.prescriptions.domain.case import Case
from services.prescriptions.domain.chart import Chart
from services.prescriptions.domain.doctor import Comment
from services.prescriptions.domain.documents import Action, Reason, Refill
from services.prescriptions.domain.facts import Deciding, Outcome
from services.prescriptions.domain.form import own_prescription
from services.prescriptions.domain.rules import PASSING, SENDING_BACK
from services.prescriptions.domain.signatures import Signs, taken
from services.prescriptions.domain.steps import moved, refused, which

ROLE = "pharmacist"

ACTIONS = {"pass": Action.PASS, "return": Action.RETURN, "refuse": Action.REJECT}


class PharmacistReview(BaseModel):
    """Pass, return to the doctor who signed, or refuse."""

    model_config = ConfigDict(frozen=True, extra="forbid", str_strip_whitespace=True)

    decision: Literal["pass", "return", "refuse"]
    reason: Word | None = Field(
        default=None, description="Needed unless it passes: dose, interaction, allergy, ..."
    )
    comment: Comment = Field(default=None, description="In words; stays in this service.")


class SignedReview(PharmacistReview, Signs):
    """The same with the pharmacist's signature, which it needs to pass."""


def may_see(refill: Refill, actor: Actor) -> bool:
    return actor.has(ROLE) and refill.signed_at is not None


def decide(input: Input, state: State, env: Env) -> Answer:
    review: PharmacistReview = input.data
    refill, actor = state.get(Refill, input.subject), input.actor
    if refill is None or actor is None or not may_see(refill, actor):
        return Refusal(Common.NOT_FOUND)
    case = Case.of(refill, state, env)
    action = ACTIONS[review.decision]
    if action is not Action.PASS and review.reason is None:
        return Refusal(Reason.REASON_MISSING)
    not_now = case.not_now(input, action)
    if not_now is not None:
        return not_now
    doctor = refill.doctor_id
    passes = action is Action.PASS
    deciding = Deciding(
        is_party=case.is_party(actor),
        has_signed=doctor is None or actor.person == doctor,
        days_supply=refill.days_supply or refill.order.days_supply,
    )
    chart = Chart.of(state, case.care)
    outcomes, no = case.judged(chart, deciding, PASSING if passes else SENDING_BACK)
    if no is not None or doctor is None:
        return no or refused(Reason.SEPARATION_OF_DUTIES, case.policy)
    days = refill.days_supply or refill.order.days_supply
    if days is None:
        return Refusal(Reason.DAYS_SUPPLY_MISSING)
    if passes:
        return _effective(case, actor, doctor, input, state, outcomes, days)
    return _sent_back(case, actor, doctor, review, action, outcomes)


def _effective(
    case: Case,
    actor: Actor,
    doctor: str,
    input: Input,
    state: State,
    outcomes: tuple[Outcome, ...],
    days: int,
) -> Answer:
    if not case.refill.forms:
        return Refusal(Reason.UNSIGNED_BY_DOCTOR)
    *before, form = case.refill.forms
    sign = taken(input, state, actor, ROLE, form.text)
    if isinstance(sign, Refusal):
        return sign
    both = form.model_copy(update={"signatures": (*form.signatures, sign.signature)})
    now = case.env.now
    number = used(case.account, case.care, case.refill.department_code) + 1
    own = own_prescription(case.refill)
    refill = moved(
        case.refill,
        Action.PASS,
        now,
        case.policy,
        by=actor,
        role=ROLE,
        comment=input.data.comment,
        outcomes=outcomes,
        pharmacist_id=actor.person,
        forms=(*before, both),
        effective_at=now,
        new_prescription_id=own,
        days_supply=days,
        number=number,
        remaining=case.policy.rules.limit.parameters.renewals - number,
    )
    passed = RefillPharmacistPassed(**which(refill), pharmacist_id=actor.person, reviewed_at=now)
    effective = RefillEffective(
        **which(refill),
        new_prescription_id=own,
        doctor_id=doctor,
        pharmacist_id=actor.person,
        days_supply=days,
        number=number,
        remaining=refill.remaining or 0,
        effective_at=now,
        valid_on=refill.valid_on,
    )
    account = counted(case.account, refill, own, now)
    return sign.beside(case.done(refill, account, passed, effective))


def _sent_back(
    case: Case,
    actor: Actor,
    doctor: str,
    review: PharmacistReview,
    action: Action,
    outcomes: tuple[Outcome, ...],
) -> Answer:
    now, reason = case.env.now, review.reason or ""
    refill = moved(
        case.refill,
        action,
        now,
        case.policy,
        by=actor,
        role=ROLE,
        reason=reason,
        comment=review.comment,
        outcomes=outcomes,
        pharmacist_id=actor.person,
    )
    if action is Action.RETURN:
        returned = RefillPharmacistReturned(
            **which(refill),
            pharmacist_id=actor.person,
            reviewed_at=now,
            doctor_id=doctor,
            reason=reason,
        )
        return case.done(refill, case.account, returned)
    rejected = RefillPharmacistRefused(
        **which(refill), pharmacist_id=actor.person, reviewed_at=now, reason=reason
    )
    return case.done(refill, given_back(case.account, refill.id), rejected)
