"""What may a doctor do with a renewal?

A doctor of the treating department, or the prescriber, approves and signs it or declines.
What a pharmacist has returned goes to the doctor who signed it and to nobody else.
"""

from __future__ import annotations

from datetime import timedelta
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

from libs.common.decision import Actor, Answer, Common, Env, Input, Refusal, State
from libs.common.events import Gender, RefillDoctorApproved, RefillDoctorDeclined, Sensitive
from libs.common.events.base import Id, Word
from services.prescriptions.domain.accounts import given_back
from services.prescriptions.domain.case import Case
from services.prescriptions.domain.chart import Chart
from services.prescriptions.domain.documents import Action, Reason, Refill, SignedForm, Status
from services.prescriptions.domain.facts import Deciding, Outcome
from services.prescriptions.domain.form import FormPatient, digest, made_out, nonce_of
from services.prescriptions.domain.health import Practitioner
from services.prescriptions.domain.rules import APPROVING, DECLINING
from services.prescriptions.domain.signatures import Signs, signed_with, taken
from services.prescriptions.domain.steps import moved, which

ROLE = "doctor"

#: Words that stay in this service.
Comment = Sensitive[Annotated[str, Field(min_length=1, max_length=1000)] | None]


class DoctorDecision(BaseModel):
    """Approve and sign, or decline."""

    model_config = ConfigDict(frozen=True, extra="forbid", str_strip_whitespace=True)

    decision: Literal["approve", "decline"]
    reason: Word | None = Field(
        default=None, description="Needed to decline: visit_needed, condition_changed, ..."
    )
    comment: Comment = Field(default=None, description="In words; stays in this service.")
    valid_days: int | None = Field(
        default=None,
        ge=1,
        le=366,
        description="Days on which it may be dispensed; the policy's usual number if absent.",
    )
    days_supply: int | None = Field(
        default=None,
        ge=1,
        le=366,
        description="For how many days; needed where the prescription does not say.",
    )
    assessed: bool = Field(
        default=False, description="The condition was assessed strictly, as a long supply needs."
    )
    patient_signature: Id | None = Field(
        default=None, description="Where the patient's signature for a long supply is kept."
    )


class SignedDecision(DoctorDecision, Signs):
    """The same with the doctor's signature, which an approval needs."""


def may_see(refill: Refill, actor: Actor) -> bool:
    theirs = refill.department_code in actor.departments
    return actor.has(ROLE) and (theirs or refill.order.prescriber_id == actor.person)


def decide(input: Input, state: State, env: Env) -> Answer:
    decision: DoctorDecision = input.data
    refill, actor = state.get(Refill, input.subject), input.actor
    if refill is None or actor is None or not may_see(refill, actor):
        return Refusal(Common.NOT_FOUND)
    case = Case.of(refill, state, env)
    action = Action(decision.decision)
    if action is Action.DECLINE and decision.reason is None:
        return Refusal(Reason.REASON_MISSING)
    not_now = case.not_now(input, action)
    if not_now is not None:
        return not_now
    approves = action is Action.APPROVE
    told, given = refill.order.days_supply, decision.days_supply
    if approves and told is None and given is None:
        return Refusal(Reason.DAYS_SUPPLY_MISSING)
    if approves and told is not None and given not in (None, told):
        return Refusal(Reason.DAYS_SUPPLY_FIXED, extra={"days_supply": told})
    days = told or given
    valid_days = decision.valid_days or case.policy.rules.validity.parameters.usual_days
    practitioner = state.get(Practitioner, actor.person)
    deciding = Deciding(
        is_party=case.is_party(actor),
        is_anothers=refill.status is Status.RETURNED and actor.person != refill.doctor_id,
        valid_days=valid_days,
        days_supply=days,
        noted=decision.comment is not None,
        assessed=decision.assessed,
        patient_signed=decision.patient_signature is not None,
        practising_since=practitioner.practising_since if practitioner is not None else None,
    )
    chart = Chart.of(state, case.care)
    outcomes, no = case.judged(chart, deciding, APPROVING if approves else DECLINING)
    if no is not None:
        return no
    if not approves or days is None:
        return _declined(case, actor, decision, outcomes)
    return _approved(case, actor, input, state, outcomes, valid_days, days)


def _declined(
    case: Case, actor: Actor, decision: DoctorDecision, outcomes: tuple[Outcome, ...]
) -> Answer:
    refill = moved(
        case.refill,
        Action.DECLINE,
        case.env.now,
        case.policy,
        by=actor,
        role=ROLE,
        reason=decision.reason,
        comment=decision.comment,
        outcomes=outcomes,
        doctor_id=actor.person,
    )
    fact = RefillDoctorDeclined(
        **which(refill),
        doctor_id=actor.person,
        decided_at=case.env.now,
        reason=decision.reason or "",
    )
    return case.done(refill, given_back(case.account, refill.id), fact)


def _approved(
    case: Case,
    actor: Actor,
    input: Input,
    state: State,
    outcomes: tuple[Outcome, ...],
    valid_days: int,
    days: int,
) -> Answer:
    decision: DoctorDecision = input.data
    care, policy, at = case.care, case.policy, input.time
    if care.name is None or care.birth_date is None:
        return Refusal(Reason.RECORD_MISSING)
    if policy.day(at) != policy.day(case.env.now):
        return Refusal(Common.CHANGED)  # signed before midnight; its dates would be wrong
    signed = signed_with(input)
    valid_on = policy.day(at) + timedelta(days=valid_days - 1)
    text = made_out(
        case.refill,
        FormPatient(
            id=care.id,
            name=care.name,
            gender=care.gender or Gender.UNKNOWN,
            birth_date=care.birth_date,
        ),
        doctor_id=actor.person,
        at=at,
        valid_on=valid_on,
        days_supply=days,
        policy=policy.version,
        nonce=case.env.secret() if signed is None else nonce_of(signed.text),
    ).text()
    sign = taken(input, state, actor, ROLE, text)
    if isinstance(sign, Refusal):
        return sign
    form = SignedForm(text=text, digest=digest(text), signatures=(sign.signature,))
    refill = moved(
        case.refill,
        Action.APPROVE,
        case.env.now,
        case.policy,
        by=actor,
        role=ROLE,
        reason=decision.reason,
        comment=decision.comment,
        outcomes=outcomes,
        doctor_id=actor.person,
        signed_at=at,
        valid_on=valid_on,
        days_supply=days,
        patient_signature=decision.patient_signature,
        pharmacist_id=None,
        forms=(*case.refill.forms, form),
    )
    fact = RefillDoctorApproved(
        **which(refill),
        doctor_id=actor.person,
        decided_at=case.env.now,
        days_supply=days,
    )
    return sign.beside(case.done(refill, case.account, fact))
