"""What follows when a patient dies, two records become one, or a guardian comes or goes?

These facts arrive in any order with discharges and with one another. The later one by
occurrence holds, and what an earlier arrival has missed is made up for.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from datetime import datetime

from libs.common.decision import Answer, Common, Env, Input, Need, Refusal, State
from libs.common.events import (
    GuardianLinked,
    GuardianUnlinked,
    MemberRole,
    PatientDeceased,
    PatientMerged,
)
from services.enrollment.domain import invitation as invitations
from services.enrollment.domain.draft import Draft
from services.enrollment.domain.encounter import STANDING, Discharge, Fate
from services.enrollment.domain.group import needs_groups
from services.enrollment.domain.invitation import Invitation, InvitationStatus
from services.enrollment.domain.inviting import (
    invitations_of,
    needs_account,
    needs_stays,
    reconsider,
)
from services.enrollment.domain.joining import leave
from services.enrollment.domain.link import Link, link_of
from services.enrollment.domain.patient import (
    guard,
    last_link,
    learn_link,
    needs_person,
    record_of,
    same_person,
)
from services.enrollment.domain.reasons import LeftBecause, WithdrawnBecause
from services.enrollment.domain.staff import (
    StaffTask,
    TaskReason,
    TaskStatus,
    add_task,
    settle,
)


def needs_linked(input: Input, state: State) -> Iterator[Need]:
    data: GuardianLinked = input.data
    yield from needs_person(state, data.person_id)
    yield from needs_stays(state, data.patient_id)


def decide_linked(input: Input, state: State, env: Env) -> Answer:
    draft = Draft(input, state, env)
    data: GuardianLinked = input.data
    if not learn_link(draft, data.patient_id, link_of(data, draft.told_at)):
        return Refusal(Common.STALE)
    guard(draft, data.patient_id)
    guardian = same_person(draft, data.person_id)[0]
    # A child whose discharge came before this: as if it had come after.
    reconsider(draft, data.patient_id, *STANDING, only={guardian}, unless_invited=True)
    return draft.decision(note="linked")


def needs_unlinked(input: Input, state: State) -> Iterator[Need]:
    data: GuardianUnlinked = input.data
    yield from needs_person(state, data.person_id)
    yield from needs_account(state, data.patient_id)
    yield from _needs_groups_of(state, data.patient_id)


def decide_unlinked(input: Input, state: State, env: Env) -> Answer:
    draft = Draft(input, state, env)
    data: GuardianUnlinked = input.data
    since = min(data.unlinked_at, draft.told_at)
    known = last_link(draft, data.patient_id, data.person_id)
    ended = known or Link(person_id=data.person_id, verified_by="unknown", since=since)
    ended = ended.model_copy(update={"person_id": data.person_id, "since": since, "ended": True})
    if not learn_link(draft, data.patient_id, ended):
        return Refusal(Common.STALE)
    guard(draft, data.patient_id)
    _part(draft, data.patient_id)
    return draft.decision(note="unlinked")


def _part(draft: Draft, patient: str) -> None:
    """Take back what guardians were offered whose link has ended."""
    for invitation in invitations_of(draft, patient):
        link = last_link(draft, patient, invitation.person_id)
        if invitation.role is not MemberRole.GUARDIAN or link is None or not link.ended:
            continue
        if invitation.status is InvitationStatus.OPEN:
            invitations.withdraw(draft, invitation, WithdrawnBecause.GUARDIAN_UNLINKED)
            _list(draft, TaskReason.GUARDIAN_UNLINKED, invitation)
        elif invitation.status is InvitationStatus.ACCEPTED:
            # Whether to ask somebody to leave is for people to decide.
            _list(draft, TaskReason.GUARDIAN_UNLINKED, invitation)


def needs_deceased(input: Input, state: State) -> Iterator[Need]:
    yield from needs_death(state, input.data.patient_id)


def decide_deceased(input: Input, state: State, env: Env) -> Answer:
    draft = Draft(input, state, env)
    data: PatientDeceased = input.data
    for id in same_person(draft, data.patient_id):
        record = record_of(draft, id)
        at = min(data.deceased_at, record.deceased_at or data.deceased_at)
        draft.put(record.but(deceased_at=at, deceased_by=()))
    _mourn(draft, data.patient_id)
    return draft.decision(note="deceased")


def die_in_hospital(draft: Draft, discharge: Discharge, at: datetime) -> None:
    """A discharge says that the patient has died. Needs: ``needs_death``."""
    for id in same_person(draft, discharge.patient_id):
        record = record_of(draft, id)
        if record.deceased_at is None or record.deceased_by:
            at_first = min(at, record.deceased_at or at)
            sayers = dict.fromkeys((*record.deceased_by, discharge.key))
            draft.put(record.but(deceased_at=at_first, deceased_by=tuple(sayers)))
    _mourn(draft, discharge.patient_id)


def take_death_back(draft: Draft, discharge: Discharge) -> None:
    """A cancelled discharge says nothing more, unless somebody else has said it, too."""
    for id in same_person(draft, discharge.patient_id):
        record = record_of(draft, id)
        if discharge.key in record.deceased_by:
            rest = tuple(key for key in record.deceased_by if key != discharge.key)
            draft.put(
                record.but(deceased_at=record.deceased_at if rest else None, deceased_by=rest)
            )


def needs_merged(input: Input, state: State) -> Iterator[Need]:
    data: PatientMerged = input.data
    for id in (data.patient_id, data.survivor_id):
        yield from needs_death(state, id)
        yield from needs_stays(state, id)


def decide_merged(input: Input, state: State, env: Env) -> Answer:
    draft = Draft(input, state, env)
    data: PatientMerged = input.data
    gone, stays = data.patient_id, data.survivor_id
    if gone == stays:
        return Refusal(Common.STALE)
    before, merged_at = record_of(draft, gone), min(data.merged_at, draft.told_at)
    if stays in same_person(draft, gone) and before.merged_at is not None:
        if merged_at <= before.merged_at:
            return Refusal(Common.STALE)
        # Said later and the other way round, it names another survivor.
        same = tuple(dict.fromkeys((stays, *same_person(draft, stays))))
    else:
        same = (*same_person(draft, stays), *same_person(draft, gone))
    records = [record_of(draft, id) for id in same]
    dead = [r for r in records if r.deceased_at is not None]
    deaths = [r.deceased_at for r in dead if r.deceased_at is not None]
    # Told on its own of one of them, it needs no discharge to say so.
    sayers = (
        [key for r in dead for key in r.deceased_by] if all(r.deceased_by for r in dead) else []
    )
    for record in records:
        draft.put(
            record.but(
                same=same,
                merged_at=max(merged_at, record.merged_at or merged_at),
                deceased_at=min(deaths, default=None),
                deceased_by=tuple(dict.fromkeys(sayers)),
            )
        )
    _unite(draft, same)
    if deaths:
        _mourn(draft, stays)
    else:
        _part(draft, stays)
        reconsider(draft, stays, Fate.NO_GUARDIAN)
    return draft.decision(note="merged")


def needs_death(state: State, id: str) -> Iterator[Need]:
    """Whatever names the person, as a patient or as somebody who was invited."""
    yield from needs_account(state, id)
    for other in same_person(state, id):
        yield Need(Invitation, "person_id", other)
        for invitation in state.where(Invitation, "person_id", other):
            yield from needs_groups(invitation.department_code)
            yield from needs_person(state, invitation.person_id)
            yield Need(StaffTask, "patient_id", invitation.patient_id)
    yield from _needs_groups_of(state, id)


def _needs_groups_of(state: State, patient: str) -> Iterator[Need]:
    """The groups and the invited persons of all invitations on a patient's account."""
    for id in same_person(state, patient):
        for invitation in state.where(Invitation, "patient_id", id):
            yield from needs_groups(invitation.department_code)
            yield from needs_person(state, invitation.person_id)


def _concerning(draft: Draft, ids: Iterable[str]) -> list[Invitation]:
    found = {
        i.id: i
        for id in ids
        for field in ("patient_id", "person_id")
        for i in draft.where(Invitation, field, id)
    }
    return [found[id] for id in sorted(found)]


def _mourn(draft: Draft, patient: str) -> None:
    """Take open invitations back; the dead leave, and staff look after those who stay."""
    ids = same_person(draft, patient)
    for invitation in _concerning(draft, ids):
        if invitation.status is InvitationStatus.OPEN:
            invitations.withdraw(draft, invitation, WithdrawnBecause.DECEASED)
        elif invitation.status is InvitationStatus.ACCEPTED:
            if invitation.person_id in ids:
                leave(draft, invitation, LeftBecause.DECEASED)
            else:
                _list(draft, TaskReason.PATIENT_DECEASED, invitation)
    for id in ids:
        for task in draft.where(StaffTask, "patient_id", id):
            if task.status is TaskStatus.OPEN and task.reason in (
                TaskReason.NO_PROGRAMME,
                TaskReason.NO_GUARDIAN,
                TaskReason.INVITATION_EXPIRED,
            ):
                settle(draft, task)


def _unite(draft: Draft, same: tuple[str, ...]) -> None:
    """One person has one place in a programme: what they joined, else the survivor's."""
    by_programme: dict[str, list[Invitation]] = {}
    held = (InvitationStatus.ACCEPTED, InvitationStatus.OPEN)
    for invitation in _concerning(draft, same):
        if invitation.person_id in same and invitation.status in held:
            by_programme.setdefault(invitation.programme_id, []).append(invitation)
    for places in by_programme.values():
        places.sort(key=lambda i: (held.index(i.status), same.index(i.person_id), i.id))
        for invitation in places[1:]:
            if invitation.status is InvitationStatus.OPEN:
                invitations.withdraw(draft, invitation, WithdrawnBecause.MERGED)
            else:
                leave(draft, invitation, LeftBecause.MERGED)


def _list(draft: Draft, reason: TaskReason, invitation: Invitation) -> None:
    add_task(
        draft,
        reason,
        cause=f"{invitation.id}:{invitation.issue}",
        department=invitation.department_code,
        patient=invitation.patient_id,
        person=invitation.person_id,
        encounter=invitation.encounter_id,
        invitation=invitation.id,
    )
