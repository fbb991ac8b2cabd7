"""What follows from what an endpoint answered?

The sending loop tells what came of its calls: of deliveries one by one, of a handshake or a
heartbeat, and when it has nothing more to do for a subscription. Only here does anything
change, so that whoever repeats a call after a crash changes nothing twice.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime
from enum import StrEnum

from pydantic import BaseModel, ConfigDict

from libs.common.decision import (
    Answer,
    Common,
    Decision,
    Document,
    Env,
    Input,
    Need,
    Refusal,
    State,
    unchanged,
)
from services.interop.domain.delivery import Agenda, Delivery, DeliveryAction
from services.interop.domain.subscription import Action, Figures, Status, Subscription

#: Commands of the sending loop.
ENDED = "deliveries.ended"
DISCARD = "deliveries.discard"
#: A note of it, and the reason of each that was dropped under a suspended subscription.
DROPPED = "suspended_too_long"
GREETED = "subscription.greeted"
RESTED = "subscription.rested"


class Verdict(StrEnum):
    """What an endpoint made of a call."""

    TAKEN = "taken"
    REFUSED = "refused"  # this delivery; others may be taken
    AWAY = "away"  # nothing is taken at the moment
    GONE = "gone"  # 410: never call again


class Attempt(BaseModel):
    """One call for one delivery. ``final``: no other attempt can end otherwise."""

    model_config = ConfigDict(frozen=True)

    id: str
    verdict: Verdict
    reason: str = ""
    jitter: float
    retry_after: float | None = None
    final: bool = False


class Ended(BaseModel):
    """The internal command ``deliveries.ended``: what came of some calls."""

    model_config = ConfigDict(frozen=True)

    attempts: tuple[Attempt, ...]


class Greeted(BaseModel):
    """The internal command ``subscription.greeted``: what came of a handshake, or of any call
    that an endpoint answered with 410. ``If-Match`` names the subscription that was called."""

    model_config = ConfigDict(frozen=True)

    verdict: Verdict
    reason: str = ""


class Rested(BaseModel):
    """The internal command ``subscription.rested``: nothing more can be sent now.

    ``If-Match`` names the agenda as it was before the last look: what came since then asks
    for another one. ``next_at``: when a delivery is due again.
    """

    model_config = ConfigDict(frozen=True)

    verdict: Verdict | None
    reason: str = ""
    next_at: datetime | None = None
    jitter: float
    retry_after: float | None = None


class Discard(BaseModel):
    """The internal command ``deliveries.discard``: their subscription was deleted, or they have
    waited for too long as it is suspended."""

    model_config = ConfigDict(frozen=True)

    deliveries: tuple[str, ...]


def needs_ended(input: Input, _state: State) -> Iterator[Need]:
    for attempt in input.data.attempts:
        yield Need(Delivery, "id", attempt.id)


def decide_ended(input: Input, state: State, env: Env) -> Answer:
    figures: Figures = env.policy.figures
    changes: list[Document] = []
    counts = {"delivered": 0, "failed": 0, "parked": 0}
    due_at: list[datetime] = []
    for attempt in input.data.attempts:
        delivery = state.get(Delivery, attempt.id)
        if delivery is None or not delivery.may(DeliveryAction.DELIVER):
            continue
        if attempt.verdict is Verdict.TAKEN:
            done = {"attempt": delivery.attempt + 1, "ended_at": env.now, "reason": ""}
            changes.append(delivery.moved(DeliveryAction.DELIVER, next_attempt_at=None, **done))
            counts["delivered"] += 1
            continue
        if not delivery.may(DeliveryAction.FAIL):
            continue
        tried = delivery.attempt + 1
        next_at = env.now + figures.delay(tried, attempt.jitter, attempt.retry_after)
        told = {"attempt": tried, "reason": attempt.reason}
        if attempt.final or next_at >= delivery.queued_at + figures.give_up:
            changes.append(delivery.moved(DeliveryAction.PARK, next_attempt_at=None, **told))
            counts["parked"] += 1
        else:
            changes.append(delivery.moved(DeliveryAction.FAIL, next_attempt_at=next_at, **told))
            counts["failed"] += 1
            due_at.append(next_at)
    result = {**counts, "next_at": min(due_at).isoformat() if due_at else None}
    return Decision(changes=changes, result=result, note="recorded")


def needs_greeted(input: Input, _state: State) -> Iterator[Need]:
    yield Need(Subscription, "id", input.subject)
    yield Need(Agenda, "id", input.subject)


def decide_greeted(input: Input, state: State, env: Env) -> Answer:
    figures: Figures = env.policy.figures
    subscription, greeted = state.get(Subscription, input.subject), input.data
    if subscription is None or not unchanged(input, subscription):
        return Refusal(Common.STALE)  # it was about other terms
    if greeted.verdict is Verdict.TAKEN and subscription.may(Action.GREET):
        return Decision(changes=[subscription.moved(Action.GREET, env.now)], note="greeted")
    waited = env.now - subscription.changed_at
    never = subscription.status is Status.REQUESTED and waited >= figures.give_up
    if subscription.may(Action.SUSPEND) and (greeted.verdict is Verdict.GONE or never):
        suspended = subscription.moved(Action.SUSPEND, env.now, greeted.reason)
        agenda = state.get(Agenda, input.subject)
        assert agenda is not None
        # A look finds out when what waits is dropped.
        return Decision(changes=[suspended, agenda.but(due_at=env.now)], note="suspended")
    return Decision(note="not_greeted")


def needs_rested(input: Input, _state: State) -> Iterator[Need]:
    yield Need(Subscription, "id", input.subject)
    yield Need(Agenda, "id", input.subject)


def decide_rested(input: Input, state: State, env: Env) -> Answer:
    """When to look again. ``result`` says whether at once."""
    figures: Figures = env.policy.figures
    rested: Rested = input.data
    agenda, subscription = state.get(Agenda, input.subject), state.get(Subscription, input.subject)
    assert agenda is not None and subscription is not None
    if rested.verdict in (Verdict.TAKEN, Verdict.REFUSED):  # it answers
        agenda = agenda.but(failures=0, last_error="")
    elif rested.verdict is not None:
        agenda = agenda.but(failures=agenda.failures + 1, last_error=rested.reason)
    if rested.verdict is Verdict.TAKEN:
        agenda = agenda.but(last_sent_at=env.now)
    due: datetime | None
    again = False
    called = subscription.status in (Status.REQUESTED, Status.ACTIVE)
    if called and agenda.failures:
        due = env.now + figures.delay(agenda.failures, rested.jitter, rested.retry_after)
    elif not unchanged(input, agenda):
        due, again = env.now, True
    else:
        due = _earliest(rested.next_at, subscription.heartbeat_at(agenda.last_sent_at))
    result = {"again": again, "version": agenda.version + 1}
    return Decision(changes=[agenda.but(due_at=due)], result=result, note="rested")


def _earliest(*times: datetime | None) -> datetime | None:
    return min((t for t in times if t is not None), default=None)


def needs_discard(input: Input, _state: State) -> Iterator[Need]:
    yield Need(Subscription, "id", input.subject)
    yield Need(Agenda, "id", input.subject)
    for id in input.data.deliveries:
        yield Need(Delivery, "id", id)


def decide_discard(input: Input, state: State, env: Env) -> Answer:
    """``result`` says how many, and up to which number something was dropped."""
    agenda, subscription = state.get(Agenda, input.subject), state.get(Subscription, input.subject)
    assert agenda is not None and subscription is not None
    if subscription.status not in (Status.DELETED, Status.SUSPENDED):
        return Refusal(Common.STALE)  # it was resumed meanwhile
    note = DROPPED if subscription.status is Status.SUSPENDED else "discarded"
    found = (state.get(Delivery, id) for id in input.data.deliveries)
    ended = [
        d.moved(
            DeliveryAction.DISCARD, ended_at=env.now, next_attempt_at=None, event=b"", reason=note
        )
        for d in found
        if d is not None and d.may(DeliveryAction.DISCARD)
    ]
    changes: list[Document] = [*ended]
    if ended and note == DROPPED:
        agenda = agenda.but(dropped=max(agenda.dropped, *(d.number for d in ended)))
        changes.append(agenda)
    result = {"discarded": len(ended), "until": agenda.dropped}
    return Decision(changes=changes, result=result, note=note)
