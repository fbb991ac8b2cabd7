"""Which group has a seat, and how many are taken?

The group's document is its seat counter: every reservation, joining and leaving writes
it, so the limit holds whoever else is deciding. Groups of a programme are numbered;
two replicas that open the next one at once insert the same id, and one of them loads again.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime
from enum import StrEnum
from typing import ClassVar

from libs.common.decision import Document, Need
from libs.common.events import GroupClosed, GroupFull, GroupOpened, Wording
from services.enrollment.domain.draft import Draft
from services.enrollment.domain.programme import Programme


class GroupStatus(StrEnum):
    OPEN = "open"
    CLOSED = "closed"


class Seat(StrEnum):
    """How a seat is held: named like the group's two counters."""

    RESERVED = "reserved"
    JOINED = "joined"


class Group(Document):
    """One group of a programme. ``reserved + joined <= limit`` always."""

    COLLECTION: ClassVar[str] = "groups"

    programme_id: str
    number: int
    department_code: str
    name: Wording
    rules_sheet: str
    limit: int
    reserved: int = 0
    joined: int = 0
    status: GroupStatus = GroupStatus.OPEN
    opened_at: datetime
    closed_at: datetime | None = None

    @property
    def room(self) -> int:
        return 0 if self.status is GroupStatus.CLOSED else self.limit - self.reserved - self.joined


def needs_groups(department: str) -> Iterator[Need]:
    yield Need(Group, "department_code", department)


def find_seats(draft: Draft, programme: Programme, wanted: int) -> Group:
    """A group with room for a family of ``wanted``, or for one if no group could hold them.

    The lowest number first, so that seats that were freed are filled again; else the
    next group is opened.
    """
    groups = sorted(
        (
            g
            for g in draft.where(Group, "department_code", programme.department)
            if g.programme_id == programme.id
        ),
        key=lambda g: g.number,
    )
    enough = wanted if wanted <= draft.policy.limit(programme) else 1
    for group in groups:
        if group.room >= enough:
            return group
    return _open(draft, programme, number=groups[-1].number + 1 if groups else 1)


def _open(draft: Draft, programme: Programme, number: int) -> Group:
    group = draft.put(
        Group(
            id=f"{programme.id}:{number}",
            hospital=draft.hospital,
            programme_id=programme.id,
            number=number,
            department_code=programme.department,
            name=Wording(zh=f"{programme.name.zh} {number}", en=f"{programme.name.en} {number}"),
            rules_sheet=programme.sheets.rules,
            limit=draft.policy.limit(programme),
            opened_at=draft.now,
        )
    )
    draft.emit(
        GroupOpened(
            group_id=group.id,
            programme_id=programme.id,
            number=number,
            name=group.name,
            department_code=programme.department,
            limit=group.limit,
            staff=programme.group_staff,
            welcome_sheet=programme.sheets.welcome,
            rules_sheet=programme.sheets.rules,
            education_sheets=programme.sheets.education,
            opened_at=draft.now,
        ),
        group,
    )
    return group


def reseat(draft: Draft, group_id: str, before: Seat | None, after: Seat | None) -> Group:
    """Move one seat of a group from one counter to the other, or take or free it."""
    group = draft.the(Group, group_id)
    if before is after:
        return group
    if before is None and group.room < 1:
        raise ValueError("a seat was promised in a group that has none")
    seats = {Seat.RESERVED: group.reserved, Seat.JOINED: group.joined}
    if before is not None:
        seats[before] -= 1
    if after is not None:
        seats[after] += 1
    if min(seats.values()) < 0:
        raise ValueError("a seat was freed twice")
    had_room = group.room > 0
    changed: Group = group.but(reserved=seats[Seat.RESERVED], joined=seats[Seat.JOINED])
    draft.put(changed)
    if had_room and changed.room == 0:
        draft.emit(
            GroupFull(
                group_id=group.id,
                programme_id=group.programme_id,
                number=group.number,
                limit=group.limit,
                full_at=draft.now,
            ),
            changed,
        )
    return changed


def close(draft: Draft, group: Group, reason: str) -> Group:
    """No seat is given from now on; those who are in must be let go by the caller."""
    closed: Group = group.but(status=GroupStatus.CLOSED, closed_at=draft.now)
    draft.emit(
        GroupClosed(
            group_id=group.id,
            programme_id=group.programme_id,
            number=group.number,
            closed_at=draft.now,
            reason=reason,
        ),
        draft.put(closed),
    )
    return closed
