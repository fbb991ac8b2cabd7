"""What is asked of notify (``notify.requests``), and what does it tell (``notify.events``)?"""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated, ClassVar

from pydantic import AwareDatetime, Field, StringConstraints

from libs.common.events.base import Event, Id, Sensitive, Url, Word

#: Notifications to one recipient with the same dedupe key are one notification.
DedupeKey = Annotated[str, StringConstraints(min_length=1, max_length=256, pattern=r"^\S+$")]
Parameter = Annotated[str, StringConstraints(max_length=1000)]


class Urgency(StrEnum):
    """How soon a person must know; decides on quiet hours and on how many channels."""

    ROUTINE = "routine"
    URGENT = "urgent"
    CRITICAL = "critical"


class Channel(StrEnum):
    """By what a notification reaches a person."""

    INBOX = "inbox"
    EMAIL = "email"
    WEBHOOK = "webhook"
    SMS = "sms"
    WECHAT = "wechat"
    WECOM = "wecom"
    WEB_PUSH = "web_push"


class NotificationRequested(Event):
    """Somebody shall be told something. Never a result: what is told is that there is one."""

    TYPE: ClassVar[str] = "hospital.notification.requested.v1"
    TOPIC: ClassVar[str] = "notify.requests"
    KEY: ClassVar[str] = "recipient_id"
    SUBJECT: ClassVar[str] = "notification_id"

    notification_id: Id = Field(description="The notification.")
    recipient_id: Id = Field(description="The person who shall be told.")
    patient_id: Id | None = Field(default=None, description="The patient whom it concerns.")
    template: Word = Field(description="Key of the text, such as invitation.issued.")
    parameters: Sensitive[dict[Word, Parameter]] = Field(
        default_factory=dict, max_length=32, description="What the text needs, by name."
    )
    link: Sensitive[Url | None] = Field(
        default=None, description="Where the text leads; may hold a secret, and travels only here."
    )
    urgency: Urgency = Field(default=Urgency.ROUTINE, description="How soon.")
    health_data: bool = Field(
        default=False,
        description="True: about health; not told to whom withdrew that consent.",
    )
    dedupe_key: DedupeKey = Field(description="The same key for a recipient is told once.")
    event_time: AwareDatetime = Field(
        description="When what it tells of happened; not when the request was made."
    )
    expires_at: AwareDatetime = Field(description="Not told after this, counted from event_time.")
    channels: tuple[Channel, ...] = Field(
        default=(), max_length=8, description="A hint: only by these; empty: as the person prefers."
    )


class NotificationCancelled(Event):
    """Whoever asked for it no longer wants it told; what was sent stays sent."""

    TYPE: ClassVar[str] = "hospital.notification.cancelled.v1"
    TOPIC: ClassVar[str] = "notify.requests"
    KEY: ClassVar[str] = "recipient_id"
    SUBJECT: ClassVar[str] = "notification_id"

    notification_id: Id = Field(description="The notification.")
    recipient_id: Id = Field(description="The person who was to be told.")
    reason: Word = Field(description="Why.")
    cancelled_at: AwareDatetime = Field(description="When.")


class NotificationFact(Event):
    """Which notification it is about."""

    TOPIC: ClassVar[str] = "notify.events"
    KEY: ClassVar[str] = "recipient_id"
    SUBJECT: ClassVar[str] = "notification_id"

    notification_id: Id = Field(description="The notification.")
    recipient_id: Id = Field(description="The person.")
    patient_id: Id | None = Field(default=None, description="The patient whom it concerns.")
    template: Word = Field(description="Key of the text.")


class NotificationSent(NotificationFact):
    """A channel took it."""

    TYPE: ClassVar[str] = "hospital.notification.sent.v1"

    channel: Channel = Field(description="By what.")
    attempt: int = Field(ge=1, description="At which attempt.")
    sent_at: AwareDatetime = Field(description="When.")


class NotificationDelivered(NotificationFact):
    """A channel says that it arrived."""

    TYPE: ClassVar[str] = "hospital.notification.delivered.v1"

    channel: Channel = Field(description="By what.")
    delivered_at: AwareDatetime = Field(description="When.")


class NotificationRead(NotificationFact):
    """The person saw it."""

    TYPE: ClassVar[str] = "hospital.notification.read.v1"

    channel: Channel = Field(description="By what.")
    read_at: AwareDatetime = Field(description="When.")


class NotificationFailed(NotificationFact):
    """A channel gave up on it."""

    TYPE: ClassVar[str] = "hospital.notification.failed.v1"

    channel: Channel = Field(description="By what.")
    attempt: int = Field(ge=1, description="After how many attempts.")
    reason: Word = Field(description="Why, in our words.")
    failed_at: AwareDatetime = Field(description="When.")


class NotificationSuppressed(NotificationFact):
    """It was rightly not told at all, or not by one channel."""

    TYPE: ClassVar[str] = "hospital.notification.suppressed.v1"

    channel: Channel | None = Field(default=None, description="The one channel; absent: all of it.")
    reason: Word = Field(description="expired, no_consent, deceased, duplicate, cancelled, ...")
    suppressed_at: AwareDatetime = Field(description="When.")
