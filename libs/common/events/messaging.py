"""What does messaging tell about the groups' conversations (``messaging.events``)?

Only that something was said, by whom and when: the text stays in messaging.
"""

from __future__ import annotations

from enum import StrEnum
from typing import ClassVar

from pydantic import AwareDatetime, Field

from libs.common.events.base import Event, Id


class AuthorRole(StrEnum):
    """Who speaks in a group."""

    PATIENT = "patient"
    GUARDIAN = "guardian"
    RELATIVE = "relative"
    DOCTOR = "doctor"
    NURSE = "nurse"
    SYSTEM = "system"


class MessageKind(StrEnum):
    """What kind of message it is."""

    TEXT = "text"
    WELCOME = "welcome"
    RULES = "rules"
    EDUCATION = "education"
    NOTICE = "notice"


class MessagingFact(Event):
    """In which group it happened."""

    TOPIC: ClassVar[str] = "messaging.events"
    KEY: ClassVar[str] = "group_id"

    group_id: Id = Field(description="The group.")


class MessagePosted(MessagingFact):
    """A message stands in the group."""

    TYPE: ClassVar[str] = "hospital.message.posted.v1"
    SUBJECT: ClassVar[str] = "message_id"

    message_id: Id = Field(description="The message.")
    author_id: Id | None = Field(default=None, description="The person; absent for the system.")
    author_role: AuthorRole = Field(description="As what the author speaks.")
    kind: MessageKind = Field(default=MessageKind.TEXT, description="What kind of message it is.")
    addressee_id: Id | None = Field(
        default=None, description="The new member for whom a welcome or a sheet is meant."
    )
    reply_to: Id | None = Field(default=None, description="The message that it answers.")
    posted_at: AwareDatetime = Field(description="When.")


class QuestionFact(MessagingFact):
    """Which question it is about; a question is a message, and has its id."""

    SUBJECT: ClassVar[str] = "question_id"

    question_id: Id = Field(description="The question: the id of the message that asks.")
    patient_id: Id | None = Field(
        default=None, description="The patient whom it concerns, if known."
    )
    asked_by: Id = Field(description="The person who asks.")
    asked_at: AwareDatetime = Field(description="When it was asked.")


class QuestionAsked(QuestionFact):
    """A member wrote something that waits for an answer."""

    TYPE: ClassVar[str] = "hospital.question.asked.v1"

    due_at: AwareDatetime | None = Field(
        default=None, description="Until when an answer is promised."
    )


class QuestionAnswered(QuestionFact):
    """Staff answered a question."""

    TYPE: ClassVar[str] = "hospital.question.answered.v1"

    message_id: Id = Field(description="The message that answers.")
    answered_by: Id = Field(description="The member of staff.")
    answered_at: AwareDatetime = Field(description="When.")


class QuestionOverdue(QuestionFact):
    """Nobody answered in the time that was promised."""

    TYPE: ClassVar[str] = "hospital.question.overdue.v1"

    due_at: AwareDatetime = Field(description="Until when an answer was promised.")
