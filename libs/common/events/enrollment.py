"""What does enrollment tell about invitations, members and consent (``enrollment.events``)?

Members are named by ids. What to call them in a room follows from ids as well: the
patient's name from ``hospital.patients`` and, for others, the relationship to that patient.
"""

from __future__ import annotations

from enum import StrEnum
from typing import ClassVar

from pydantic import AwareDatetime, Field

from libs.common.events.base import Code, Event, EventModel, Id, Language, Word
from libs.common.events.patients import LinkScope, Relationship


class MemberRole(StrEnum):
    """As what a person is in a group. Staff are named by the group, not as members."""

    PATIENT = "patient"
    GUARDIAN = "guardian"
    RELATIVE = "relative"


class ConsentScope(StrEnum):
    """To what a person consents; each one separately."""

    GROUP_RULES = "group_rules"
    HEALTH_DATA = "health_data"


class Invitation(Event):
    """Which invitation it is about. The link's token is in no event of this topic."""

    TOPIC: ClassVar[str] = "enrollment.events"
    SUBJECT: ClassVar[str] = "invitation_id"

    invitation_id: Id = Field(description="The invitation.")
    patient_id: Id = Field(description="The patient on whose account the person is invited.")
    person_id: Id = Field(description="The person who is invited.")
    role: MemberRole = Field(description="As what the person would be a member.")
    group_id: Id = Field(description="The group in which a seat is reserved.")
    programme_id: Id = Field(description="The programme that matched.")
    group_number: int = Field(ge=1, description="Number of the group within its programme.")
    department_code: Code | None = Field(
        default=None, description="The department of the programme."
    )
    encounter_id: Id | None = Field(default=None, description="The stay that caused it.")
    discharge_event_id: Id | None = Field(
        default=None, description="CloudEvents id of the discharge that caused it."
    )
    language: Language | None = Field(default=None, description="The person's language, if known.")
    expires_at: AwareDatetime = Field(description="Until when it can be accepted.")


class InvitationIssued(Invitation):
    """A person was invited and a seat is reserved."""

    TYPE: ClassVar[str] = "hospital.invitation.issued.v1"

    issued_at: AwareDatetime = Field(description="When it was issued.")


class InvitationAccepted(Invitation):
    """The person accepted; a member follows."""

    TYPE: ClassVar[str] = "hospital.invitation.accepted.v1"

    accepted_at: AwareDatetime = Field(description="When it was accepted.")


class InvitationDeclined(Invitation):
    """The person declined; the seat is free again."""

    TYPE: ClassVar[str] = "hospital.invitation.declined.v1"

    declined_at: AwareDatetime = Field(description="When it was declined.")


class InvitationExpired(Invitation):
    """Nobody answered in time; the seat is free again."""

    TYPE: ClassVar[str] = "hospital.invitation.expired.v1"

    expired_at: AwareDatetime = Field(description="When it was closed.")


class InvitationWithdrawn(Invitation):
    """The hospital took it back; the seat is free again."""

    TYPE: ClassVar[str] = "hospital.invitation.withdrawn.v1"

    withdrawn_at: AwareDatetime = Field(description="When it was taken back.")
    reason: Word = Field(description="discharge_cancelled, deceased, group_closed, staff, ...")


class Consent(EventModel):
    """One consent that was given."""

    scope: ConsentScope = Field(description="To what.")
    given_at: AwareDatetime = Field(description="When.")


class Member(Event):
    """Which membership it is about."""

    TOPIC: ClassVar[str] = "enrollment.events"
    SUBJECT: ClassVar[str] = "member_id"

    member_id: Id = Field(description="The membership: one person in one programme.")
    patient_id: Id = Field(description="The patient on whose account the person is a member.")
    person_id: Id = Field(description="The person.")
    role: MemberRole = Field(description="As what the person is a member.")
    group_id: Id = Field(description="The group; after a move, the new one.")
    programme_id: Id = Field(description="The programme of the group.")


class MemberJoined(Member):
    """A person is a member from now on; also the proof of the link person - patient.

    Of a guardian of several patients there is one for each, about the same membership.
    """

    TYPE: ClassVar[str] = "hospital.member.joined.v1"

    group_number: int = Field(ge=1, description="Number of the group within its programme.")
    invitation_id: Id | None = Field(
        default=None,
        description="The invitation that was accepted; absent: a member by another patient, who"
        " took no second seat.",
    )
    relationship: Relationship | None = Field(
        default=None, description="What the person is to the patient; absent for the patient."
    )
    scope: tuple[LinkScope, ...] = Field(
        default=(LinkScope.GROUP,),
        min_length=1,
        description="What the person may do for the patient.",
    )
    verified_by: Word = Field(default="invitation", description="How the link was verified.")
    valid_until: AwareDatetime | None = Field(
        default=None, description="The link ends then by itself."
    )
    linked_at: AwareDatetime | None = Field(
        default=None,
        description="Since when the link is known, as its source tells: what ended it after that"
        " ends it, even before the joining. Absent: since the joining.",
    )
    language: Language | None = Field(default=None, description="The person's language, if known.")
    consents: tuple[Consent, ...] = Field(default=(), max_length=8, description="Given on joining.")
    joined_at: AwareDatetime = Field(description="When the person joined.")


class MemberMoved(Member):
    """A member changed to another group of the same programme."""

    TYPE: ClassVar[str] = "hospital.member.moved.v1"

    from_group_id: Id = Field(description="The group that was left.")
    group_number: int = Field(ge=1, description="Number of the new group.")
    moved_at: AwareDatetime = Field(description="When.")


class MemberLeft(Member):
    """A person is no longer a member; the seat is free again."""

    TYPE: ClassVar[str] = "hospital.member.left.v1"

    left_at: AwareDatetime = Field(description="When.")
    reason: Word = Field(description="left, removed, deceased, group_closed, ...")


class ConsentChange(Event):
    """Whose consent to what it is about."""

    TOPIC: ClassVar[str] = "enrollment.events"
    SUBJECT: ClassVar[str] = "consent_id"

    consent_id: Id = Field(description="The consent: one person, one patient, one scope.")
    patient_id: Id = Field(description="The patient whose data it concerns.")
    person_id: Id = Field(description="The person who decided.")
    scope: ConsentScope = Field(description="To what.")


class ConsentGiven(ConsentChange):
    """A person consented."""

    TYPE: ClassVar[str] = "hospital.consent.given.v1"

    given_at: AwareDatetime = Field(description="When; the later of two decisions holds.")


class ConsentWithdrawn(ConsentChange):
    """A person withdrew a consent, or said no when first asked for it.

    For health data, pushes to them about the patient stop.
    """

    TYPE: ClassVar[str] = "hospital.consent.withdrawn.v1"

    withdrawn_at: AwareDatetime = Field(description="When; the later of two decisions holds.")
