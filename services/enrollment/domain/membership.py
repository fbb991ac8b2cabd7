"""Who has a place in which programme?

One document for a person and a programme: it is written whenever the person is invited,
joins or leaves, so there is never a second invitation beside an open one or a membership.
"""

from __future__ import annotations

from datetime import datetime
from enum import StrEnum
from typing import ClassVar

from pydantic import BaseModel, ConfigDict

from libs.common.decision import Document, derived_id
from libs.common.events import MemberRole
from services.enrollment.domain.draft import Draft
from services.enrollment.domain.link import Link


class MembershipStatus(StrEnum):
    INVITED = "invited"
    JOINED = "joined"
    GONE = "gone"


class Account(BaseModel):
    """A further patient for whom the person is in the programme, and by which link."""

    model_config = ConfigDict(frozen=True)

    patient_id: str
    link: Link


class Membership(Document):
    """A person's place in a programme, by their latest invitation.

    ``also`` are patients for whom nobody had to be invited: the person has this place.
    """

    COLLECTION: ClassVar[str] = "memberships"

    person_id: str
    programme_id: str
    patient_id: str
    department_code: str
    group_id: str
    role: MemberRole
    status: MembershipStatus
    invitation_id: str
    joined_at: datetime | None = None
    left_at: datetime | None = None
    also: tuple[Account, ...] = ()


def membership_id(hospital: str, person: str, programme: str) -> str:
    return derived_id(hospital, "membership", person, programme)


def place_of(draft: Draft, person: str, programme: str) -> Membership | None:
    """The person's place in a programme, by this id. Needs: by person."""
    found = draft.where(Membership, "person_id", person)
    return next((m for m in found if m.programme_id == programme), None)


def has_place(draft: Draft, person: str, programme: str) -> bool:
    place = place_of(draft, person, programme)
    return place is not None and place.status is not MembershipStatus.GONE
