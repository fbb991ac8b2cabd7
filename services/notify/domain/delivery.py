"""What is known of one notification on one channel, and which steps may it take?"""

from __future__ import annotations

from datetime import datetime
from enum import StrEnum
from typing import Any, ClassVar

from libs.common.decision import Document, Env, Input, derived_id
from libs.common.events import Channel, Sensitive
from services.notify.domain.channels import Policy
from services.notify.domain.notification import Notification
from services.notify.domain.people import Person
from services.notify.domain.texts import Language, language_of


class DeliveryStatus(StrEnum):
    PENDING = "pending"
    SENDING = "sending"
    UNKNOWN = "unknown"
    SENT = "sent"
    FAILED = "failed"
    SUPPRESSED = "suppressed"


class DeliveryAction(StrEnum):
    CLAIM = "claim"  # the attempt is recorded, the call comes next
    CONFIRM = "confirm"  # the provider took it
    RETRY = "retry"  # surely not taken, and the fault may pass
    LOSE = "lose"  # nobody knows whether it was taken
    GIVE_UP = "give_up"
    SUPPRESS = "suppress"  # never attempted, and no longer to be told


_P, _S, _U = DeliveryStatus.PENDING, DeliveryStatus.SENDING, DeliveryStatus.UNKNOWN
TRANSITIONS: dict[tuple[DeliveryStatus, DeliveryAction], DeliveryStatus] = {
    (_P, DeliveryAction.CLAIM): _S,
    (_P, DeliveryAction.CONFIRM): DeliveryStatus.SENT,  # a late answer to an earlier attempt
    (_P, DeliveryAction.GIVE_UP): DeliveryStatus.FAILED,
    (_P, DeliveryAction.SUPPRESS): DeliveryStatus.SUPPRESSED,
    (_S, DeliveryAction.CONFIRM): DeliveryStatus.SENT,
    (_S, DeliveryAction.RETRY): _P,
    (_S, DeliveryAction.LOSE): _U,
    (_S, DeliveryAction.GIVE_UP): DeliveryStatus.FAILED,
    (_U, DeliveryAction.CLAIM): _S,
    (_U, DeliveryAction.CONFIRM): DeliveryStatus.SENT,
    (_U, DeliveryAction.GIVE_UP): DeliveryStatus.FAILED,
}


class Delivery(Document):
    """One notification on one channel; its id is ``<notification>~<channel>``.

    ``key`` is the idempotency key of every attempt. ``next_attempt_at`` is when somebody
    must look at it again: the next attempt, or the end of a claim; None when it is over.
    ``lost`` counts answers that were lost, ``attempt`` attempts that were recorded.
    """

    COLLECTION: ClassVar[str] = "deliveries"

    notification_id: str
    channel: Channel
    status: DeliveryStatus = DeliveryStatus.PENDING
    key: str
    address: Sensitive[str]
    language: Language
    attempt: int = 0
    lost: int = 0
    reason: str | None = None
    code: str | None = None
    next_attempt_at: datetime | None = None
    first_attempt_at: datetime | None = None
    ended_at: datetime | None = None
    correlation_id: str = ""
    traceparent: str | None = None

    @staticmethod
    def id_of(notification_id: str, channel: Channel) -> str:
        return f"{notification_id}~{channel}"

    @staticmethod
    def key_of(hospital: str, notification_id: str, channel: Channel) -> str:
        return derived_id("delivery", hospital, notification_id, channel)

    def moved(self, action: DeliveryAction, **changes: Any) -> Delivery:
        status = TRANSITIONS[self.status, action]
        over = not any(s is status for s, _ in TRANSITIONS)
        if over:
            changes |= {"next_attempt_at": None}
        moved: Delivery = self.but(status=status, **changes)
        return moved


def deliveries_of(
    notification: Notification, person: Person, input: Input, env: Env
) -> list[Delivery]:
    """One for each channel by which the person can be reached, due at once."""
    policy: Policy = env.policy.at(env.now)
    own = {Channel.EMAIL: person.email, Channel.WEBHOOK: person.webhook}
    deliveries = []
    for channel in notification.channels:
        address = own.get(channel) or policy.channels[channel].default_address
        if address is None:
            continue
        deliveries.append(
            Delivery(
                id=Delivery.id_of(notification.id, channel),
                hospital=notification.hospital,
                notification_id=notification.id,
                channel=channel,
                key=Delivery.key_of(notification.hospital, notification.id, channel),
                address=address,
                language=language_of(person.language, policy.default_language),
                next_attempt_at=env.now,
                correlation_id=input.correlation_id or input.id,
                traceparent=input.traceparent,
            )
        )
    return deliveries
