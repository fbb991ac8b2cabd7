"""What is known of one notification, and which steps may it take?"""

from __future__ import annotations

from datetime import datetime
from enum import StrEnum
from typing import Any, ClassVar

from libs.common.decision import Document, Emit, derived_id
from libs.common.events import Channel, Event, NotificationSuppressed, Urgency
from services.notify.domain.people import Matter, Silence


class Status(StrEnum):
    """``told`` is told at least in the inbox; ``waiting`` is that, and nobody knows yet how
    else to reach the person."""

    WAITING = "waiting"
    TOLD = "told"
    SUPPRESSED = "suppressed"
    CANCELLED = "cancelled"


class Action(StrEnum):
    SETTLE = "settle"  # the person became known: by these channels, then
    LAPSE = "lapse"  # the inbox it was, and there it ends
    CANCEL = "cancel"


TRANSITIONS: dict[tuple[Status, Action], Status] = {
    (Status.WAITING, Action.SETTLE): Status.TOLD,
    (Status.WAITING, Action.LAPSE): Status.TOLD,
    (Status.WAITING, Action.CANCEL): Status.CANCELLED,
    (Status.TOLD, Action.CANCEL): Status.CANCELLED,
}
#: What a request makes of it at once.
FIRST = frozenset({Status.WAITING, Status.TOLD, Status.SUPPRESSED, Status.CANCELLED})


class Notification(Document):
    """One notification. Its words are in its inbox message, and nowhere else.

    ``waiting_for`` is the person whose contact is awaited. ``channels`` are those by which
    it may go besides the inbox. Times are those of the request.
    """

    COLLECTION: ClassVar[str] = "notifications"

    status: Status
    reason: str | None = None
    recipient_id: str
    patient_id: str | None = None
    template: str = ""  # empty: cancelled before it was requested
    urgency: Urgency = Urgency.ROUTINE
    about_health: bool = True
    for_staff: bool = False
    channels: tuple[Channel, ...] = ()
    waiting_for: str | None = None
    event_time: datetime | None = None
    expires_at: datetime | None = None
    requested_at: datetime | None = None

    @property
    def matter(self) -> Matter:
        return Matter(self.recipient_id, self.patient_id, self.about_health, self.for_staff)

    def moved(self, action: Action, **changes: Any) -> Notification:
        moved: Notification = self.but(status=TRANSITIONS[self.status, action], **changes)
        return moved

    def may(self, action: Action) -> bool:
        return (self.status, action) in TRANSITIONS


class Told(Document):
    """That a recipient has been told under a dedupe key, and by which notification."""

    COLLECTION: ClassVar[str] = "told"

    notification_id: str

    @staticmethod
    def id_of(recipient_id: str, dedupe_key: str) -> str:
        return derived_id("told", recipient_id, dedupe_key)


def fact(kind: type[Event], notification: Notification, **fields: Any) -> Emit:
    """An event of ``notify.events`` about ``notification``."""
    return Emit(
        kind(
            notification_id=notification.id,
            recipient_id=notification.recipient_id,
            patient_id=notification.patient_id,
            template=notification.template,
            **fields,
        ),
        about=notification,
    )


def suppressed(
    notification: Notification, reason: Silence, now: datetime, channel: Channel | None = None
) -> Emit:
    return fact(
        NotificationSuppressed, notification, channel=channel, reason=reason, suppressed_at=now
    )
