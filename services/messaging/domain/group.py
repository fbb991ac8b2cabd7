"""What is a group, who is in it, and who may read and speak there?

A group is made by ``group.opened`` or by its first member, whichever comes first. Its
document is small and counts its messages: every message takes the next number under the
document's version. So numbers follow the order of commits without gaps, and a reader who
has seen number 41 never misses one that commits later. A time could not promise that:
two replicas' clocks differ, and a message with an earlier time may commit after a page
was read. The price is that posts to one group wait for one another; they share
transactions, and a group hears a few messages a minute.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import ClassVar, Final

from libs.common.decision import Actor, Document, Need, State
from libs.common.events import AuthorRole, GroupStaff, MemberRole, Relationship, Wording
from services.messaging.domain.person import needs_same, same_person

STAFF_ROLES: Final = (AuthorRole.DOCTOR, AuthorRole.NURSE)


class Group(Document):
    """One group. Until ``opened_at`` is known only its id is."""

    COLLECTION: ClassVar[str] = "groups"

    programme_id: str
    name: Wording | None = None
    department_code: str | None = None
    staff: tuple[GroupStaff, ...] = ()
    welcome_sheet: str | None = None
    #: The messages that stand above all others: the rules and the education sheets.
    pinned: tuple[str, ...] = ()
    opened_at: datetime | None = None
    closed_at: datetime | None = None
    last_number: int = 0


class Member(Document):
    """A place in a group: of a person of the patients' side, or of one of its staff.

    ``as_of`` is the time of the fact that holds: later facts win, older ones are stale.
    """

    COLLECTION: ClassVar[str] = "members"

    group_id: str
    person_id: str
    role: AuthorRole
    active: bool
    as_of: datetime
    patient_id: str | None = None
    relationship: Relationship | None = None

    @staticmethod
    def id_of_staff(group_id: str, practitioner_id: str) -> str:
        return f"{group_id}|{practitioner_id}"  # no id holds a bar


#: How a member of the patients' side speaks.
SPEAKS_AS: Final = {
    MemberRole.PATIENT: AuthorRole.PATIENT,
    MemberRole.GUARDIAN: AuthorRole.GUARDIAN,
    MemberRole.RELATIVE: AuthorRole.RELATIVE,
}


@dataclass(frozen=True, slots=True)
class Voice:
    """As what somebody reads and speaks in a group; ``same`` are all ids of this person."""

    person_id: str
    role: AuthorRole
    same: frozenset[str]
    patient_id: str | None = None
    relationship: Relationship | None = None

    @property
    def is_staff(self) -> bool:
        return self.role in STAFF_ROLES


def voice(
    group: Group, places: Sequence[Member], actor: Actor, same: frozenset[str]
) -> Voice | None:
    """The voice of ``actor``, whose places anywhere are ``places``; None: not their group.

    Doctors and nurses of the group's department may come into it besides its own.
    """
    here = [m for m in places if m.group_id == group.id and m.active]
    if here:
        # Staff first: a doctor who is also a patient here speaks as what they are known as.
        place = min(here, key=lambda m: (m.role not in STAFF_ROLES, m.id))
        return Voice(place.person_id, place.role, same, place.patient_id, place.relationship)
    if group.department_code in actor.departments:
        for role in STAFF_ROLES:
            if actor.has(role):
                return Voice(actor.person, role, same)
    return None


def needs_voice(state: State, group_id: str, actor: Actor) -> Iterator[Need]:
    yield Need(Group, "id", group_id)
    yield from needs_same(state, actor.person)
    for id in same_person(state, actor.person):
        yield Need(Member, "person_id", id)


def voice_in(state: State, group: Group, actor: Actor) -> Voice | None:
    same = same_person(state, actor.person)
    places = [m for id in sorted(same) for m in state.where(Member, "person_id", id)]
    return voice(group, places, actor, same)
