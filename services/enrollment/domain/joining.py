"""What may the invited person do: accept, decline, leave?

The token is the capability: whoever holds the link may answer it once. Answering again
gives the same answer and changes nothing.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, Field, StringConstraints

from libs.common.decision import (
    Answer,
    Common,
    Decision,
    Env,
    Input,
    Need,
    Refusal,
    State,
    by_id,
    unchanged,
)
from libs.common.events import Consent as GivenConsent
from libs.common.events import ConsentScope
from services.enrollment.domain import consent as consents
from services.enrollment.domain import invitation as invitations
from services.enrollment.domain.account import tell_joined, tell_left
from services.enrollment.domain.consent import decisions, needs_consents, text_version
from services.enrollment.domain.draft import Draft
from services.enrollment.domain.group import Group
from services.enrollment.domain.invitation import (
    Action,
    Invitation,
    InvitationStatus,
    hash_of,
    needs_invitation,
)
from services.enrollment.domain.membership import Membership, MembershipStatus, membership_id
from services.enrollment.domain.patient import (
    guard,
    is_caller,
    is_deceased,
    needs_same,
)
from services.enrollment.domain.programme import HEALTH_DATA
from services.enrollment.domain.reasons import LeftBecause, Reason, WithdrawnBecause
from services.enrollment.domain.staff import StaffTask, TaskReason, add_task

INVITATION_ACCEPT = "invitation.accept"
INVITATION_DECLINE = "invitation.decline"
MEMBERSHIP_LEAVE = "membership.leave"


def _token(given: Any) -> Any:
    # People paste the whole link as well.
    return given.rpartition("#token=")[2] if isinstance(given, str) else given


Token = Annotated[
    str,
    BeforeValidator(_token),
    StringConstraints(pattern=r"^[A-Za-z0-9._-]{1,64}\.[A-Za-z0-9_-]{20,128}$"),
    Field(description="What follows `#token=` in the link; the whole link will do."),
]


class Bearer(BaseModel):
    """Whoever sends this holds the link."""

    token: Token


class Accept(Bearer):
    """Two consents, each by itself: the group's rules, without which nobody joins, and the
    use of health data, which may be refused (as by leaving it out) and withdrawn."""

    consent_to_rules: Literal[True] = Field(description="I agree to the group's rules.")
    consent_to_health_data: bool = Field(
        default=False, description="I agree to messages about health data; can be withdrawn."
    )


class MembershipCommand(BaseModel):
    membership_id: str


#: What an invitation that is not open answers to whoever holds its link.
OVER: dict[InvitationStatus, Reason] = {
    InvitationStatus.ACCEPTED: Reason.INVITATION_USED,
    InvitationStatus.DECLINED: Reason.INVITATION_DECLINED,
    InvitationStatus.EXPIRED: Reason.INVITATION_EXPIRED,
    InvitationStatus.WITHDRAWN: Reason.INVITATION_WITHDRAWN,
    InvitationStatus.LEFT: Reason.INVITATION_USED,
}


def needs_token(input: Input, state: State) -> Iterator[Need]:
    hash = hash_of(input.data.token)
    yield Need(Invitation, "token_hash", hash)
    for invitation in state.where(Invitation, "token_hash", hash):
        yield from needs_invitation(state, invitation)
        ids = (invitation.patient_id, invitation.person_id)
        yield from needs_consents(state, input.hospital, *ids)
        yield Need(StaffTask, "patient_id", invitation.patient_id)


def _by_token(draft: Draft) -> Invitation | None:
    found = draft.where(Invitation, "token_hash", hash_of(draft.input.data.token))
    return found[0] if found else None


def _still_open(draft: Draft, invitation: Invitation) -> Refusal | None:
    """Why it can't be answered; what time or death has overtaken is closed on the way."""
    if invitation.status is not InvitationStatus.OPEN:
        return Refusal(OVER[invitation.status])
    if invitation.expires_at <= draft.now:
        expire(draft, invitation)
        return draft.refusal(Reason.INVITATION_EXPIRED)
    if any(is_deceased(draft, p) for p in (invitation.patient_id, invitation.person_id)):
        invitations.withdraw(draft, invitation, WithdrawnBecause.DECEASED)
        return draft.refusal(Reason.INVITATION_WITHDRAWN)
    return None


def expire(draft: Draft, invitation: Invitation) -> None:
    """Free the seat and let staff see that nobody answered."""
    invitation = invitations.expire(draft, invitation)
    add_task(
        draft,
        TaskReason.INVITATION_EXPIRED,
        cause=f"{invitation.id}:{invitation.issue}",
        department=invitation.department_code,
        patient=invitation.patient_id,
        person=invitation.person_id,
        encounter=invitation.encounter_id,
        discharge_event=invitation.discharge_event_id,
        invitation=invitation.id,
    )


def decide_accept(input: Input, state: State, env: Env) -> Answer:
    draft = Draft(input, state, env)
    invitation = _by_token(draft)
    if invitation is None:
        return Refusal(Common.NOT_FOUND)
    if invitation.status is InvitationStatus.ACCEPTED:
        return Decision(result=_joined(draft, invitation), note="accepted_before")
    if refusal := _still_open(draft, invitation):
        return refusal
    for id in (invitation.patient_id, invitation.person_id):
        guard(draft, id)
    invitation = invitations.accept(draft, invitation)
    given = _consents(draft, invitation, input.data)
    membership = draft.the(
        Membership, membership_id(draft.hospital, invitation.person_id, invitation.programme_id)
    )
    tell_joined(draft, membership, invitation, given)
    return draft.decision(_joined(draft, invitation), note="accepted")


def _consents(draft: Draft, invitation: Invitation, accept: Accept) -> list[GivenConsent]:
    """Keep what was decided about each; the answer is what was agreed to."""
    group = draft.the(Group, invitation.group_id)
    agreed = {ConsentScope.GROUP_RULES: (group.rules_sheet, True)}
    agreed[ConsentScope.HEALTH_DATA] = (HEALTH_DATA, accept.consent_to_health_data)
    given = []
    for scope, (text, yes) in agreed.items():
        decide = consents.give if yes else consents.decline
        decide(
            draft,
            patient=invitation.patient_id,
            person=invitation.person_id,
            scope=scope,
            text_version=text_version(draft, text),
        )
        if yes:
            given.append(GivenConsent(scope=scope, given_at=draft.now))
    return given


def _joined(draft: Draft, invitation: Invitation) -> dict[str, Any]:
    group = draft.the(Group, invitation.group_id)
    found = decisions(draft, invitation.patient_id, invitation.person_id)
    return {
        "status": invitation.status,
        "invitation_id": invitation.id,
        "membership_id": membership_id(
            draft.hospital, invitation.person_id, invitation.programme_id
        ),
        "group_id": group.id,
        "group_name": group.name.model_dump(),
        "consents": [
            {
                "id": c.id,
                "scope": c.scope,
                "status": c.status,
                "given_at": c.given_at.isoformat(),
                "text_version": c.text_version,
            }
            for c in found
            if c.given_at is not None
        ],
    }


def decide_decline(input: Input, state: State, env: Env) -> Answer:
    draft = Draft(input, state, env)
    invitation = _by_token(draft)
    if invitation is None:
        return Refusal(Common.NOT_FOUND)
    if invitation.status is not InvitationStatus.DECLINED:
        if refusal := _still_open(draft, invitation):
            return refusal
        invitation = invitations.decline(draft, invitation)
    return draft.decision({"status": invitation.status, "invitation_id": invitation.id})


def needs_leave(input: Input, state: State) -> Iterator[Need]:
    yield from by_id(Membership, input.data.membership_id)
    membership = state.get(Membership, input.data.membership_id)
    if membership is not None:
        yield from by_id(Invitation, membership.invitation_id)
        yield from needs_same(state, membership.person_id)
        if input.actor is not None:
            yield from needs_same(state, input.actor.person)
        invitation = state.get(Invitation, membership.invitation_id)
        if invitation is not None:
            yield from needs_invitation(state, invitation)


def decide_leave(input: Input, state: State, env: Env) -> Answer:
    draft = Draft(input, state, env)
    membership = draft.get(Membership, input.data.membership_id)
    if membership is None or not is_caller(draft, membership.person_id):
        return Refusal(Common.NOT_FOUND)
    invitation = draft.the(Invitation, membership.invitation_id)
    if invitation.status is not InvitationStatus.LEFT:
        if membership.status is not MembershipStatus.JOINED:
            return Refusal(Common.WRONG_STATUS)
        if not unchanged(input, membership):
            return Refusal(Common.CHANGED)
        membership = leave(draft, invitation, LeftBecause.LEFT)
    return draft.decision({"membership_id": membership.id, "status": membership.status})


def leave(draft: Draft, invitation: Invitation, reason: LeftBecause) -> Membership:
    """End the membership that ``invitation`` made; its seat is free again."""
    invitations.move(draft, invitation, Action.LEAVE, closed_at=draft.now, closed_because=reason)
    membership = draft.the(
        Membership, membership_id(draft.hospital, invitation.person_id, invitation.programme_id)
    )
    tell_left(draft, membership, reason)
    return membership
