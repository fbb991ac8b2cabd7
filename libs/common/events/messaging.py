"""What does messaging tell about the groups' conversations (``messaging.events``)?

Only that something was said, by whom and when: the text stays in messaging.
"""

from __future__ import annotations

from enum import StrEnum
from typing import ClassVar

from pydantic import AwareDatetime, Field

from libs.common.events.base import Event, Id, Word


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


class MessageFlagged(MessagingFact):
    """A rule of the group or a member took exception to a message."""

    TYPE: ClassVar[str] = "hospital.message.flagged.v1"
    DRAFT: ClassVar[bool] = True
    SUBJECT: ClassVar[str] = "message_id"

    message_id: Id = Field(description="The message.")
    author_id: Id | None = Field(default=None, description="The person; absent for the system.")
    flagged_by: Id | None = Field(default=None, description="The person; absent for a rule.")
    reason: Word = Field(description="urgent_symptom, diagnosing, prescribing, privacy, ...")
    flagged_at: AwareDatetime = Field(description="When.")


class BroadcastSent(MessagingFact):
    """Staff sent one message to a whole group."""

    TYPE: ClassVar[str] = "hospital.broadcast.sent.v1"
    DRAFT: ClassVar[bool] = True
    SUBJECT: ClassVar[str] = "broadcast_id"

    broadcast_id: Id = Field(description="The broadcast; the same in all its groups.")
    message_id: Id = Field(description="The message in this group.")
    sent_by: Id = Field(description="The member of staff.")
    kind: MessageKind = Field(description="What kind of message it is.")
    sent_at: AwareDatetime = Field(description="When.")


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


class QuestionClaimed(QuestionFact):
    """A member of staff took a question on."""

    TYPE: ClassVar[str] = "hospital.question.claimed.v1"
    DRAFT: ClassVar[bool] = True

    claimed_by: Id = Field(description="The member of staff.")
    claimed_at: AwareDatetime = Field(description="When.")


class QuestionAnswered(QuestionFact):
    """Staff answered a question."""

    TYPE: ClassVar[str] = "hospital.question.answered.v1"

    message_id: Id = Field(description="The message that answers.")
    answered_by: Id = Field(description="The member of staff.")
    answered_at: AwareDatetime = Field(description="When.")


class QuestionOverdue(QuestionFact):
    """Nobody answered in the time that was promised."""

    TYPE: ClassVar[str] = "hospital.question.overdue.v1"
    DRAFT: ClassVar[bool] = True

    due_at: AwareDatetime = Field(description="Until when an answer was promised.")


class EscalationFact(MessagingFact):
    """Which call for help it is about."""

    SUBJECT: ClassVar[str] = "escalation_id"

    escalation_id: Id = Field(description="The call for help.")
    patient_id: Id | None = Field(default=None, description="The patient, if known.")
    message_id: Id | None = Field(default=None, description="The message that brought it about.")
    level: int = Field(ge=1, le=9, description="1 is the first who are called; it grows.")


class EscalationRaised(EscalationFact):
    """Somebody is called who must act: an emergency, or nobody has answered."""

    TYPE: ClassVar[str] = "hospital.escalation.raised.v1"
    DRAFT: ClassVar[bool] = True

    reason: Word = Field(description="urgent_symptom, question_overdue, ...")
    called: tuple[Id, ...] = Field(default=(), max_length=64, description="Who is called.")
    raised_at: AwareDatetime = Field(description="When.")
    due_at: AwareDatetime | None = Field(
        default=None, description="Until when somebody must have acknowledged it."
    )


class EscalationAcknowledged(EscalationFact):
    """Somebody has taken it on."""

    TYPE: ClassVar[str] = "hospital.escalation.acknowledged.v1"
    DRAFT: ClassVar[bool] = True

    acknowledged_by: Id = Field(description="The member of staff.")
    acknowledged_at: AwareDatetime = Field(description="When.")


class EscalationResolved(EscalationFact):
    """It is settled."""

    TYPE: ClassVar[str] = "hospital.escalation.resolved.v1"
    DRAFT: ClassVar[bool] = True

    resolved_by: Id = Field(description="The member of staff.")
    outcome: Word = Field(description="answered, sent_to_hospital, false_alarm, ...")
    resolved_at: AwareDatetime = Field(description="When.")
