"""What may staff do: issue an invitation anew, tick off a task, close a group?"""

from __future__ import annotations

from collections.abc import Iterator

from pydantic import BaseModel

from libs.common.decision import (
    Answer,
    Common,
    Env,
    Input,
    Need,
    Refusal,
    State,
    by_id,
    unchanged,
)
from libs.common.events import MemberRole
from services.enrollment.domain import invitation as invitations
from services.enrollment.domain import issuing
from services.enrollment.domain.draft import Draft
from services.enrollment.domain.encounter import Encounter
from services.enrollment.domain.group import Group, GroupStatus, close, find_seats, needs_groups
from services.enrollment.domain.invitation import (
    TRANSITIONS,
    Action,
    Invitation,
    InvitationStatus,
    needs_invitation,
)
from services.enrollment.domain.joining import expire, leave
from services.enrollment.domain.membership import has_place
from services.enrollment.domain.patient import (
    guard,
    is_deceased,
    link_to,
    needs_person,
    same_person,
)
from services.enrollment.domain.reasons import LeftBecause, Reason, WithdrawnBecause
from services.enrollment.domain.staff import (
    StaffTask,
    TaskReason,
    TaskStatus,
    is_staff_of,
    settle,
)

INVITATION_REISSUE = "invitation.reissue"
TASK_CLOSE = "staff_task.close"
GROUP_CLOSE = "group.close"


class InvitationCommand(BaseModel):
    """About one invitation: a command of staff, or its expiry timer."""

    invitation_id: str


class TaskCommand(BaseModel):
    task_id: str


class GroupCommand(BaseModel):
    group_id: str


def needs_expiry(input: Input, state: State) -> Iterator[Need]:
    yield from by_id(Invitation, input.data.invitation_id)
    invitation = state.get(Invitation, input.data.invitation_id)
    if invitation is not None:
        yield from needs_invitation(state, invitation)
        yield Need(StaffTask, "patient_id", invitation.patient_id)


def decide_expiry(input: Input, state: State, env: Env) -> Answer:
    """The timer looks again: answered since, or issued anew, it does nothing."""
    draft = Draft(input, state, env)
    invitation = draft.get(Invitation, input.data.invitation_id)
    if invitation is None or invitation.status is not InvitationStatus.OPEN:
        return Refusal(Common.STALE)
    if env.now < invitation.expires_at:
        return Refusal(Common.STALE)
    expire(draft, invitation)
    return draft.decision(note="expired")


def needs_reissue(input: Input, state: State) -> Iterator[Need]:
    yield from needs_expiry(input, state)
    invitation = state.get(Invitation, input.data.invitation_id)
    if invitation is not None:
        yield from by_id(Encounter, invitation.encounter_id)


def decide_reissue(input: Input, state: State, env: Env) -> Answer:
    draft = Draft(input, state, env)
    invitation = draft.get(Invitation, input.data.invitation_id)
    if invitation is None or not is_staff_of(input.actor, invitation.department_code):
        return Refusal(Common.NOT_FOUND)
    if not unchanged(input, invitation):
        return Refusal(Common.CHANGED)
    if refusal := _not_again(draft, invitation):
        return refusal
    group = draft.the(Group, invitation.group_id)
    if invitation.status is not InvitationStatus.OPEN and group.room < 1:
        programme = draft.policy.programme(
            invitation.programme_id, draft.hospital, draft.policy.day(draft.now)
        )
        if programme is None:
            return Refusal(Reason.PROGRAMME_ENDED)
        group = find_seats(draft, programme, wanted=1)
    for id in (invitation.patient_id, invitation.person_id):
        guard(draft, id)
    invitation = issuing.reissue(draft, invitation, group)
    for task in draft.where(StaffTask, "patient_id", invitation.patient_id):
        if (task.invitation_id, task.reason, task.status) == (
            invitation.id,
            TaskReason.INVITATION_EXPIRED,
            TaskStatus.OPEN,
        ):
            settle(draft, task)
    # The new token travels in the notification only.
    return draft.decision(
        {
            "invitation_id": invitation.id,
            "status": invitation.status,
            "expires_at": invitation.expires_at.isoformat(),
        }
    )


def _not_again(draft: Draft, invitation: Invitation) -> Refusal | None:
    if (invitation.status, Action.REISSUE) not in TRANSITIONS:
        return Refusal(Reason.ALREADY_MEMBER)
    if any(is_deceased(draft, p) for p in (invitation.patient_id, invitation.person_id)):
        return Refusal(Reason.DECEASED)
    encounter = draft.the(Encounter, invitation.encounter_id)
    cause = encounter.find(invitation.discharge_source, invitation.discharge_event_id)
    if cause is not None and cause.cancelled_at is not None:
        return Refusal(Reason.DISCHARGE_CANCELLED)
    if invitation.role is MemberRole.GUARDIAN and not link_to(
        draft, invitation.patient_id, invitation.person_id
    ):
        return Refusal(Reason.NOT_A_GUARDIAN)
    if invitation.status is not InvitationStatus.OPEN and any(
        has_place(draft, id, invitation.programme_id)
        for id in same_person(draft, invitation.person_id)
    ):
        return Refusal(Reason.ALREADY_MEMBER)
    return None


def needs_task(input: Input, state: State) -> Iterator[Need]:
    yield from by_id(StaffTask, input.data.task_id)


def decide_task_closed(input: Input, state: State, env: Env) -> Answer:
    draft = Draft(input, state, env)
    task = draft.get(StaffTask, input.data.task_id)
    if task is None or not is_staff_of(input.actor, task.department_code):
        return Refusal(Common.NOT_FOUND)
    if not unchanged(input, task):
        return Refusal(Common.CHANGED)
    if task.status is TaskStatus.OPEN:
        task = settle(draft, task, by=input.actor.person if input.actor else None)
    return draft.decision({"task_id": task.id, "status": task.status, "done_by": task.done_by})


def needs_group_closed(input: Input, state: State) -> Iterator[Need]:
    group_id = input.data.group_id
    yield from by_id(Group, group_id)
    yield Need(Invitation, "group_id", group_id)
    group = state.get(Group, group_id)
    if group is not None:
        yield from needs_groups(group.department_code)
    for invitation in state.where(Invitation, "group_id", group_id):
        yield from needs_person(state, invitation.person_id)


def decide_group_closed(input: Input, state: State, env: Env) -> Answer:
    """Nobody can join any more; open invitations are taken back and members let go."""
    draft = Draft(input, state, env)
    group = draft.get(Group, input.data.group_id)
    if group is None or not is_staff_of(input.actor, group.department_code):
        return Refusal(Common.NOT_FOUND)
    if not unchanged(input, group):
        return Refusal(Common.CHANGED)
    if group.status is GroupStatus.OPEN:
        close(draft, group, "closed_by_staff")
        for invitation in draft.where(Invitation, "group_id", group.id):
            if invitation.status is InvitationStatus.OPEN:
                invitations.withdraw(draft, invitation, WithdrawnBecause.GROUP_CLOSED)
            elif invitation.status is InvitationStatus.ACCEPTED:
                leave(draft, invitation, LeftBecause.GROUP_CLOSED)
    return draft.decision({"group_id": group.id, "status": GroupStatus.CLOSED})
