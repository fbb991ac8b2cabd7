"""What is a message, and which documents does posting one change?"""

from __future__ import annotations

from datetime import datetime
from enum import StrEnum
from typing import ClassVar

from pydantic import BaseModel, ConfigDict

from libs.common.decision import Document, Emit, derived_id
from libs.common.events import (
    AuthorRole,
    MessageKind,
    MessagePosted,
    Relationship,
    Sensitive,
    Wording,
)
from services.messaging.domain.group import Group, Voice
from services.messaging.domain.policy import Sheet


class QuestionStatus(StrEnum):
    """Of a message that asks."""

    UNANSWERED = "unanswered"
    ANSWERED = "answered"


#: What an answer of the group's staff makes of a question. Further answers change nothing.
ANSWERED: dict[QuestionStatus, QuestionStatus] = {
    QuestionStatus.UNANSWERED: QuestionStatus.ANSWERED,
}


class SheetText(BaseModel):
    """A sheet as it was posted; later versions of it change nothing here."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    key: str
    version: str
    title: Wording
    zh: str
    en: str


class Message(Document):
    """One message. ``number`` counts within the group and is the order of reading."""

    COLLECTION: ClassVar[str] = "messages"

    group_id: str
    number: int
    kind: MessageKind
    sent_at: datetime
    author_id: str | None = None
    author_role: AuthorRole = AuthorRole.SYSTEM
    #: On whose account the author is in the group.
    patient_id: str | None = None
    relationship: Relationship | None = None
    #: For one member's eyes (and the staff's): a welcome.
    addressee_id: str | None = None
    text: Sensitive[str | None] = None
    sheet: SheetText | None = None
    reply_to: str | None = None
    question: QuestionStatus | None = None
    answer_id: str | None = None
    answered_by: str | None = None
    answered_at: datetime | None = None


def sheet_message_id(hospital: str, group_id: str, key: str) -> str:
    return derived_id("sheet", hospital, group_id, key)


def welcome_id(hospital: str, group_id: str, member_id: str) -> str:
    return derived_id("welcome", hospital, group_id, member_id)


class Posting:
    """The messages that one decision adds to one group, numbered as they come."""

    def __init__(self, group: Group, now: datetime) -> None:
        self.group = group
        self.messages: list[Message] = []
        self._now = now

    def sheet(self, id: str, sheet: Sheet, addressee_id: str | None = None) -> None:
        self._add(
            Message(
                id=id,
                hospital=self.group.hospital,
                group_id=self.group.id,
                number=self.group.last_number + 1,
                kind=sheet.kind,
                sent_at=self._now,
                addressee_id=addressee_id,
                sheet=SheetText(**sheet.model_dump(include=set(SheetText.model_fields))),
            )
        )

    def text(
        self, id: str, voice: Voice, text: str, *, reply_to: str | None, question: bool
    ) -> Message:
        return self._add(
            Message(
                id=id,
                hospital=self.group.hospital,
                group_id=self.group.id,
                number=self.group.last_number + 1,
                kind=MessageKind.TEXT,
                sent_at=self._now,
                author_id=voice.person_id,
                author_role=voice.role,
                patient_id=voice.patient_id,
                relationship=voice.relationship,
                text=text,
                reply_to=reply_to,
                question=QuestionStatus.UNANSWERED if question else None,
            )
        )

    def _add(self, message: Message) -> Message:
        self.messages.append(message)
        self.group = self.group.but(last_number=message.number)
        return message

    @property
    def events(self) -> list[Emit]:
        return [Emit(_posted(m), about=m) for m in self.messages]


def _posted(message: Message) -> MessagePosted:
    return MessagePosted(
        group_id=message.group_id,
        message_id=message.id,
        author_id=message.author_id,
        author_role=message.author_role,
        kind=message.kind,
        addressee_id=message.addressee_id,
        reply_to=message.reply_to,
        posted_at=message.sent_at,
    )
