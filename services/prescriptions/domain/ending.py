"""How does a renewal end that nobody decides on?

The patient's side takes it back, a deadline passes, or the hospital tells that the
prescription was stopped or the patient has died. Its place is always given back.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from pydantic import BaseModel, ConfigDict, Field

from libs.common.decision import (
    Answer,
    Common,
    Decision,
    Document,
    Emit,
    Env,
    Input,
    Need,
    Refusal,
    State,
    by_id,
)
from libs.common.events import RefillCancelled
from libs.common.events.base import Id, Word
from services.prescriptions.domain.accounts import given_back
from services.prescriptions.domain.case import Case, needs_refill
from services.prescriptions.domain.documents import STAGE, Action, Reason, Refill, RenewalAccount
from services.prescriptions.domain.persons import (
    ids_of,
    is_patient,
    may_act,
    needs_patient,
    patient,
    persons,
)
from services.prescriptions.domain.policy import RenewalPolicy
from services.prescriptions.domain.steps import closed, expired, moved, overdue, which


class CancelRefill(BaseModel):
    """Take a request back."""

    model_config = ConfigDict(frozen=True, extra="forbid", str_strip_whitespace=True)

    reason: Word | None = Field(default=None, description="Why, if the person says so.")


class RefillDeadline(BaseModel):
    """A deadline of this renewal has come."""

    model_config = ConfigDict(frozen=True)

    refill_id: Id


def needs_cancel(input: Input, state: State) -> Iterator[Need]:
    if input.actor is not None:
        yield from needs_patient(state, input.actor.person)
    yield from needs_refill(state, input.hospital, input.subject)


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
        env.now,
        case.policy,
        by=actor,
        role="patient" if is_patient(case.care, ids) else "guardian",
        reason=reason,
    )
    fact = RefillCancelled(
        **which(over), cancelled_by=actor.person, cancelled_at=env.now, reason=reason
    )
    return case.done(over, given_back(case.account, refill.id), fact)


def needs_deadline(input: Input, state: State) -> Iterator[Need]:
    return needs_refill(state, input.hospital, input.data.refill_id)


def decide_deadline(input: Input, state: State, env: Env) -> Answer:
    refill = state.get(Refill, input.data.refill_id)
    now = max(env.now, input.time)
    if refill is None or refill.status not in STAGE or not overdue(refill, now):
        return Decision(note="not_due")
    case = Case.of(refill, state, env)
    over, account, events = expired(refill, case.account, env.now, case.policy)
    return Decision(changes=(over, account, *case.taken_in), events=events, note=over.status)


def needs_open(state: State, hospital: str, patient_id: str) -> Iterator[Need]:
    """All of a patient's accounts and what is under way in them."""
    yield from needs_patient(state, patient_id)
    for id in ids_of(patient(state, hospital, patient_id)):
        yield Need(RenewalAccount, "patient_id", id)
        for account in state.where(RenewalAccount, "patient_id", id):
            yield from by_id(Refill, *account.open)


def all_accounts(state: State, hospital: str, patient_id: str) -> list[RenewalAccount]:
    ids = sorted(ids_of(patient(state, hospital, patient_id)))
    return [a for id in ids for a in state.where(RenewalAccount, "patient_id", id)]


def close_open(
    state: State,
    accounts: Sequence[RenewalAccount],
    reason: Reason,
    env: Env,
    policy: RenewalPolicy,
    prescription_id: str | None = None,
) -> tuple[list[Document], list[Emit]]:
    """End what is under way in ``accounts`` (of one prescription, if one is named)."""
    changes: list[Document] = []
    events: list[Emit] = []
    for account in accounts:
        changed = account
        for refill_id in account.open:
            refill = state.get(Refill, refill_id)
            if refill is None or refill.status not in STAGE:
                continue
            if prescription_id not in (None, refill.prescription_id):
                continue
            over, changed, facts = closed(refill, changed, reason, env.now, policy)
            changes.append(over)
            events += facts
        if changed is not account:
            changes.append(changed)
    return changes, events
