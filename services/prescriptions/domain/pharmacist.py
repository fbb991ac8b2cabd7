"""What may a pharmacist do with a renewal that a doctor has signed?

Pass it, and only then does it take effect and count; return it to that same doctor; or
refuse it. Always another person than the doctor. A hospital's pharmacists review for
all of its departments.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

from libs.common.decision import (
    Actor,
    Answer,
    Common,
    Document,
    Emit,
    Env,
    Input,
    Need,
    Refusal,
    State,
    by_id,
)
from libs.common.events import (
    RefillEffective,
    RefillPharmacistPassed,
    RefillPharmacistRefused,
    RefillPharmacistReturned,
)
from libs.common.events.base import Word
from services.prescriptions.domain.accounts import (
    all_accounts,
    codes_of,
    counted,
    given_back,
    left,
    used,
)
from services.prescriptions.domain.case import Case, needs_decided
from services.prescriptions.domain.changing import unsaid
from services.prescriptions.domain.chart import Chart
from services.prescriptions.domain.checking import acknowledgements
from services.prescriptions.domain.checks import Checks, ClinicalChecks, Reasons
from services.prescriptions.domain.choosing import reminders
from services.prescriptions.domain.consequences import outdated
from services.prescriptions.domain.documents import Changes, Refill
from services.prescriptions.domain.facts import Deciding, Outcome
from services.prescriptions.domain.following import caught_up, needs_dispensed
from services.prescriptions.domain.form import own_prescription
from services.prescriptions.domain.health import Practitioner
from services.prescriptions.domain.persons import patient
from services.prescriptions.domain.reasons import Reason
from services.prescriptions.domain.rules import PASSING, REPLACING, SENDING_BACK
from services.prescriptions.domain.saying import Comment, said_why
from services.prescriptions.domain.signatures import Signs, taken
from services.prescriptions.domain.steps import moved, pharmacy_of, refused, which
from services.prescriptions.domain.transitions import Action

ROLE = "pharmacist"

ACTIONS = {"pass": Action.PASS, "return": Action.RETURN, "refuse": Action.REJECT}


class PharmacistReview(BaseModel):
    """Pass, return to the doctor who signed, or refuse."""

    model_config = ConfigDict(frozen=True, extra="forbid", str_strip_whitespace=True)

    decision: Literal["pass", "return", "refuse"]
    reason: Word | None = Field(
        default=None,
        description="Needed unless it passes: a code of `GET /v1/answer-reasons`.",
    )
    comment: Comment = Field(
        default=None,
        description="In words, in the history: the patient's side reads it, too. In no event.",
    )
    acknowledged: Reasons = {}


class SignedReview(PharmacistReview, Signs, Checks):
    """The same with the checks and the pharmacist's signature, which it needs to pass."""


def needs(input: Input, state: State) -> Iterator[Need]:
    yield from needs_decided(input, state)
    refill = state.get(Refill, input.subject)
    if refill is None:
        return
    yield from needs_dispensed(own_prescription(refill), refill.id)
    if (refill.changes or Changes()).replaces:
        care = patient(state, input.hospital, refill.patient_id)
        for account in all_accounts(state, care):
            if account.ingredient_code in codes_of(care, refill.ingredient_code):
                yield from by_id(Refill, *account.watched)


def may_see(refill: Refill, actor: Actor) -> bool:
    return actor.has(ROLE) and refill.signed_at is not None


def decide(input: Input, state: State, env: Env) -> Answer:
    review: PharmacistReview = input.data
    refill, actor = state.get(Refill, input.subject), input.actor
    if refill is None or actor is None or not may_see(refill, actor):
        return Refusal(Common.NOT_FOUND)
    case = Case.of(refill, state, env)
    action = ACTIONS[review.decision]
    no = said_why(case.policy, review.decision, review.reason, review.comment)
    no = no or case.not_now(input, action)
    if no is not None:
        return no
    doctor = refill.doctor_id
    passes = action is Action.PASS
    days = refill.days_supply or refill.order.days_supply
    practitioner = state.get(Practitioner, actor.person)
    deciding = Deciding(
        is_party=case.is_party(actor),
        has_left=practitioner is not None and practitioner.has_left(env.now),
        has_signed=doctor is None or actor.person == doctor,
        days_supply=days,
        replaces=(refill.changes or Changes()).replaces,
        acknowledged=tuple(review.acknowledged),
    )
    chart = Chart.of(state, case.care)
    found = case.checked(input, state, chart, refill.prescribed, days) if passes else None
    checks = found if isinstance(found, ClinicalChecks) else None
    passing = PASSING | REPLACING if deciding.replaces else PASSING
    outcomes, no = case.judged(state, chart, deciding, passing if passes else SENDING_BACK, checks)
    if no is not None or doctor is None:
        return no or refused(Reason.SEPARATION_OF_DUTIES, case.policy)
    if days is None:
        return Refusal(Reason.DAYS_SUPPLY_MISSING)
    missing = unsaid(refill.prescribed) if passes else None
    if missing is not None:
        return missing
    if isinstance(found, Refusal):
        return found
    if checks is not None:
        return _effective(case, actor, doctor, input, state, outcomes, checks, days)
    return _sent_back(case, actor, doctor, review, action, outcomes)


def _effective(
    case: Case,
    actor: Actor,
    doctor: str,
    input: Input,
    state: State,
    outcomes: tuple[Outcome, ...],
    checks: ClinicalChecks,
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
    account, outdone, told_of_them = case.account, list[Document](), list[Emit]()
    if (case.refill.changes or Changes()).replaces:
        account, outdone, told_of_them = outdated(state, case.care, account, case.env, case.policy)
    account = counted(account, case.refill, own, now, days)
    limit = case.policy.rules.limit.parameters.renewals
    refill = moved(
        case.refill,
        Action.PASS,
        case.env,
        case.policy,
        by=actor,
        role=ROLE,
        comment=input.data.comment,
        outcomes=outcomes,
        checks=checks,
        acknowledged=acknowledgements(input.data.acknowledged, checks),
        pharmacist_id=actor.person,
        forms=(*before, both),
        effective_at=now,
        new_prescription_id=own,
        days_supply=days,
        number=number,
        remaining=left(account, case.care, case.refill.department_code, limit),
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
        method=refill.fulfilment.method if refill.fulfilment is not None else None,
        pharmacy_id=pharmacy_of(refill),
    )
    done = case.done(refill, account, passed, effective)
    done = replace(
        done,
        changes=(*done.changes, *outdone),
        events=(*done.events, *told_of_them),
        timers=(*done.timers, *reminders(refill, case.env, case.policy)),
    )
    done = caught_up(done, refill, own, case.care, state, case.env, takes_effect=True)
    return sign.beside(done)


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
        case.env,
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
