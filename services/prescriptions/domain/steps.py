"""How does a renewal go from one status to the next?

Every move goes through :func:`moved`: the one table decides where to, the history gets
its entry, the deadline of the next stage is set. What a move publishes follows here too.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any, TypedDict

from libs.common.decision import Actor, Document, Emit, Refusal, Timer
from libs.common.events import RefillExpired, RefillRefused, RefillStage
from services.prescriptions.domain.accounts import given_back
from services.prescriptions.domain.documents import (
    STAGE,
    TABLE,
    Action,
    Reason,
    Refill,
    RenewalAccount,
    Step,
)
from services.prescriptions.domain.facts import Outcome
from services.prescriptions.domain.policy import RenewalPolicy
from services.prescriptions.domain.told import told

DEADLINE = "refill.deadline"
SYSTEM = "system"


def possible(refill: Refill, action: Action) -> bool:
    return (refill.status, action) in TABLE


def moved(
    refill: Refill,
    action: Action,
    now: datetime,
    policy: RenewalPolicy,
    *,
    by: Actor | None = None,
    role: str = SYSTEM,
    reason: str | None = None,
    comment: str | None = None,
    outcomes: tuple[Outcome, ...] = (),
    **changes: Any,
) -> Refill:
    """``refill`` after ``action``, which its status must allow. A draft has no history yet."""
    before = refill.status if refill.history else None
    after = TABLE[(before, action)]
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
        policy=policy.version,
        outcomes=outcomes,
    )
    next: Refill = refill.but(
        status=after,
        stage=stage,
        waiting_since=now if stage is not None else None,
        reason=reason,
        history=(*refill.history, step),
        **changes,
    )
    done: Refill = next.but(deadline=_deadline(next, now, policy))
    return done


def _deadline(refill: Refill, now: datetime, policy: RenewalPolicy) -> datetime | None:
    hours = policy.rules.deadlines.parameters
    if refill.stage is RefillStage.DOCTOR:
        return now + timedelta(hours=hours.doctor_hours)
    if refill.stage is RefillStage.PHARMACIST and refill.valid_on is not None:
        # What has run out can no longer be passed.
        return min(now + timedelta(hours=hours.pharmacist_hours), policy.end_of(refill.valid_on))
    return None


def timers(refill: Refill) -> Sequence[Timer]:
    if refill.deadline is None:
        return ()
    return (
        Timer(
            id=f"{DEADLINE}|{refill.id}",
            due=refill.deadline,
            type=DEADLINE,
            subject=refill.id,
            data={"refill_id": refill.id},
        ),
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


#: A renewal that is over, the account that has its place back, and what to publish.
Over = tuple[Refill, RenewalAccount, list[Emit]]


def closed(
    refill: Refill,
    account: RenewalAccount,
    reason: Reason,
    now: datetime,
    policy: RenewalPolicy,
    outcomes: tuple[Outcome, ...] = (),
) -> Over:
    """A rule ends a request that was under way; its place is given back."""
    over = moved(refill, Action.CLOSE, now, policy, reason=reason, outcomes=outcomes)
    events = [Emit(RefillRefused(**which(over), reason=reason, refused_at=now), over)]
    if reason is not Reason.PATIENT_DECEASED:
        events.append(told(over, now, policy))
    return over, given_back(account, refill.id), events


def expired(refill: Refill, account: RenewalAccount, now: datetime, policy: RenewalPolicy) -> Over:
    """Nobody decided in time; the place is given back."""
    over = moved(refill, Action.EXPIRE, now, policy, reason=Reason.DEADLINE_PASSED)
    fact = RefillExpired(**which(over), stage=STAGE[refill.status], expired_at=now)
    return over, given_back(account, refill.id), [Emit(fact, over), told(over, now, policy)]


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
