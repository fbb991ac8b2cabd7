"""How does a renewal end that nobody decides on?

The patient's side takes it back or a deadline passes, and its place is given back; or once
it was in effect its days are over. What the hospital tells: see ``consequences``.
"""

from __future__ import annotations

from collections.abc import Iterator

from pydantic import BaseModel, ConfigDict, Field

from libs.common.decision import (
    Answer,
    Common,
    Decision,
    Emit,
    Env,
    Input,
    Need,
    Refusal,
    State,
)
from libs.common.events import RefillCancelled
from libs.common.events.base import Id, Word
from services.prescriptions.domain.accounts import given_back, settled
from services.prescriptions.domain.case import Case, needs_refill
from services.prescriptions.domain.documents import Refill
from services.prescriptions.domain.fulfilment import Fulfilment, used_up
from services.prescriptions.domain.persons import (
    may_act,
    persons,
    role_of,
)
from services.prescriptions.domain.steps import (
    deadline_timer,
    expired,
    lapsed,
    moved,
    overdue,
    which,
)
from services.prescriptions.domain.transitions import Action, Status


class CancelRefill(BaseModel):
    """Take a request back."""

    model_config = ConfigDict(frozen=True, extra="forbid", str_strip_whitespace=True)

    reason: Word | None = Field(default=None, description="Why, if the person says so.")


class RefillDeadline(BaseModel):
    """A deadline of this renewal has come."""

    model_config = ConfigDict(frozen=True)

    refill_id: Id


def decide_cancel(input: Input, state: State, env: Env) -> Answer:
    refill, actor = state.get(Refill, input.subject), input.actor
    if refill is None or actor is None:
        return Refusal(Common.NOT_FOUND)
    case = Case.of(refill, state, env)
    ids = persons(state, input.hospital, actor)
    if not may_act(case.care, ids, env.now, case.policy):
        return Refusal(Common.NOT_FOUND)
    not_now = case.not_now(input, Action.CANCEL)
    if not_now is not None:
        return not_now
    reason = input.data.reason
    over = moved(
        refill,
        Action.CANCEL,
        env,
        case.policy,
        by=actor,
        role=role_of(case.care, ids),
        reason=reason,
    )
    fact = RefillCancelled(
        **which(over), cancelled_by=actor.person, cancelled_at=env.now, reason=reason
    )
    return case.done(over, given_back(case.account, refill.id), fact)


def needs_deadline(input: Input, state: State) -> Iterator[Need]:
    yield from needs_refill(state, input.hospital, input.data.refill_id)
    yield Need(Fulfilment, "refill_id", input.data.refill_id)


def decide_deadline(input: Input, state: State, env: Env) -> Answer:
    refill = state.get(Refill, input.data.refill_id)
    now = max(env.now, input.time)
    if refill is None:
        return Decision(note="not_due")
    case = Case.of(refill, state, env)
    over, account, events = refill, case.account, list[Emit]()
    if overdue(refill, now):
        if refill.status is not Status.EFFECTIVE:
            over, account, events = expired(refill, account, env, case.policy)
        elif case.policy.rules.validity.parameters.pharmacies_report:
            over, account, events = lapsed(refill, account, env, case.policy)
        else:  # whether it was dispensed is not known
            over = refill.but(deadline=None)
    later = []
    if over.id in account.watched:
        until = used_up(over, state.where(Fulfilment, "refill_id", over.id), case.policy)
        if now < until:
            later = [deadline_timer(over, until)]
        elif over.status is not Status.DISPENSED:  # what lies ready is not used up
            account = settled(account, over.id)
    if (over, account) == (refill, case.account):
        return Decision(timers=later, note="not_due")
    return Decision(
        changes=(over, account, *case.taken_in), events=events, timers=later, note=over.status
    )
