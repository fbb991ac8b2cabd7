"""A hospital with a group, for the tests of the rules."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from functools import cache
from pathlib import Path
from typing import Any

from libs.common.decision import Actor, Answer
from libs.common.events import (
    GroupOpened,
    GroupStaff,
    GroupStaffRole,
    MemberJoined,
    MemberLeft,
    MemberMoved,
    MemberRole,
    Wording,
)
from services.messaging.domain.message import Message
from services.messaging.domain.policy import Policy
from services.messaging.domain.talking import PostMessage
from services.messaging.handlers import HANDLERS, POST
from services.messaging.main import load_policy
from services.messaging.settings import Settings
from services.messaging.store import COLLECTIONS
from tests.support.rules import Case

NOW = datetime(2026, 3, 2, 9, 0, tzinfo=UTC)
MINUTE = timedelta(minutes=1)
HOUR = timedelta(hours=1)

DOCTOR = Actor("dr1", frozenset({"doctor"}))
NURSE = Actor("n1", frozenset({"nurse"}))
DEPARTMENT = Actor("dr2", frozenset({"doctor"}), frozenset({"NEURO"}))
OTHER_DOCTOR = Actor("dr9", frozenset({"doctor"}), frozenset({"CARDIO"}))
MEMBER = Actor("p1", frozenset({"patient"}))
OTHER_MEMBER = Actor("p2", frozenset({"patient"}))
STRANGER = Actor("x1", frozenset({"patient", "guardian"}), frozenset({"NEURO"}))


@cache
def policy() -> Policy:
    return load_policy(Settings(policies_dir=Path("policies")))


def hospital() -> Case:
    return Case(HANDLERS, policy(), now=NOW, collections=COLLECTIONS)


def opened(group: str = "g1", at: datetime = NOW, **more: Any) -> GroupOpened:
    fields: dict[str, Any] = {
        "group_id": group,
        "programme_id": "stroke",
        "number": 1,
        "name": Wording(zh="脑卒中病友群 1", en="Stroke 1"),
        "department_code": "NEURO",
        "limit": 200,
        "staff": (
            GroupStaff(practitioner_id="dr1", role=GroupStaffRole.DOCTOR),
            GroupStaff(practitioner_id="n1", role=GroupStaffRole.NURSE),
        ),
        "welcome_sheet": "welcome.default",
        "rules_sheet": "rules.default",
        "education_sheets": ("stroke.home", "stroke.warning-signs"),
        "opened_at": at,
        **more,
    }
    return GroupOpened(**fields)


def _member(person: str, group: str, **more: Any) -> dict[str, Any]:
    return {
        "member_id": f"m-{person}",
        "patient_id": person,
        "person_id": person,
        "role": MemberRole.PATIENT,
        "group_id": group,
        "programme_id": "stroke",
        **more,
    }


def joined(person: str = "p1", group: str = "g1", at: datetime = NOW, **more: Any) -> MemberJoined:
    return MemberJoined(group_number=1, joined_at=at, **_member(person, group, **more))


def moved(person: str = "p1", to: str = "g2", at: datetime = NOW + HOUR) -> MemberMoved:
    return MemberMoved(from_group_id="g1", group_number=2, moved_at=at, **_member(person, to))


def left(person: str = "p1", group: str = "g1", at: datetime = NOW + HOUR) -> MemberLeft:
    return MemberLeft(left_at=at, reason="left", **_member(person, group))


def running() -> Case:
    """A group that is open, with two members."""
    case = hospital()
    for event in (opened(), joined("p1"), joined("p2")):
        case.event(event)
    return case


def say(case: Case, actor: Actor | None, text: str, group: str = "g1", **more: Any) -> Answer:
    key = {k: more.pop(k) for k in ("id",) if k in more}
    data = PostMessage(text=text, **more)
    return case.command(POST, data, actor=actor, subject=group, **key)


def messages(case: Case, group: str = "g1") -> list[Message]:
    return sorted(case.docs(Message, group_id=group), key=lambda m: m.number)
