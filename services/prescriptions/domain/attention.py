"""Who is told that a renewal is about to expire?

First those with whom it lies: who holds it, or else all who work there, these at most once
an hour however much waits. Then, when less time is left, the department's head; where the
hospital named none, or the head has left, those with the role ops. For who is away, their
deputy.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from datetime import datetime
from typing import Literal

from pydantic import BaseModel, ConfigDict

from libs.common.decision import Answer, Decision, Env, Input, Need, State, by_id, derived_id
from libs.common.events import RefillStage, StaffRole, Urgency
from libs.common.events.base import Id
from services.prescriptions.domain.assignment import Assigned, Assignment
from services.prescriptions.domain.documents import Refill
from services.prescriptions.domain.health import Practitioner
from services.prescriptions.domain.policy import RenewalPolicy
from services.prescriptions.domain.staff import ROLE, Absence, Roster, deputy, roster_id
from services.prescriptions.domain.steps import alone, overdue
from services.prescriptions.domain.told import told_staff

REMINDER = "refill.reminder"  # of what one holds
WAITING = "refill.waiting"  # in the pool
ESCALATED = "refill.escalated"

OPS = roster_id(StaffRole.OPS)


class RefillAttention(BaseModel):
    """So little time is left of the stage that began with that ``step`` of the history."""

    model_config = ConfigDict(frozen=True)

    refill_id: Id
    what: Literal[Assigned.REMIND, Assigned.ESCALATE]
    step: int
    head: Id | None = None


def _pool(refill: Refill) -> str:
    return roster_id(ROLE[refill.stage or RefillStage.DOCTOR], refill.department_code)


def needs_attention(input: Input, state: State) -> Iterator[Need]:
    asked: RefillAttention = input.data
    yield Need(Refill, "id", asked.refill_id)
    refill = state.get(Refill, asked.refill_id)
    if refill is None or refill.stage is None:
        return
    yield from by_id(Roster, _pool(refill), OPS)
    people = {
        person
        for id in (_pool(refill), OPS)
        if (roster := state.get(Roster, id)) is not None
        for person in roster.people
    }
    people |= {p for p in (refill.bound_to, refill.holder_id, asked.head) if p is not None}
    yield from by_id(Practitioner, *sorted(people))
    yield from by_id(Absence, *sorted(people))


def decide_attention(input: Input, state: State, env: Env) -> Answer:
    asked: RefillAttention = input.data
    refill = state.get(Refill, asked.refill_id)
    if refill is None or len(refill.history) != asked.step or overdue(refill, env.now):
        return Decision(note="not_due")  # decided on since, or past all reminding
    holder = alone(refill, env.now)
    if asked.what is Assigned.ESCALATE:
        template = ESCALATED
        people = _here(state, [asked.head] if asked.head else [], env.now)
        people = people or _rostered(state, OPS, env.now)
    else:
        template = WAITING if holder is None else REMINDER
        people = _here(state, [holder] if holder else [], env.now)
        if people and holder is not None and holder == refill.bound_to:
            people = [holder]  # nobody may stand in for them
    if not people:
        people = _rostered(state, _pool(refill), env.now)
        template = WAITING if asked.what is Assigned.REMIND else ESCALATED
    entry = Assignment(at=env.now, what=asked.what, to=tuple(people))
    policy: RenewalPolicy = env.policy.at(env.now)
    once = _this_hour(refill, env.now) if template == WAITING else ""
    urgency = Urgency.URGENT if template == ESCALATED else Urgency.ROUTINE
    events = [
        told_staff(refill, template, person, env.now, policy, urgency=urgency, once=once)
        for person in people
    ]
    reminded = refill.but(assignments=(*refill.assignments, entry))
    return Decision(changes=(reminded,), events=events, note=asked.what)


def _this_hour(refill: Refill, now: datetime) -> str:
    return derived_id(WAITING, refill.hospital, _pool(refill), now.strftime("%Y-%m-%dT%H"))


def _rostered(state: State, id: str, now: datetime) -> list[str]:
    """Those of a roster who are here; if all are away, all of them."""
    roster = state.get(Roster, id)
    people = _working(state, roster.people if roster is not None else (), now)
    return [p for p in people if deputy(state, p, now) is None] or people


def _here(state: State, people: list[str], now: datetime) -> list[str]:
    """``people`` without those who have left; for who is away, their deputy."""
    return [deputy(state, person, now) or person for person in _working(state, people, now)]


def _working(state: State, people: Iterable[str], now: datetime) -> list[str]:
    known = {person: state.get(Practitioner, person) for person in people}
    return [person for person, one in known.items() if one is None or not one.has_left(now)]
