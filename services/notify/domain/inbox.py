"""What lies in a person's inbox, and when has it been read?"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import datetime
from enum import StrEnum
from typing import ClassVar

from pydantic import BaseModel

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
)
from libs.common.events import Channel, NotificationRead, Sensitive, Urgency
from services.notify.domain.notification import Notification, fact
from services.notify.domain.people import all_ids, needs_person
from services.notify.domain.texts import Language, Rendered


class InboxStatus(StrEnum):
    UNREAD = "unread"
    READ = "read"


class InboxAction(StrEnum):
    READ = "read"


TRANSITIONS: dict[tuple[InboxStatus, InboxAction], InboxStatus] = {
    (InboxStatus.UNREAD, InboxAction.READ): InboxStatus.READ,
}


class InboxMessage(Document):
    """One message in one person's inbox; its id is the notification's.

    ``recipient_id`` is whom the request names, ``person_id`` who that was at the time.
    ``number`` counts the person's messages in the order of their commits, so that a live
    stream can go on after the last one seen. ``link`` may hold a secret: it goes when the
    notification is cancelled or expires.
    """

    COLLECTION: ClassVar[str] = "inbox_messages"

    status: InboxStatus = InboxStatus.UNREAD
    person_id: str
    recipient_id: str
    number: int
    patient_id: str | None
    template: str
    urgency: Urgency
    texts: Sensitive[Mapping[Language, Rendered]]
    link: Sensitive[str | None]
    at: datetime
    event_time: datetime
    read_at: datetime | None = None


def without_link(message: InboxMessage | None) -> list[InboxMessage]:
    """What changes when the link leads nowhere any more."""
    return [] if message is None or message.link is None else [message.but(link=None)]


class ReadMessage(BaseModel):
    """The command ``inbox.read``."""

    message_id: str


def needs_read(input: Input, state: State) -> Iterator[Need]:
    yield Need(InboxMessage, "id", input.data.message_id)
    yield Need(Notification, "id", input.data.message_id)
    if input.actor is not None:
        yield from needs_person(state, input.actor.person)


def decide_read(input: Input, state: State, env: Env) -> Answer:
    message = state.get(InboxMessage, input.data.message_id)
    notification = state.get(Notification, input.data.message_id)
    if (
        message is None
        or notification is None
        or input.actor is None
        or message.person_id not in all_ids(state, input.actor.person)
    ):
        return Refusal(Common.NOT_FOUND)
    if (message.status, InboxAction.READ) not in TRANSITIONS:
        return Decision(result=_read(message), note="already_read")
    message = message.but(status=TRANSITIONS[message.status, InboxAction.READ], read_at=env.now)
    told = fact(NotificationRead, notification, channel=Channel.INBOX, read_at=env.now)
    return Decision(changes=[message], events=[told], result=_read(message), note="read")


def _read(message: InboxMessage) -> dict[str, str | None]:
    read_at = message.read_at
    return {"id": message.id, "read_at": None if read_at is None else read_at.isoformat()}
