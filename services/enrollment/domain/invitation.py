"""What may become of an invitation, and who holds a seat because of it?

Every change of status goes through :func:`move`, which moves the seat and the person's
place in the programme with it. So a group's counters always equal the number of its open
and accepted invitations.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from hashlib import sha256
from typing import Any, ClassVar

from libs.common.decision import Document, Need, State, Timer, derived_id
from libs.common.events import (
    InvitationAccepted,
    InvitationDeclined,
    InvitationExpired,
    InvitationIssued,
    InvitationWithdrawn,
    MemberRole,
    NotificationCancelled,
    NotificationRequested,
    Relationship,
)
from services.enrollment.domain.draft import Draft
from services.enrollment.domain.group import Group, Seat, needs_groups, reseat
from services.enrollment.domain.membership import (
    Membership,
    MembershipStatus,
    membership_id,
    place_of,
)
from services.enrollment.domain.patient import needs_person, needs_same

EXPIRE_TIMER = "invitation.expire"


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
    _hold(draft, draft.put(moved), SEAT.get(invitation.status), SEAT.get(status))
    return moved


def _hold(draft: Draft, invitation: Invitation, before: Seat | None, after: Seat | None) -> None:
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
        )
    )


@dataclass(frozen=True, slots=True)
class Cause:
    """The discharge that invites."""

    source: str
    event_id: str
    encounter_id: str
    discharged_at: datetime


@dataclass(frozen=True, slots=True)
class Invitee:
    """Who is invited, on whose account, as what."""

    patient_id: str
    person_id: str
    role: MemberRole
    relationship: Relationship | None = None
    language: str | None = None


def invitation_id(hospital: str, cause: Cause, person: str) -> str:
    return derived_id(
        hospital, "invitation", cause.encounter_id, cause.source, cause.event_id, person
    )


def issue(draft: Draft, cause: Cause, whom: Invitee, group: Group) -> Invitation:
    """Invite, reserve the seat, tell the person, and wake up when it expires."""
    token = f"{draft.hospital}.{draft.env.secret()}"
    invitation = draft.put(
        Invitation(
            id=invitation_id(draft.hospital, cause, whom.person_id),
            hospital=draft.hospital,
            patient_id=whom.patient_id,
            person_id=whom.person_id,
            role=whom.role,
            relationship=whom.relationship,
            language=whom.language,
            programme_id=group.programme_id,
            group_id=group.id,
            group_number=group.number,
            department_code=group.department_code,
            encounter_id=cause.encounter_id,
            discharge_source=cause.source,
            discharge_event_id=cause.event_id,
            discharged_at=cause.discharged_at,
            token_hash=hash_of(token),
            issued_at=draft.now,
            expires_at=draft.now + draft.policy.invitation_valid,
        )
    )
    _hold(draft, invitation, None, Seat.RESERVED)
    _send(draft, invitation, token, happened_at=cause.discharged_at)
    return invitation


def reissue(draft: Draft, invitation: Invitation, group: Group) -> Invitation:
    """A new token for the same invitation; the old one is void. ``group`` has a seat for it."""
    token = f"{draft.hospital}.{draft.env.secret()}"
    if invitation.status is InvitationStatus.OPEN:
        cancel_notification(draft, invitation, "reissued")
    invitation = move(
        draft,
        invitation,
        Action.REISSUE,
        group_id=group.id,
        group_number=group.number,
        issue=invitation.issue + 1,
        token_hash=hash_of(token),
        issued_at=draft.now,
        expires_at=draft.now + draft.policy.invitation_valid,
        closed_at=None,
        closed_because=None,
    )
    _send(draft, invitation, token, happened_at=draft.now)
    return invitation


def _send(draft: Draft, invitation: Invitation, token: str, *, happened_at: datetime) -> None:
    group = draft.the(Group, invitation.group_id)
    draft.emit(InvitationIssued(**about(invitation), issued_at=draft.now), invitation)
    draft.emit(
        NotificationRequested(
            notification_id=notification_id(invitation),
            recipient_id=invitation.person_id,
            patient_id=invitation.patient_id,
            template="invitation.issued",
            parameters={"group_zh": group.name.zh, "group_en": group.name.en},
            link=f"{draft.policy.accept_url}#token={token}",
            dedupe_key=f"invitation.issued:{invitation.id}:{invitation.issue}",
            event_time=happened_at,
            expires_at=invitation.expires_at,
        )
    )
    draft.wake(
        Timer(
            id=f"{EXPIRE_TIMER}:{invitation.id}:{invitation.issue}",
            due=invitation.expires_at,
            type=EXPIRE_TIMER,
            subject=invitation.id,
            data={"invitation_id": invitation.id},
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
