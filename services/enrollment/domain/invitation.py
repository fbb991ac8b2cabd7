"""What may become of an invitation, and who holds a seat because of it?

Every change of status goes through :func:`move`, which moves the seat and the person's
place in the programme with it. So a group's counters always equal the number of its open
and accepted invitations.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime
from enum import StrEnum
from hashlib import sha256
from typing import Any, ClassVar

from libs.common.decision import Document, Need, State, derived_id
from libs.common.events import (
    InvitationAccepted,
    InvitationDeclined,
    InvitationExpired,
    InvitationWithdrawn,
    MemberRole,
    NotificationCancelled,
    Relationship,
)
from services.enrollment.domain.draft import Draft
from services.enrollment.domain.group import Seat, needs_groups, reseat
from services.enrollment.domain.membership import (
    Membership,
    MembershipStatus,
    membership_id,
    place_of,
)
from services.enrollment.domain.patient import needs_person, needs_same


class InvitationStatus(StrEnum):
    OPEN = "open"
    ACCEPTED = "accepted"
    DECLINED = "declined"
    EXPIRED = "expired"
    WITHDRAWN = "withdrawn"
    LEFT = "left"


class Action(StrEnum):
    ACCEPT = "accept"
    DECLINE = "decline"
    EXPIRE = "expire"
    WITHDRAW = "withdraw"
    LEAVE = "leave"
    REISSUE = "reissue"


#: Everything else is refused. REISSUE is the staff's: a new token, and a seat if none is held.
TRANSITIONS: dict[tuple[InvitationStatus, Action], InvitationStatus] = {
    (InvitationStatus.OPEN, Action.ACCEPT): InvitationStatus.ACCEPTED,
    (InvitationStatus.OPEN, Action.DECLINE): InvitationStatus.DECLINED,
    (InvitationStatus.OPEN, Action.EXPIRE): InvitationStatus.EXPIRED,
    (InvitationStatus.OPEN, Action.WITHDRAW): InvitationStatus.WITHDRAWN,
    (InvitationStatus.OPEN, Action.REISSUE): InvitationStatus.OPEN,
    (InvitationStatus.ACCEPTED, Action.LEAVE): InvitationStatus.LEFT,
    (InvitationStatus.DECLINED, Action.REISSUE): InvitationStatus.OPEN,
    (InvitationStatus.EXPIRED, Action.REISSUE): InvitationStatus.OPEN,
    (InvitationStatus.WITHDRAWN, Action.REISSUE): InvitationStatus.OPEN,
    (InvitationStatus.LEFT, Action.REISSUE): InvitationStatus.OPEN,
}
SEAT: dict[InvitationStatus, Seat] = {
    InvitationStatus.OPEN: Seat.RESERVED,
    InvitationStatus.ACCEPTED: Seat.JOINED,
}
PLACE: dict[InvitationStatus, MembershipStatus] = {
    InvitationStatus.OPEN: MembershipStatus.INVITED,
    InvitationStatus.ACCEPTED: MembershipStatus.JOINED,
}


class Invitation(Document):
    """One person's invitation by one discharge. ``issue`` counts its tokens."""

    COLLECTION: ClassVar[str] = "invitations"

    status: InvitationStatus = InvitationStatus.OPEN
    patient_id: str
    person_id: str
    role: MemberRole
    relationship: Relationship | None = None
    language: str | None = None
    programme_id: str
    group_id: str
    group_number: int
    department_code: str
    encounter_id: str
    discharge_source: str
    discharge_event_id: str
    discharged_at: datetime
    issue: int = 1
    token_hash: str
    issued_at: datetime
    expires_at: datetime
    closed_at: datetime | None = None
    closed_because: str | None = None


def needs_invitation(state: State, invitation: Invitation) -> Iterator[Need]:
    """What it takes to change the status of ``invitation``."""
    yield from needs_groups(invitation.department_code)
    yield from needs_same(state, invitation.patient_id)
    yield from needs_person(state, invitation.person_id)


def hash_of(token: str) -> str:
    return sha256(token.encode()).hexdigest()


def hospital_of(token: str) -> str | None:
    """The hospital that a token names; None for what can't be one of our tokens."""
    hospital, _, secret = token.rpartition(".")
    return hospital if hospital and secret else None


def move(
    draft: Draft, invitation: Invitation, action: Action, group_id: str = "", **changes: Any
) -> Invitation:
    """Take the transition, which must exist, with the seat and the person's place."""
    status = TRANSITIONS[(invitation.status, action)]
    moved: Invitation = invitation.but(
        status=status, group_id=group_id or invitation.group_id, **changes
    )
    hold(draft, draft.put(moved), SEAT.get(invitation.status), SEAT.get(status))
    return moved


def hold(draft: Draft, invitation: Invitation, before: Seat | None, after: Seat | None) -> None:
    """Let the seat and the person's place follow the invitation's status."""
    reseat(draft, invitation.group_id, before, after)
    id = membership_id(draft.hospital, invitation.person_id, invitation.programme_id)
    known = place_of(draft, invitation.person_id, invitation.programme_id)
    place = PLACE.get(invitation.status, MembershipStatus.GONE)
    joined_at = draft.now if place is MembershipStatus.JOINED else None
    left_at = None
    if known is not None and before is Seat.JOINED:
        joined_at, left_at = known.joined_at, draft.now
    draft.put(
        Membership(
            id=id,
            hospital=draft.hospital,
            version=known.version if known else 0,
            person_id=invitation.person_id,
            programme_id=invitation.programme_id,
            patient_id=invitation.patient_id,
            department_code=invitation.department_code,
            group_id=invitation.group_id,
            role=invitation.role,
            status=place,
            invitation_id=invitation.id,
            joined_at=joined_at,
            left_at=left_at,
            also=known.also if known and known.invitation_id == invitation.id else (),
        )
    )


def accept(draft: Draft, invitation: Invitation) -> Invitation:
    invitation = move(draft, invitation, Action.ACCEPT, closed_at=draft.now)
    draft.emit(InvitationAccepted(**about(invitation), accepted_at=draft.now), invitation)
    return invitation


def decline(draft: Draft, invitation: Invitation) -> Invitation:
    invitation = move(draft, invitation, Action.DECLINE, closed_at=draft.now)
    draft.emit(InvitationDeclined(**about(invitation), declined_at=draft.now), invitation)
    return invitation


def expire(draft: Draft, invitation: Invitation) -> Invitation:
    invitation = move(draft, invitation, Action.EXPIRE, closed_at=draft.now)
    draft.emit(InvitationExpired(**about(invitation), expired_at=draft.now), invitation)
    return invitation


def withdraw(draft: Draft, invitation: Invitation, reason: str) -> Invitation:
    """The hospital's act; a notification that has not been told yet is called back."""
    invitation = move(
        draft, invitation, Action.WITHDRAW, closed_at=draft.now, closed_because=reason
    )
    draft.emit(
        InvitationWithdrawn(**about(invitation), withdrawn_at=draft.now, reason=reason), invitation
    )
    cancel_notification(draft, invitation, reason)
    return invitation


def cancel_notification(draft: Draft, invitation: Invitation, reason: str) -> None:
    draft.emit(
        NotificationCancelled(
            notification_id=notification_id(invitation),
            recipient_id=invitation.person_id,
            reason=reason,
            cancelled_at=draft.now,
        )
    )


def notification_id(invitation: Invitation) -> str:
    return derived_id(invitation.hospital, "invitation.issued", invitation.id, invitation.issue)


def about(invitation: Invitation) -> dict[str, Any]:
    """The fields that all events about an invitation share."""
    return {
        "invitation_id": invitation.id,
        "patient_id": invitation.patient_id,
        "person_id": invitation.person_id,
        "role": invitation.role,
        "group_id": invitation.group_id,
        "programme_id": invitation.programme_id,
        "group_number": invitation.group_number,
        "department_code": invitation.department_code,
        "encounter_id": invitation.encounter_id,
        "discharge_event_id": invitation.discharge_event_id,
        "language": invitation.language,
        "expires_at": invitation.expires_at,
    }
