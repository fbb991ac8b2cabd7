"""What does enrollment show of its documents, and to whom may it be shown?"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date, datetime

from pydantic import BaseModel, Field

from libs.common.decision import Actor
from libs.common.events import ConsentScope, MemberRole, Relationship, Wording
from services.enrollment.domain.consent import ConsentStatus
from services.enrollment.domain.group import Group, GroupStatus
from services.enrollment.domain.invitation import Invitation, InvitationStatus
from services.enrollment.domain.membership import MembershipStatus
from services.enrollment.domain.programme import HEALTH_DATA, Policy
from services.enrollment.domain.staff import TaskReason, TaskStatus


class View(BaseModel):
    """Reads a document's fields; ``version`` is its ETag."""

    model_config = {"from_attributes": True}


class InvitationView(View):
    """An invitation as staff see it. Its token is known to nobody but the invited person."""

    id: str
    status: InvitationStatus
    patient_id: str
    person_id: str
    role: MemberRole
    relationship: Relationship | None
    encounter_id: str
    programme_id: str
    group_id: str
    department_code: str
    issue: int = Field(description="Counts how often it was issued.")
    issued_at: datetime
    expires_at: datetime
    closed_at: datetime | None
    closed_because: str | None
    version: int


class GroupView(View):
    id: str
    programme_id: str
    number: int
    department_code: str
    name: Wording
    status: GroupStatus
    limit: int
    reserved: int = Field(description="Seats of open invitations.")
    joined: int = Field(description="Seats of members.")
    opened_at: datetime
    closed_at: datetime | None
    version: int


class StaffTaskView(View):
    id: str
    reason: TaskReason
    status: TaskStatus
    department_code: str
    patient_id: str
    person_id: str | None
    encounter_id: str | None
    invitation_id: str | None
    at: datetime
    done_at: datetime | None
    done_by: str | None = Field(description="Absent when it settled itself.")
    version: int


class MembershipView(View):
    id: str
    status: MembershipStatus
    person_id: str
    patient_id: str
    role: MemberRole
    programme_id: str
    group_id: str
    joined_at: datetime | None
    left_at: datetime | None
    version: int


class ConsentView(View):
    id: str
    scope: ConsentScope
    status: ConsentStatus
    person_id: str
    patient_id: str
    text_version: str = Field(description="The text about which the person decided.")
    given_at: datetime | None = Field(description="Absent for who never agreed.")
    withdrawn_at: datetime | None = Field(
        description="When the yes was taken back, or the no said."
    )
    version: int


class AgreeTo(BaseModel):
    """A text with its version, in both languages."""

    version: str
    zh: str
    en: str


class Preview(BaseModel):
    """What an invited person is asked. Names nobody.

    Only the status is told of an invitation that is not open: the group's name may be that
    of a disease, and old links lie about.
    """

    status: InvitationStatus
    group_name: Wording | None = None
    expires_at: datetime | None = None
    rules: AgreeTo | None = None
    health_data: AgreeTo | None = None


def preview_of(invitation: Invitation, group: Group, policy: Policy, day: date) -> Preview:
    """What whoever holds the link may see on ``day``."""
    if invitation.status is not InvitationStatus.OPEN:
        return Preview(status=invitation.status)
    rules, health = policy.text(group.rules_sheet, day), policy.text(HEALTH_DATA, day)
    return Preview(
        status=invitation.status,
        group_name=group.name,
        expires_at=invitation.expires_at,
        rules=AgreeTo(version=rules.version, zh=rules.zh, en=rules.en),
        health_data=AgreeTo(version=health.version, zh=health.zh, en=health.en),
    )


class ConsentReceipt(BaseModel):
    id: str
    scope: ConsentScope
    status: ConsentStatus
    given_at: datetime
    text_version: str


class Joined(BaseModel):
    status: InvitationStatus
    invitation_id: str
    membership_id: str
    group_id: str
    group_name: Wording
    consents: list[ConsentReceipt]


class Declined(BaseModel):
    status: InvitationStatus
    invitation_id: str


class Reissued(BaseModel):
    """The new link goes to the invited person only."""

    invitation_id: str
    status: InvitationStatus
    expires_at: datetime


class Left(BaseModel):
    membership_id: str
    status: MembershipStatus


class ConsentChanged(BaseModel):
    consent_id: str
    status: ConsentStatus


class TaskClosed(BaseModel):
    task_id: str
    status: TaskStatus
    done_by: str | None


class GroupClosed(BaseModel):
    group_id: str
    status: GroupStatus


def departments_of(actor: Actor) -> Sequence[str] | None:
    """The departments whose affairs the caller sees; None for all (ops)."""
    return None if actor.has("ops") else sorted(actor.departments)
