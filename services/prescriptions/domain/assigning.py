"""How does a renewal come to one person, and back to the pool?

Whoever may decide on it claims it for a while, gives it back, or hands it to a colleague who
may decide on it too, and says why. What a doctor has signed and got back is theirs anyway.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime, timedelta

from pydantic import BaseModel, ConfigDict, Field

from libs.common.decision import Actor, Answer, Common, Decision, Env, Input, Need, Refusal, State
from libs.common.events import RefillStage, StaffRole
from libs.common.events.base import Id, Word
from services.prescriptions.domain import doctor, pharmacist
from services.prescriptions.domain.assignment import Assigned, Assignment
from services.prescriptions.domain.case import Case, needs_refill
from services.prescriptions.domain.documents import Refill
from services.prescriptions.domain.health import Practitioner
from services.prescriptions.domain.reasons import Reason
from services.prescriptions.domain.receipt import receipt
from services.prescriptions.domain.saying import Comment
from services.prescriptions.domain.staff import ROLE, Absence, deputy
from services.prescriptions.domain.steps import claimed_by, refused
from services.prescriptions.domain.told import told_staff

#: So many entries a renewal keeps; then it has been passed around long enough.
ASSIGNMENTS = 100

HANDED_OVER = "refill.handed_over"


class Claim(BaseModel):
    """Nothing but the wish."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class Release(Claim):
    """Nothing but the wish."""


class HandOver(BaseModel):
    """To whom, and why."""

    model_config = ConfigDict(frozen=True, extra="forbid", str_strip_whitespace=True)

    to: Id = Field(description="A practitioner who may decide on it.")
    reason: Word = Field(description="Why: end_of_duty, knows_the_patient, second_opinion, ...")
    comment: Comment = Field(default=None, description="In words, for staff; in no event.")


def may_work_on(refill: Refill, actor: Actor) -> bool:
    """Whether the stage is one of the actor's, and the renewal among what they see."""
    if refill.stage is RefillStage.DOCTOR:
        return doctor.may_see(refill, actor)
    return refill.stage is RefillStage.PHARMACIST and pharmacist.may_see(refill, actor)


def needs_assigned(input: Input, state: State) -> Iterator[Need]:
    yield from needs_refill(state, input.hospital, input.subject)
    if isinstance(input.data, HandOver):
        yield Need(Practitioner, "id", input.data.to)
        yield Need(Absence, "id", input.data.to)


def _opened(input: Input, state: State, env: Env) -> tuple[Case, Actor] | Refusal:
    """The renewal, if the actor may decide on it now."""
    refill, actor = state.get(Refill, input.subject), input.actor
    if refill is None or actor is None:
        return Refusal(Common.NOT_FOUND)
    if not may_work_on(refill, actor):
        seen = doctor.may_see(refill, actor) or pharmacist.may_see(refill, actor)
        if not seen:
            return Refusal(Common.NOT_FOUND)
        return Refusal(Common.WRONG_STATUS, extra={"status": refill.status})
    case = Case.of(refill, state, env)
    no = case.not_now(input, None)
    if no is not None:
        return no
    barred = _barred(case, actor.person)
    if barred is not None:
        return refused(barred, case.policy)
    return case, actor


def _barred(case: Case, person: str) -> Reason | None:
    """Why ``person`` can't decide on it, whatever they decide."""
    refill = case.refill
    signed = refill.stage is RefillStage.PHARMACIST and person == refill.doctor_id
    if signed or case.is_party(Actor(person)):
        return Reason.SEPARATION_OF_DUTIES
    if refill.stage is RefillStage.DOCTOR and refill.bound_to not in (None, person):
        return Reason.NOT_THE_SIGNING_DOCTOR
    return None


def decide_claim(input: Input, state: State, env: Env) -> Answer:
    found = _opened(input, state, env)
    if isinstance(found, Refusal):
        return found
    case, actor = found
    minutes = case.policy.rules.deadlines.parameters.claim_minutes
    entry = Assignment(at=env.now, what=Assigned.CLAIM, by=actor.person, to=(actor.person,))
    return _held(case, entry, timedelta(minutes=minutes))


def decide_release(input: Input, state: State, env: Env) -> Answer:
    found = _opened(input, state, env)
    if isinstance(found, Refusal):
        return found
    case, actor = found
    if claimed_by(case.refill, env.now) is None:
        return Refusal(Reason.NOT_CLAIMED)
    entry = Assignment(at=env.now, what=Assigned.RELEASE, by=actor.person)
    return _held(case, entry, None)


def decide_hand_over(input: Input, state: State, env: Env) -> Answer:
    asked: HandOver = input.data
    found = _opened(input, state, env)
    if isinstance(found, Refusal):
        return found
    case, actor = found
    barred = _barred(case, asked.to)
    if barred is not None:
        return refused(barred, case.policy)
    if asked.to == actor.person or not _works_on(case, state.get(Practitioner, asked.to), env.now):
        return Refusal(Reason.RECEIVER_UNSUITABLE)
    stands_in = deputy(state, asked.to, env.now)
    if stands_in is not None:
        return Refusal(Reason.RECEIVER_AWAY, extra={"deputy_id": stands_in})
    hours = case.policy.rules.deadlines.parameters.hand_over_hours
    entry = Assignment(
        at=env.now,
        what=Assigned.HAND_OVER,
        by=actor.person,
        to=(asked.to,),
        reason=asked.reason,
        comment=asked.comment,
    )
    return _held(case, entry, timedelta(hours=hours))


def _works_on(case: Case, one: Practitioner | None, now: datetime) -> bool:
    """Whether ``one`` decides at this stage, as far as the hospital has told."""
    refill = case.refill
    if one is None or one.has_left(now) or refill.stage is None:
        return False
    role = ROLE[refill.stage]
    theirs = refill.department_code in one.departments or one.id == refill.prescriber_id
    return role in one.roles and (role is not StaffRole.DOCTOR or theirs)


def _held(case: Case, entry: Assignment, time: timedelta | None) -> Answer:
    """``entry`` is kept, and whoever it names holds the renewal for ``time``."""
    refill, now = case.refill, case.env.now
    if time is not None and len(refill.assignments) >= ASSIGNMENTS:
        return Refusal(Reason.ASSIGNED_TOO_OFTEN, extra={"times": len(refill.assignments)})
    until = None if time is None else now + time
    if until is not None and refill.deadline is not None:
        until = min(until, refill.deadline)
    held: Refill = refill.but(
        holder_id=entry.to[0] if entry.to else None,
        held_until=until,
        assignments=(*refill.assignments, entry),
    )
    events = [
        told_staff(held, HANDED_OVER, person, now, case.policy)
        for person in entry.to
        if person != entry.by
    ]
    return Decision(changes=(held,), events=events, result=receipt(held), note=entry.what)
