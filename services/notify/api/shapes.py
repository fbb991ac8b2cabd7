"""What do the answers of notify's API look like?"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime

from pydantic import BaseModel

from libs.common.events import Channel, Urgency
from services.notify.domain.delivery import Delivery, DeliveryStatus
from services.notify.domain.inbox import InboxMessage, InboxStatus
from services.notify.domain.notification import Notification, Status
from services.notify.domain.people import Person
from services.notify.domain.texts import Language, language_of


class InboxItem(BaseModel):
    """One message in a person's inbox. ``number`` is its id in the live stream."""

    id: str
    number: int
    status: InboxStatus
    patient_id: str | None
    template: str
    urgency: Urgency
    language: Language
    title: str
    body: str
    link: str | None
    at: datetime
    event_time: datetime
    read_at: datetime | None


class ReadAnswer(BaseModel):
    id: str
    read_at: datetime


class ChannelState(BaseModel):
    """What became of a notification on one channel."""

    channel: Channel
    status: DeliveryStatus
    attempt: int
    lost_answers: int
    reason: str | None
    provider_code: str | None
    next_attempt_at: datetime | None
    ended_at: datetime | None


class NotificationState(BaseModel):
    """What became of a notification: no text, no link, no address."""

    id: str
    status: Status
    reason: str | None
    recipient_id: str
    patient_id: str | None
    template: str
    urgency: Urgency
    requested_at: datetime | None
    event_time: datetime | None
    expires_at: datetime | None
    in_inbox_at: datetime | None
    read_at: datetime | None
    channels: list[ChannelState]


def inbox_item(message: InboxMessage, person: Person, default: Language) -> InboxItem:
    language = language_of(person.language, default)
    text = message.texts[language]
    return InboxItem(
        id=message.id,
        number=message.number,
        status=message.status,
        patient_id=message.patient_id,
        template=message.template,
        urgency=message.urgency,
        language=language,
        title=text.title,
        body=text.body,
        link=message.link,
        at=message.at,
        event_time=message.event_time,
        read_at=message.read_at,
    )


def notification_state(
    notification: Notification, message: InboxMessage | None, deliveries: Iterable[Delivery]
) -> NotificationState:
    return NotificationState(
        id=notification.id,
        status=notification.status,
        reason=notification.reason,
        recipient_id=notification.recipient_id,
        patient_id=notification.patient_id,
        template=notification.template,
        urgency=notification.urgency,
        requested_at=notification.requested_at,
        event_time=notification.event_time,
        expires_at=notification.expires_at,
        in_inbox_at=None if message is None else message.at,
        read_at=None if message is None else message.read_at,
        channels=[
            ChannelState(
                channel=d.channel,
                status=d.status,
                attempt=d.attempt,
                lost_answers=d.lost,
                reason=d.reason,
                provider_code=d.code,
                next_attempt_at=d.next_attempt_at,
                ended_at=d.ended_at,
            )
            for d in deliveries
        ],
    )
