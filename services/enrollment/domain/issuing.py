"""How does somebody learn that they are invited, and until when does that hold?

The token is drawn here and leaves at once in the request for a notification; what stays
is its hash.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from libs.common.decision import Timer, derived_id
from libs.common.events import InvitationIssued, MemberRole, NotificationRequested, Relationship
from services.enrollment.domain.draft import Draft
from services.enrollment.domain.group import Group, Seat
from services.enrollment.domain.invitation import (
    Action,
    Invitation,
    InvitationStatus,
    about,
    cancel_notification,
    hash_of,
    hold,
    move,
    notification_id,
)
from services.enrollment.domain.link import Link

EXPIRE_TIMER = "invitation.expire"


@dataclass(frozen=True, slots=True)
class Cause:
    """The discharge that invites."""

    source: str
    event_id: str
    encounter_id: str
    discharged_at: datetime


@dataclass(frozen=True, slots=True)
class Invitee:
    """Who is invited, on whose account, as what, and for a guardian by which link."""

    patient_id: str
    person_id: str
    role: MemberRole
    relationship: Relationship | None = None
    language: str | None = None
    link: Link | None = None


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
    hold(draft, invitation, None, Seat.RESERVED)
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
    draft.emit(InvitationIssued(**about(invitation), issued_at=draft.now), invitation)
    draft.emit(
        NotificationRequested(
            notification_id=notification_id(invitation),
            recipient_id=invitation.person_id,
            patient_id=invitation.patient_id,
            template="invitation.issued",
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
