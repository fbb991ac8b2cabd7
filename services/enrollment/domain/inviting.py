"""Who is invited by a discharge, and which earlier discharges invite when more is known?

A guardian who is linked after the discharge, or another discharge that still stands when
one is cancelled, must lead to the same invitations as if the facts had come in order.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator

from libs.common.decision import Need, State
from libs.common.events import MemberRole
from services.enrollment.domain.account import also_for
from services.enrollment.domain.draft import Draft
from services.enrollment.domain.encounter import Discharge, Encounter, Fate
from services.enrollment.domain.group import Group, find_seats, needs_groups
from services.enrollment.domain.invitation import Invitation
from services.enrollment.domain.issuing import Cause, Invitee, invitation_id, issue
from services.enrollment.domain.membership import has_place
from services.enrollment.domain.patient import (
    guard,
    guardians,
    is_deceased,
    needs_guardians,
    needs_person,
    same_person,
)
from services.enrollment.domain.programme import Programme
from services.enrollment.domain.staff import StaffTask, TaskReason, add_task, settle_for_discharge


def needs_account(state: State, patient: str) -> Iterator[Need]:
    """All that a decision about a patient looks at, but for stays and groups."""
    yield from needs_person(state, patient)
    for id in same_person(state, patient):
        yield Need(Invitation, "patient_id", id)
        yield Need(StaffTask, "patient_id", id)
    yield from needs_guardians(state, patient)


def needs_stays(state: State, patient: str) -> Iterator[Need]:
    """The patient's account and stays, and the groups that these could lead to."""
    yield from needs_account(state, patient)
    for id in same_person(state, patient):
        yield Need(Encounter, "patient_id", id)
        for encounter in state.where(Encounter, "patient_id", id):
            for discharge in encounter.discharges:
                if discharge.department_code:
                    yield from needs_groups(discharge.department_code)


def invitations_of(draft: Draft, patient: str) -> list[Invitation]:
    """All invitations on the patient's account, whatever id they name."""
    return [
        i for id in same_person(draft, patient) for i in draft.where(Invitation, "patient_id", id)
    ]


def invitees(draft: Draft, discharge: Discharge) -> list[Invitee]:
    """The patient, or the guardians if the patient was a child when leaving."""
    patient = same_person(draft, discharge.patient_id)[0]
    if not discharge.child:
        return [Invitee(patient, patient, MemberRole.PATIENT, language=discharge.language)]
    return [
        Invitee(patient, x.person_id, MemberRole.GUARDIAN, x.relationship, x.language, x)
        for x in guardians(draft, patient, discharge.discharged_at or draft.now)
    ]


def consider(
    draft: Draft, encounter_id: str, discharge: Discharge, programme: Programme | None
) -> Fate:
    """Invite by a discharge, or put it on the staff's list."""
    if programme is None:
        _for_staff(draft, encounter_id, discharge, TaskReason.NO_PROGRAMME)
        return Fate.NO_PROGRAMME
    whom = invitees(draft, discharge)
    if not whom:
        _for_staff(draft, encounter_id, discharge, TaskReason.NO_GUARDIAN)
        return Fate.NO_GUARDIAN
    invited = invite(draft, encounter_id, discharge, programme, whom)
    return Fate.INVITED if invited else Fate.ALREADY_MEMBER


def _for_staff(draft: Draft, encounter_id: str, discharge: Discharge, reason: TaskReason) -> None:
    add_task(
        draft,
        reason,
        cause=f"{encounter_id}:{discharge.source}:{discharge.event_id}",
        department=discharge.department_code,
        patient=discharge.patient_id,
        encounter=encounter_id,
        discharge_event=discharge.event_id,
    )


def invite(
    draft: Draft,
    encounter_id: str,
    discharge: Discharge,
    programme: Programme,
    whom: Collection[Invitee],
) -> int:
    """Invite those of ``whom`` who have no place in the programme yet; how many these were.

    A family is seated in one group where that can be. A guardian who has a place by another
    child keeps it and is a member for this one, too.
    """
    if discharge.discharged_at is None:
        return 0  # only its cancellation is known
    cause = Cause(discharge.source, discharge.event_id, encounter_id, discharge.discharged_at)
    before = {i.id for i in invitations_of(draft, discharge.patient_id)}
    fresh = [
        w
        for w in whom
        if invitation_id(draft.hospital, cause, w.person_id) not in before
        and not any(has_place(draft, id, programme.id) for id in same_person(draft, w.person_id))
    ]
    for invitee in whom:
        if invitee.link is not None and invitee not in fresh:
            also_for(draft, invitee.patient_id, invitee.link, programme.id)
    group: Group | None = None
    for n, invitee in enumerate(fresh):
        if group is None or draft.the(Group, group.id).room < 1:
            group = find_seats(draft, programme, wanted=len(fresh) - n)
        guard(draft, invitee.person_id)
        issue(draft, cause, invitee, group)
    return len(fresh)


def programme_of(draft: Draft, discharge: Discharge) -> Programme | None:
    """The programme that was chosen for a discharge, as it was on that day."""
    if discharge.programme_id is None or discharge.discharged_at is None:
        return None
    day = draft.policy.day(discharge.discharged_at)
    return draft.policy.programme(discharge.programme_id, draft.hospital, day)


def reconsider(
    draft: Draft,
    patient: str,
    *fates: Fate,
    only: Collection[str] | None = None,
    unless_invited: bool = False,
) -> None:
    """Invite by the patient's discharges of these fates that stand and are no backfill yet.

    ``only`` these persons; with ``unless_invited`` nobody who was ever invited to the
    programme on this account.
    """
    if is_deceased(draft, patient):
        return
    same = same_person(draft, patient)
    for id in same:
        for encounter in draft.where(Encounter, "patient_id", id):
            for discharge in encounter.discharges:
                if discharge.fate in fates and discharge.patient_id in same:
                    encounter = _again(draft, encounter, discharge, only, unless_invited)


def _again(
    draft: Draft,
    encounter: Encounter,
    discharge: Discharge,
    only: Collection[str] | None,
    unless_invited: bool,
) -> Encounter:
    programme, at = programme_of(draft, discharge), discharge.discharged_at
    if programme is None or at is None or draft.policy.is_backfill(at, draft.now):
        return encounter
    invited = {
        i.person_id
        for i in invitations_of(draft, discharge.patient_id)
        if unless_invited and i.programme_id == programme.id
    }
    whom = [
        w
        for w in invitees(draft, discharge)
        if (only is None or w.person_id in only) and w.person_id not in invited
    ]
    if not invite(draft, encounter.id, discharge, programme, whom):
        return encounter
    settle_for_discharge(draft, discharge.patient_id, encounter.id, discharge.event_id)
    return draft.put(encounter.having(discharge.with_fate(Fate.INVITED)))
