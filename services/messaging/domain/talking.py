"""What may be said in a group, and when is a question answered?

Whatever a member says waits for an answer, unless it is a reply or the writer says that it
does not; the group's doctor and nurse are told. An answer is a reply by staff. No wording
is guessed at: "my arm is numb" needs an answer as much as a question does. The text goes
into no event and no notification.
"""

from __future__ import annotations

from collections.abc import Iterator
from enum import StrEnum
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, StringConstraints

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
    derived_id,
)
from libs.common.events import NotificationRequested, QuestionAnswered, QuestionAsked, Sensitive
from libs.common.events.base import Id
from services.messaging.domain.group import Group, Voice, needs_voice, voice_in
from services.messaging.domain.message import ANSWERED, Message, Posting
from services.messaging.domain.policy import Policy

#: Characters of one message: a phone's screen or three.
TEXT_MAX = 2000
QUESTION_ASKED = "question.asked"
QUESTION_ANSWERED = "question.answered"


class Reason(StrEnum):
    """Why something can't be said."""

    GROUP_CLOSED = "group_closed"
    REPLY_NOT_FOUND = "reply_not_found"


Text = Annotated[str, StringConstraints(strip_whitespace=True, min_length=1, max_length=TEXT_MAX)]


class PostMessage(BaseModel):
    """What somebody says."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    text: Sensitive[Text] = Field(description="Up to 2000 characters.")
    reply_to: Id | None = Field(default=None, description="The message that it answers.")
    question: bool | None = Field(
        default=None,
        description="Whether a member's text waits for an answer of staff; if absent, it does"
        " unless it is a reply.",
    )


def needs_post(input: Input, state: State) -> Iterator[Need]:
    data: PostMessage = input.data
    if input.actor is not None:
        yield from needs_voice(state, input.subject, input.actor)
    yield Need(Message, "id", message_id(input))
    if data.reply_to is not None:
        yield Need(Message, "id", data.reply_to)


def decide_post(input: Input, state: State, env: Env) -> Answer:
    data: PostMessage = input.data
    if input.actor is None:
        return Refusal(Common.NOT_FOUND)
    group = state.get(Group, input.subject)
    speaker = None if group is None else voice_in(state, group, input.actor)
    if group is None or speaker is None:
        return Refusal(Common.NOT_FOUND)
    if group.closed_at is not None:
        return Refusal(Reason.GROUP_CLOSED)
    replied = None if data.reply_to is None else state.get(Message, data.reply_to)
    if data.reply_to is not None and (replied is None or not may_see(replied, group, speaker)):
        return Refusal(Reason.REPLY_NOT_FOUND)
    posting = Posting(group, env.now)
    message = posting.text(
        message_id(input),
        speaker,
        data.text,
        reply_to=data.reply_to,
        question=not speaker.is_staff and asks(data),
    )
    changes, events = [*posting.messages], posting.events
    if message.question is not None:
        events += _asked(message, posting.group, env)
    if replied is not None and replied.question in ANSWERED and speaker.is_staff:
        answered = replied.but(
            question=ANSWERED[replied.question],
            answer_id=message.id,
            answered_by=speaker.person_id,
            answered_at=env.now,
        )
        changes.append(answered)
        events += _answered(answered, env)
    result = {
        "id": message.id,
        "group_id": group.id,
        "number": message.number,
        "sent_at": message.sent_at.isoformat(),
        "question": message.question,
    }
    return Decision((posting.group, *changes), events, result=result, note="posted")


def message_id(input: Input) -> str:
    return derived_id("message", input.source, input.id)


def asks(data: PostMessage) -> bool:
    if data.question is not None:
        return data.question
    return data.reply_to is None


def may_see(message: Message, group: Group, reader: Voice) -> bool:
    """Of ``group``; what is meant for one member is seen by that one and by staff."""
    if message.group_id != group.id:
        return False
    return reader.is_staff or message.addressee_id is None or message.addressee_id in reader.same


def _asked(message: Message, group: Group, env: Env) -> list[Emit]:
    fact = QuestionAsked(**_question(message))
    return [Emit(fact, about=message), *tell_staff(message, group, env)]


def tell_staff(message: Message, group: Group, env: Env) -> list[Emit]:
    """Of a question; before the opening is known there are none, so it tells them then."""
    policy: Policy = env.policy
    told = [
        NotificationRequested(
            notification_id=derived_id(QUESTION_ASKED, message.id, s.practitioner_id),
            recipient_id=s.practitioner_id,
            patient_id=message.patient_id,
            template=QUESTION_ASKED,
            dedupe_key=f"question:{message.id}",
            event_time=message.sent_at,
            expires_at=message.sent_at + policy.at(env.now).question.told_for,
        )
        for s in group.staff
    ]
    return [*map(Emit, told)]


def _answered(question: Message, env: Env) -> list[Emit]:
    policy: Policy = env.policy
    fact = QuestionAnswered(
        **_question(question),
        message_id=question.answer_id or "",
        answered_by=question.answered_by or "",
        answered_at=env.now,
    )
    told = NotificationRequested(
        notification_id=derived_id(QUESTION_ANSWERED, question.id),
        recipient_id=question.author_id or "",
        patient_id=question.patient_id,
        template=QUESTION_ANSWERED,
        health_data=True,
        dedupe_key=f"answer:{question.id}",
        event_time=env.now,
        expires_at=env.now + policy.at(env.now).answer.told_for,
    )
    return [Emit(fact, about=question), Emit(told)]


def _question(message: Message) -> dict[str, Any]:
    return {
        "group_id": message.group_id,
        "question_id": message.id,
        "patient_id": message.patient_id,
        "asked_by": message.author_id,
        "asked_at": message.sent_at,
    }
