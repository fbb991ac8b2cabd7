"""What may a doctor do with a renewal?

A doctor of the treating department, or the prescriber, approves and signs it, as it is,
with changes or replaced by another dosing; or ends it. What comes back, from a pharmacist
or by something that was told, goes to the doctor who signed it and to nobody else, as long
as they work here.
"""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

from libs.common.decision import Actor, Answer, Common, Env, Input, Refusal, State
from libs.common.events import (
    Quantity,
    RefillDoctorDeclined,
    RefillVisitNeeded,
    Sensitive,
)
from libs.common.events.base import Id, Line, Word
from services.prescriptions.domain.accounts import given_back
from services.prescriptions.domain.approval import SIGNED, approved, may_follow
from services.prescriptions.domain.case import Case
from services.prescriptions.domain.changing import answered, foreign
from services.prescriptions.domain.chart import Chart
from services.prescriptions.domain.checks import Checks, ClinicalChecks, Reasons
from services.prescriptions.domain.documents import Changes, Refill
from services.prescriptions.domain.facts import Deciding, Outcome
from services.prescriptions.domain.health import Practitioner
from services.prescriptions.domain.parameters import RENEWALS_KEPT
from services.prescriptions.domain.rules import APPROVING, DECLINING, REPLACING
from services.prescriptions.domain.saying import Comment, said_why
from services.prescriptions.domain.signatures import SIGNATORIES, Signs
from services.prescriptions.domain.steps import moved, which
from services.prescriptions.domain.transitions import Action

ROLE = SIGNATORIES[0]

ACTIONS = {
    "approve": Action.APPROVE,
    "change": Action.CHANGE,
    "replace": Action.REPLACE,
    "decline": Action.DECLINE,
    "visit_needed": Action.NEED_VISIT,
}


class DoctorDecision(BaseModel):
    """Approve and sign, as it is, with changes or replaced; decline; or ask for a visit."""

    model_config = ConfigDict(frozen=True, extra="forbid", str_strip_whitespace=True)

    decision: Literal["approve", "change", "replace", "decline", "visit_needed"] = Field(
        description="`change`: another `quantity` or fewer renewals after it. `replace`: another "
        "`dosage`, which is a new prescription."
    )
    reason: Word | None = Field(
        default=None,
        description="To decline or to ask for a visit: a code of `GET /v1/answer-reasons`.",
    )
    comment: Comment = Field(
        default=None,
        description="In words, in the history: the patient's side reads it, too. In no event.",
    )
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
        description="For how many days; needed where the prescription does not say, and with "
        "`replace`. With `change` it follows from the quantity.",
    )
    quantity: Quantity | None = Field(
        default=None, description="`change`, `replace`: how much instead."
    )
    refills_allowed: int | None = Field(
        default=None,
        ge=0,
        le=RENEWALS_KEPT,
        description="`change`, `replace`: so many renewals after this one until the next visit in "
        "person, if fewer than the rules allow.",
    )
    dosage: Sensitive[Annotated[str, Field(min_length=1, max_length=1000)] | None] = Field(
        default=None, description="`replace`: how it is taken from now on."
    )
    strength: Line | None = Field(default=None, description="`replace`: the other strength.")
    assessed: bool = Field(
        default=False, description="The condition was assessed strictly, as a long supply needs."
    )
    patient_signature: Id | None = Field(
        default=None,
        description="Where the patient's signature for a long supply is kept, if it is on paper.",
    )
    acknowledged: Reasons = {}

    @property
    def asked(self) -> Changes:
        """What it says of the prescription."""
        return Changes(**{name: getattr(self, name) for name in Changes.model_fields})


class SignedDecision(DoctorDecision, Signs, Checks):
    """The same with the checks and the doctor's signature, which an approval needs."""


def may_see(refill: Refill, actor: Actor) -> bool:
    theirs = refill.department_code in actor.departments
    return actor.has(ROLE) and (theirs or refill.order.prescriber_id == actor.person)


def decide(input: Input, state: State, env: Env) -> Answer:
    decision: DoctorDecision = input.data
    refill, actor = state.get(Refill, input.subject), input.actor
    if refill is None or actor is None or not may_see(refill, actor):
        return Refusal(Common.NOT_FOUND)
    case = Case.of(refill, state, env)
    action = ACTIONS[decision.decision]
    signs = action in SIGNED
    no = (
        said_why(case.policy, decision.decision, decision.reason, decision.comment)
        or foreign(action, decision.asked)
        or case.not_now(input, action)
    )
    if no is not None:
        return no
    most = max(0, may_follow(case) - 1)
    answer = answered(action, decision.asked, refill.order, most) if signs else None
    if isinstance(answer, Refusal):
        return answer
    valid_days = decision.valid_days or case.policy.rules.validity.parameters.usual_days
    practitioner = state.get(Practitioner, actor.person)
    deciding = Deciding(
        is_party=case.is_party(actor),
        has_left=practitioner is not None and practitioner.has_left(env.now),
        is_anothers=refill.bound_to not in (None, actor.person),
        valid_days=valid_days,
        days_supply=answer.days_supply if answer is not None else refill.order.days_supply,
        noted=decision.comment is not None,
        assessed=decision.assessed,
        patient_signed=decision.patient_signature is not None or bool(refill.consents),
        practising_since=practitioner.practising_since if practitioner is not None else None,
        replaces=action is Action.REPLACE,
        acknowledged=tuple(decision.acknowledged),
    )
    rules = APPROVING if signs else DECLINING
    if deciding.replaces:
        rules |= REPLACING
    chart = Chart.of(state, case.care)
    if answer is None:
        outcomes, no = case.judged(state, chart, deciding, rules)
        return no or _ended(case, actor, action, decision, outcomes)
    order = (answer.changes or Changes()).of(refill.order)
    found = case.checked(input, state, chart, order, answer.days_supply)
    checks = found if isinstance(found, ClinicalChecks) else None
    outcomes, no = case.judged(state, chart, deciding, rules, checks)
    if no is not None:
        return no
    if isinstance(found, Refusal):
        return found
    return approved(case, actor, action, input, state, outcomes, found, valid_days, answer)


def _ended(
    case: Case,
    actor: Actor,
    action: Action,
    decision: DoctorDecision,
    outcomes: tuple[Outcome, ...],
) -> Answer:
    refill = moved(
        case.refill,
        action,
        case.env,
        case.policy,
        by=actor,
        role=ROLE,
        reason=decision.reason,
        comment=decision.comment,
        outcomes=outcomes,
        doctor_id=actor.person,
    )
    told = RefillDoctorDeclined if action is Action.DECLINE else RefillVisitNeeded
    fact = told(
        **which(refill),
        doctor_id=actor.person,
        decided_at=case.env.now,
        reason=decision.reason or "",
    )
    return case.done(refill, given_back(case.account, refill.id), fact)
