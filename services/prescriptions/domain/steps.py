"""How does a renewal go from one status to the next?

Every move goes through :func:`moved`: the one table decides where to, the history gets
its entry, the deadline of the next stage is set. What a move publishes follows here too.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import date, datetime, timedelta
from typing import Any, Protocol, TypedDict

from libs.common.decision import Actor, Document, Emit, Env, Refusal, Timer
from libs.common.events import (
    RefillExpired,
    RefillLapsed,
    RefillRefused,
    RefillStage,
    RefillSuspended,
)
from services.prescriptions.domain.accounts import given_back, settled, unsupplied
from services.prescriptions.domain.assignment import Assigned
from services.prescriptions.domain.checks import Acknowledgement, ClinicalChecks
from services.prescriptions.domain.documents import PatientCare, Refill, RenewalAccount, Step
from services.prescriptions.domain.facts import Outcome
from services.prescriptions.domain.policy import RenewalPolicy
from services.prescriptions.domain.reasons import Reason
from services.prescriptions.domain.told import stop_told, told, told_staff
from services.prescriptions.domain.transitions import STAGE, TABLE, Action, Status

DEADLINE = "refill.deadline"
ATTENTION = "refill.attention"
SYSTEM = "system"


def possible(refill: Refill, action: Action) -> bool:
    return (refill.status, action) in TABLE


def moved(
    refill: Refill,
    action: Action,
    env: Env,
    policy: RenewalPolicy,
    *,
    by: Actor | None = None,
    role: str = SYSTEM,
    reason: str | None = None,
    comment: str | None = None,
    outcomes: tuple[Outcome, ...] = (),
    checks: ClinicalChecks | None = None,
    acknowledged: tuple[Acknowledgement, ...] = (),
    **fields: Any,
) -> Refill:
    """``refill`` after ``action``, which its status must allow. A draft has no history yet."""
    before = refill.status if refill.history else None
    after = TABLE[(before, action)]
    now = env.now
    stage = STAGE.get(after)
    step = Step(
        at=now,
        action=action,
        from_status=before,
        to_status=after,
        person_id=by.person if by is not None else None,
        role=role,
        reason=reason,
        comment=comment,
        changes=fields.get("changes"),
        policy=policy.version,
        correlation_id=env.correlation_id,
        outcomes=outcomes,
        checks=checks,
        acknowledged=acknowledged,
    )
    bound_to = refill.bound_to if stage is not None else None
    if after is Status.WAITING_PHARMACIST and by is not None:
        bound_to = by.person  # whichever way a doctor signed it
    next: Refill = refill.but(
        status=after,
        bound_to=bound_to,
        holder_id=None,
        held_until=None,
        stage=stage,
        waiting_since=now if stage is not None else None,
        reason=reason,
        history=(*refill.history, step),
        checks=checks or refill.checks,
        **fields,
    )
    done: Refill = next.but(deadline=deadline(after, next.valid_on, now, policy))
    return done


def deadline(
    status: Status, valid_on: date | None, now: datetime, policy: RenewalPolicy
) -> datetime | None:
    """Until when what comes to ``status`` now must be decided, or dispensed."""
    stage = STAGE.get(status)
    hours = policy.rules.deadlines.parameters
    if stage is RefillStage.DOCTOR:
        return now + timedelta(hours=hours.doctor_hours)
    if stage is RefillStage.PHARMACIST and valid_on is not None:
        # What has run out can no longer be passed.
        return min(now + timedelta(hours=hours.pharmacist_hours), policy.end_of(valid_on))
    if status is Status.EFFECTIVE and valid_on is not None:
        return policy.end_of(valid_on)
    return None


class Held(Protocol):
    """A renewal, or its line in a list, as far as it says who has it."""

    @property
    def stage(self) -> RefillStage | None: ...
    @property
    def bound_to(self) -> str | None: ...
    @property
    def holder_id(self) -> str | None: ...
    @property
    def held_until(self) -> datetime | None: ...


def claimed_by(refill: Held, now: datetime) -> str | None:
    """Who decides on it alone now."""
    held = refill.held_until is not None and now < refill.held_until
    return refill.holder_id if held else None


def alone(refill: Held, now: datetime) -> str | None:
    """The same, or the doctor to whom it came back."""
    bound = refill.bound_to if refill.stage is RefillStage.DOCTOR else None
    return bound or claimed_by(refill, now)


def timers(refill: Refill, now: datetime, policy: RenewalPolicy) -> Sequence[Timer]:
    """What wakes us in the stage that ``refill`` has come to ``now``."""
    if refill.deadline is None:
        return ()
    return (
        deadline_timer(refill, refill.deadline),
        *_attention(refill, refill.deadline, now, policy),
    )


def deadline_timer(refill: Refill, due: datetime) -> Timer:
    return Timer(
        id=f"{DEADLINE}|{refill.id}",
        due=due,
        type=DEADLINE,
        subject=refill.id,
        data={"refill_id": refill.id},
    )


def _attention(
    refill: Refill, deadline: datetime, now: datetime, policy: RenewalPolicy
) -> Iterator[Timer]:
    """A reminder, and an escalation. If there never is as much time as the head is told
    ahead (valid on the day, and late in it), the head is told at once."""
    if refill.stage is None:
        return
    figures = policy.rules.deadlines.parameters
    remind = deadline - timedelta(hours=figures.remind_hours)
    escalate = max(now, deadline - timedelta(hours=figures.escalate_hours))
    head = figures.heads.get(refill.department_code)
    for what, due in ((Assigned.REMIND, remind), (Assigned.ESCALATE, escalate)):
        if due >= now:
            yield Timer(
                id=f"{ATTENTION}|{refill.id}|{what}",
                due=due,
                type=ATTENTION,
                subject=refill.id,
                data={
                    "refill_id": refill.id,
                    "what": what,
                    "step": len(refill.history),
                    "head": head,
                },
            )


class Which(TypedDict):
    """What every event about a renewal says."""

    refill_id: str
    patient_id: str
    prescription_id: str
    ingredient_code: str
    requested_by: str
    department_code: str


def which(refill: Refill) -> Which:
    return Which(
        refill_id=refill.id,
        patient_id=refill.patient_id,
        prescription_id=refill.prescription_id,
        ingredient_code=refill.ingredient_code,
        requested_by=refill.requested_by,
        department_code=refill.department_code,
    )


def pharmacy_of(refill: Refill) -> str | None:
    """The pharmacy that was chosen to dispense it."""
    return refill.fulfilment.pharmacy_id if refill.fulfilment is not None else None


#: A renewal that is over, the account that has its place back, and what to publish.
Over = tuple[Refill, RenewalAccount, list[Emit]]


def closed(
    refill: Refill,
    account: RenewalAccount,
    reason: Reason,
    env: Env,
    policy: RenewalPolicy,
    outcomes: tuple[Outcome, ...] = (),
) -> Over:
    """A rule ends a request that was under way; its place is given back."""
    over = moved(refill, Action.CLOSE, env, policy, reason=reason, outcomes=outcomes)
    events = [Emit(RefillRefused(**which(over), reason=reason, refused_at=env.now), over)]
    if reason is not Reason.PATIENT_DECEASED:
        events.append(told(over, env.now, policy))
    return over, given_back(account, refill.id), events


def expired(refill: Refill, account: RenewalAccount, env: Env, policy: RenewalPolicy) -> Over:
    """Nobody decided in time; the place is given back."""
    over = moved(refill, Action.EXPIRE, env, policy, reason=Reason.DEADLINE_PASSED)
    fact = RefillExpired(**which(over), stage=STAGE[refill.status], expired_at=env.now)
    return over, given_back(account, refill.id), [Emit(fact, over), told(over, env.now, policy)]


def suspended(
    refill: Refill,
    care: PatientCare,
    account: RenewalAccount,
    reason: Reason,
    env: Env,
    policy: RenewalPolicy,
    outcomes: tuple[Outcome, ...] = (),
) -> Over:
    """Something was told that nobody has seen who decided. An open request goes back to a
    doctor and keeps its place; of what is in effect nothing is handed out any more, and the
    renewal goes on counting: a pharmacy may have been faster."""
    over = moved(refill, Action.SUSPEND, env, policy, reason=reason, outcomes=outcomes)
    fact = RefillSuspended(
        **which(over),
        reason=reason,
        suspended_at=env.now,
        new_prescription_id=over.new_prescription_id,
        pharmacy_id=over.dispensed_by or pharmacy_of(over),
    )
    events = [Emit(fact, over)]
    if reason is not Reason.PATIENT_DECEASED:
        events += stop_told(over, care, env.now, policy)
    if over.status is Status.SUSPENDED:
        doctor = over.doctor_id or over.order.prescriber_id
        events.append(told_staff(over, "refill.to_look_at", doctor, env.now, policy))
        return over, account, events
    return over, settled(unsupplied(account, refill.id), refill.id), events


def lapsed(refill: Refill, account: RenewalAccount, env: Env, policy: RenewalPolicy) -> Over:
    """It is no longer valid, and no pharmacy told that it dispensed anything."""
    if refill.valid_on is None or refill.new_prescription_id is None:
        raise ValueError("only what was in effect for so many days lapses")
    over = moved(refill, Action.LAPSE, env, policy, reason=Reason.VALIDITY_OVER)
    fact = RefillLapsed(
        **which(over),
        new_prescription_id=refill.new_prescription_id,
        valid_on=refill.valid_on,
        lapsed_at=env.now,
        pharmacy_id=pharmacy_of(refill),
    )
    account = unsupplied(account, refill.id)
    return over, account, [Emit(fact, over), told(over, env.now, policy)]


def overdue(refill: Refill, now: datetime) -> bool:
    return refill.deadline is not None and now >= refill.deadline


def refused(
    reason: Reason,
    policy: RenewalPolicy,
    changes: Sequence[Document] = (),
    events: Sequence[Emit] = (),
    **extra: Any,
) -> Refusal:
    """No, by a rule of ``policy``, with what that leaves and where the rule stands."""
    by: dict[str, Any] = {"policy": policy.version}
    id = policy.rule_of(reason)
    if id is not None:
        rule = policy.rule(id)
        by |= {
            "rule": id,
            "kind": rule.kind,
            "source": list(rule.source),
            "in_force_from": policy.in_force_from.isoformat(),
        }
    return Refusal(
        reason,
        detail=policy.words(reason, "en") or "",
        changes=changes,
        events=events,
        extra={**extra, **by},
    )
