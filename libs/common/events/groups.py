"""What does enrollment tell about patient groups (``enrollment.groups``)?

There is no order between this topic and the members of ``enrollment.events``.
"""

from __future__ import annotations

from enum import StrEnum
from typing import ClassVar

from pydantic import AwareDatetime, Field

from libs.common.events.base import Code, Event, EventModel, Id, Line, Word


class GroupStaffRole(StrEnum):
    """What a member of staff does in a group."""

    DOCTOR = "doctor"
    NURSE = "nurse"


class Wording(EventModel):
    """One line in both languages of the platform."""

    zh: Line = Field(description="Chinese (zh-CN).")
    en: Line = Field(description="English.")


class GroupStaff(EventModel):
    """One of the staff who are in the group from its opening."""

    practitioner_id: Id = Field(description="The practitioner; also their own person id.")
    role: GroupStaffRole = Field(description="What they do there.")


class GroupFact(Event):
    """Which group it is about."""

    TOPIC: ClassVar[str] = "enrollment.groups"
    KEY: ClassVar[str] = "group_id"
    SUBJECT: ClassVar[str] = "group_id"

    group_id: Id = Field(description="The group.")
    programme_id: Id = Field(description="Its programme.")
    number: int = Field(ge=1, description="Its number within the programme.")


class GroupOpened(GroupFact):
    """A group exists and takes members."""

    TYPE: ClassVar[str] = "hospital.group.opened.v1"

    name: Wording = Field(description="What it is called.")
    department_code: Code = Field(description="The department that runs it.")
    limit: int = Field(ge=1, le=10_000, description="Seats for patients and relatives.")
    staff: tuple[GroupStaff, ...] = Field(
        default=(), max_length=32, description="The programme's doctor and nurse."
    )
    welcome_sheet: Word = Field(description="Key of the text that greets a new member.")
    rules_sheet: Word = Field(description="Key of the group's rules.")
    education_sheets: tuple[Word, ...] = Field(
        default=(), max_length=16, description="Keys of what a new member should read."
    )
    opened_at: AwareDatetime = Field(description="When it opened.")


class GroupFull(GroupFact):
    """The last seat was taken or reserved; the next invitation goes to another group."""

    TYPE: ClassVar[str] = "hospital.group.full.v1"

    limit: int = Field(ge=1, le=10_000, description="Its seats.")
    full_at: AwareDatetime = Field(description="When it was full.")


class GroupClosed(GroupFact):
    """The group takes nobody any more and falls silent."""

    TYPE: ClassVar[str] = "hospital.group.closed.v1"

    closed_at: AwareDatetime = Field(description="When it closed.")
    reason: Word = Field(description="Why it closed.")
