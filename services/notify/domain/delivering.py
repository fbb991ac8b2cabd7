"""When is a provider called for a delivery, and what follows from its answer?

The attempt is recorded before the call: only whoever has committed a claim may call. An
answer that is lost, with its process or on the way, makes the delivery ``unknown``; what
then happens is the channel's kind (``channels.py``).
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime, timedelta
from enum import StrEnum

from pydantic import BaseModel

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
from libs.common.events import (
    Channel,
    NotificationDelivered,
    NotificationFailed,
    NotificationSent,
)
from services.notify.domain.channels import BLIND_LOSSES, KINDS, ChannelRule, Kind, Policy
from services.notify.domain.delivery import (
    TRANSITIONS,
    Delivery,
    DeliveryAction,
    DeliveryStatus,
)
from services.notify.domain.notification import Notification, Status, fact, suppressed
from services.notify.domain.people import Silence, needs_matter, silence


class Verdict(StrEnum):
    """What came of one call."""

    SENT = "sent"
    REFUSED = "refused"  # for good
    PASSING = "passing"  # surely not taken; try again
    LOST = "lost"  # may have been taken


#: Commands of the sending loop.
CLAIM = "delivery.claim"
ENDED = "delivery.ended"
#: Reasons of our own beside those of the providers' tables.
ANSWER_LOST = "answer_lost"
SENDER_DIED = "sender_died"


class Claim(BaseModel):
    """The internal command ``delivery.claim``: it is due, may I call? ``jitter`` in [0, 1)."""

    notification_id: str
    channel: Channel
    jitter: float


class CallEnded(BaseModel):
    """The internal command ``delivery.ended``: what came of ``attempt``.

    ``reason`` is a word of the provider's table, ``code`` the provider's own code.
    """

    notification_id: str
    channel: Channel
    attempt: int
    verdict: Verdict
    reason: str = ""
    code: str = ""
    retry_after: float | None = None
    jitter: float


class NotNow(StrEnum):
    """Why a claim or an answer changes nothing."""

    NOT_DUE = "not_due"  # somebody else has it, or it is over


def _needs_both(input: Input) -> Iterator[Need]:
    data: Claim | CallEnded = input.data
    yield Need(Delivery, "id", Delivery.id_of(data.notification_id, data.channel))
    yield Need(Notification, "id", data.notification_id)


def needs_claim(input: Input, state: State) -> Iterator[Need]:
    yield from _needs_both(input)
    notification = state.get(Notification, input.data.notification_id)
    if notification is not None:
        yield from needs_matter(state, notification.matter)


def needs_ended(input: Input, state: State) -> Iterator[Need]:
    yield from _needs_both(input)


def decide_claim(input: Input, state: State, env: Env) -> Answer:
    claim: Claim = input.data
    policy: Policy = env.policy.at(env.now)
    delivery = state.get(Delivery, Delivery.id_of(claim.notification_id, claim.channel))
    notification = state.get(Notification, claim.notification_id)
    if delivery is None or notification is None:
        return Refusal(Common.NOT_FOUND)
    if delivery.next_attempt_at is None or delivery.next_attempt_at > env.now:
        return Refusal(NotNow.NOT_DUE)
    rule = policy.channels.get(delivery.channel)
    if rule is None:  # this installation has given the channel up
        return _given_up(delivery, notification, "channel_off", env.now)
    if delivery.status is DeliveryStatus.SENDING:  # its claim has lapsed
        return _lost(delivery, notification, rule, SENDER_DIED, claim.jitter, env.now)
    why = _stopped(notification, env.now) or silence(state, notification.matter, env.now)
    if why is not None:
        if delivery.attempt:
            last = ANSWER_LOST if delivery.status is DeliveryStatus.UNKNOWN else delivery.reason
            return _given_up(delivery, notification, last or why, env.now)
        delivery = delivery.moved(DeliveryAction.SUPPRESS, reason=why, ended_at=env.now)
        event = suppressed(notification, why, env.now, delivery.channel)
        return Decision(changes=[delivery], events=[event], note="suppressed")
    delivery = delivery.moved(
        DeliveryAction.CLAIM,
        attempt=delivery.attempt + 1,
        next_attempt_at=env.now + rule.claim,
        first_attempt_at=delivery.first_attempt_at or env.now,
    )
    return Decision(changes=[delivery], result={"attempt": delivery.attempt}, note="claimed")


def _stopped(notification: Notification, now: datetime) -> Silence | None:
    if notification.status is Status.CANCELLED:
        return Silence.CANCELLED
    if notification.expires_at is not None and notification.expires_at <= now:
        return Silence.EXPIRED
    return None


def decide_ended(input: Input, state: State, env: Env) -> Answer:
    ended: CallEnded = input.data
    policy: Policy = env.policy.at(env.now)
    delivery = state.get(Delivery, Delivery.id_of(ended.notification_id, ended.channel))
    notification = state.get(Notification, ended.notification_id)
    if delivery is None or notification is None:
        return Refusal(Common.NOT_FOUND)
    over = (delivery.status, DeliveryAction.CONFIRM) not in TRANSITIONS
    if over or not 1 <= ended.attempt <= delivery.attempt:
        return Refusal(Common.STALE)
    if ended.verdict is Verdict.SENT:  # true however late it is told
        return _sent(delivery, notification, ended, env.now)
    rule = policy.channels.get(delivery.channel)
    if delivery.status is not DeliveryStatus.SENDING or ended.attempt != delivery.attempt:
        return Refusal(Common.STALE)
    delivery = delivery.but(code=ended.code or None)
    if ended.verdict is Verdict.REFUSED or rule is None:
        return _given_up(delivery, notification, ended.reason, env.now)
    if ended.verdict is Verdict.LOST:
        return _lost(delivery, notification, rule, ended.reason, ended.jitter, env.now)
    wait = rule.retry.delay(delivery.attempt, ended.jitter, ended.retry_after)
    if _too_late(delivery, notification, rule, env.now + wait):
        return _given_up(delivery, notification, ended.reason, env.now)
    delivery = delivery.moved(
        DeliveryAction.RETRY, reason=ended.reason, next_attempt_at=env.now + wait
    )
    return Decision(changes=[delivery], note="retry")


def _sent(
    delivery: Delivery, notification: Notification, ended: CallEnded, now: datetime
) -> Answer:
    delivery = delivery.moved(
        DeliveryAction.CONFIRM, reason=None, code=ended.code or None, ended_at=now
    )
    channel = delivery.channel
    events = [
        fact(NotificationSent, notification, channel=channel, attempt=ended.attempt, sent_at=now)
    ]
    if channel is Channel.WEBHOOK:  # the person's own software has answered
        events.append(fact(NotificationDelivered, notification, channel=channel, delivered_at=now))
    return Decision(changes=[delivery], events=events, note="sent")


def _lost(
    delivery: Delivery,
    notification: Notification,
    rule: ChannelRule,
    reason: str,
    jitter: float,
    now: datetime,
) -> Answer:
    delivery = delivery.moved(DeliveryAction.LOSE, lost=delivery.lost + 1, reason=reason)
    wait = rule.retry.delay(delivery.attempt, jitter)
    blind = KINDS[delivery.channel] is Kind.BLIND
    if (blind and delivery.lost >= BLIND_LOSSES) or _too_late(
        delivery, notification, rule, now + wait
    ):
        return _given_up(delivery, notification, ANSWER_LOST, now)
    return Decision(changes=[delivery.but(next_attempt_at=now + wait)], note="unknown")


def _given_up(delivery: Delivery, notification: Notification, reason: str, now: datetime) -> Answer:
    delivery = delivery.moved(DeliveryAction.GIVE_UP, reason=reason, ended_at=now)
    failed: Emit = fact(
        NotificationFailed,
        notification,
        channel=delivery.channel,
        attempt=max(1, delivery.attempt),
        reason=reason,
        failed_at=now,
    )
    return Decision(changes=[delivery], events=[failed], note="failed")


def _too_late(
    delivery: Delivery, notification: Notification, rule: ChannelRule, then: datetime
) -> bool:
    begun = delivery.first_attempt_at or then
    ends = begun + timedelta(seconds=rule.retry.give_up_after)
    if notification.expires_at is not None:
        ends = min(ends, notification.expires_at)
    return then >= ends
