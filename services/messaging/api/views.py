"""What does somebody see of a group and its messages?

Staff see who writes, by name and id. Other members see each other by first character and
role only; themselves and the staff by name.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import datetime

from pydantic import BaseModel

from libs.common.events import AuthorRole, MessageKind, Relationship, Wording
from libs.common.http.words import Language
from services.messaging.domain.group import STAFF_ROLES, Group, Voice
from services.messaging.domain.message import Message, QuestionStatus
from services.messaging.domain.person import masked

Names = Mapping[str, str | None]


class GroupView(BaseModel):
    """A group. Before its opening is known it has no name yet."""

    id: str
    name: Wording | None
    department_code: str | None
    role: AuthorRole
    closed: bool
    last_number: int


class Author(BaseModel):
    """Who writes. For whom a guardian writes, ``patient_name`` says; ids are for staff."""

    role: AuthorRole
    name: str | None
    mine: bool
    relationship: Relationship | None
    patient_name: str | None
    person_id: str | None
    patient_id: str | None


class MessageView(BaseModel):
    """A message, a sheet in the reader's language. ``number`` is its place in the group."""

    id: str
    group_id: str
    number: int
    kind: MessageKind
    author: Author | None
    title: str | None
    text: str
    sheet: str | None
    only_for_me: bool
    reply_to: str | None
    sent_at: datetime
    question: QuestionStatus | None
    answer_id: str | None


class GroupDetail(GroupView):
    """A group with what stands above its messages: the rules and the education sheets."""

    pinned: list[MessageView]


class Posted(BaseModel):
    """What was posted, without its text."""

    id: str
    group_id: str
    number: int
    sent_at: datetime
    question: QuestionStatus | None


class QuestionView(BaseModel):
    """A question, for staff."""

    group_name: Wording | None
    message: MessageView


def group_view(group: Group, reader: Voice) -> GroupView:
    return GroupView(
        id=group.id,
        name=group.name,
        department_code=group.department_code,
        role=reader.role,
        closed=group.closed_at is not None,
        last_number=group.last_number,
    )


def named_in(messages: Iterable[Message]) -> set[str]:
    """Whose names these messages need."""
    return {id for m in messages for id in (m.author_id, m.patient_id) if id is not None}


def message_view(message: Message, reader: Voice, names: Names, language: Language) -> MessageView:
    sheet = message.sheet
    if sheet is None:
        title, text = None, message.text or ""
    elif language == "en":
        title, text = sheet.title.en, sheet.en
    else:
        title, text = sheet.title.zh, sheet.zh
    return MessageView(
        id=message.id,
        group_id=message.group_id,
        number=message.number,
        kind=message.kind,
        author=_author(message, reader, names),
        title=title,
        text=text,
        sheet=sheet.key if sheet else None,
        only_for_me=message.addressee_id in reader.same,
        reply_to=message.reply_to,
        sent_at=message.sent_at,
        question=message.question,
        answer_id=message.answer_id,
    )


def _author(message: Message, reader: Voice, names: Names) -> Author | None:
    id = message.author_id
    if id is None:
        return None
    mine = id in reader.same
    by_staff = message.author_role in STAFF_ROLES
    in_full = reader.is_staff or mine
    name, patient = names.get(id), names.get(message.patient_id or "")
    return Author(
        role=message.author_role,
        name=name if in_full or by_staff else masked(name),
        mine=mine,
        relationship=message.relationship,
        patient_name=patient if in_full else masked(patient),
        person_id=id if in_full or by_staff else None,
        patient_id=message.patient_id if in_full else None,
    )
