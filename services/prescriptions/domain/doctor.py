"""What may a doctor do with a renewal?

A doctor of the treating department, or the prescriber, approves and signs it or declines.
What a pharmacist has returned goes to the doctor who signed it and to nobody else.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

from libs.common.decision import Actor, Answer, Common, Env, Input, Need, Refusal, State
from libs.common.events import RefillDoctorApproved, RefillDoctorDeclined, Sensitive
from libs.common.events.base import Word
from services.prescriptions.domain.accounts import given_back
from services.prescriptions.domain.case import Case, needs_refill
from services.prescriptions.domain.documents import Action, Reason, Refill, Status
from services.prescriptions.domain.steps import moved, refused, which

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


def may_see(refill: Refill, actor: Actor) -> bool:
    theirs = refill.department_code in actor.departments
    return actor.has(ROLE) and (theirs or refill.order.prescriber_id == actor.person)


def needs_decision(input: Input, state: State) -> Iterator[Need]:
    return needs_refill(state, input.hospital, input.subject)


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
    if refill.status is Status.RETURNED and actor.person != refill.doctor_id:
        return refused(Reason.NOT_THE_SIGNING_DOCTOR, case.policy)
    if case.is_party(actor):
        return refused(Reason.SEPARATION_OF_DUTIES, case.policy)
    if action is Action.DECLINE:
        return _declined(case, actor, decision, decision.reason)
    validity = case.policy.rules.validity.parameters
    if (decision.valid_days or 1) > validity.maximum_days:
        return refused(Reason.VALIDITY_TOO_LONG, case.policy)
    return case.no_longer() or _approved(
        case, actor, decision, decision.valid_days or validity.usual_days
    )


def _declined(case: Case, actor: Actor, decision: DoctorDecision, reason: str | None) -> Answer:
    refill = moved(
        case.refill,
        Action.DECLINE,
        case.env.now,
        case.policy,
        by=actor,
        role=ROLE,
        reason=decision.reason,
        comment=decision.comment,
        doctor_id=actor.person,
    )
    fact = RefillDoctorDeclined(
        **which(refill),
        doctor_id=actor.person,
        decided_at=case.env.now,
        reason=decision.reason or "",
    )
    return case.done(refill, given_back(case.account, refill.id), fact)


def _approved(case: Case, actor: Actor, decision: DoctorDecision, valid_days: int) -> Answer:
    refill = moved(
        case.refill,
        Action.APPROVE,
        case.env.now,
        case.policy,
        by=actor,
        role=ROLE,
        reason=decision.reason,
        comment=decision.comment,
        doctor_id=actor.person,
        signed_at=case.env.now,
        valid_on=case.policy.day(case.env.now) + timedelta(days=valid_days - 1),
        pharmacist_id=None,
    )
    fact = RefillDoctorApproved(
        **which(refill),
        doctor_id=actor.person,
        decided_at=case.env.now,
        days_supply=refill.order.days_supply,
    )
    return case.done(refill, case.account, fact)
