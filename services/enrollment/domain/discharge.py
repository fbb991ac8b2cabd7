"""What follows when a patient leaves hospital, and when that is taken back?"""

from __future__ import annotations

from collections.abc import Iterator

from libs.common.decision import Answer, Common, Env, Input, Need, Refusal, State
from libs.common.events import DischargeCancelled, Disposition, EncounterDischarged
from services.enrollment.domain import invitation as invitations
from services.enrollment.domain.draft import Draft
from services.enrollment.domain.encounter import STANDING, Discharge, Encounter, Fate
from services.enrollment.domain.group import needs_groups
from services.enrollment.domain.invitation import Invitation, InvitationStatus
from services.enrollment.domain.inviting import (
    consider,
    invitations_of,
    needs_account,
    needs_stays,
    programme_of,
    reconsider,
)
from services.enrollment.domain.link import link_of_snapshot
from services.enrollment.domain.patient import (
    guard,
    is_deceased,
    learn_snapshot,
    needs_person,
    same_person,
)
from services.enrollment.domain.programme import choose
from services.enrollment.domain.reasons import Reason, WithdrawnBecause
from services.enrollment.domain.relations import die_in_hospital, needs_death, take_death_back
from services.enrollment.domain.staff import (
    TaskReason,
    add_task,
    settle_for_discharge,
    tell_staff,
)


def needs_discharged(input: Input, state: State) -> Iterator[Need]:
    data: EncounterDischarged = input.data
    yield Need(Encounter, "id", data.encounter_id)
    yield from needs_groups(data.department.code)
    for guardian in data.guardians:
        yield from needs_person(state, guardian.person_id)
    yield from needs_account(state, data.patient_id)
    if _says_deceased(data):
        yield from needs_death(state, data.patient_id)


def decide_discharged(input: Input, state: State, env: Env) -> Answer:
    draft = Draft(input, state, env)
    data: EncounterDischarged = input.data
    encounter = _stay(draft, data).but(patient_id=data.patient_id)
    known = encounter.find(input.source, input.id)
    if known is not None and known.fate is not None:
        return Refusal(Common.STALE)
    if not _lies_ahead(draft, data):
        _learn_guardians(draft, data)
    guard(draft, data.patient_id)
    discharge = Discharge(
        source=input.source,
        event_id=input.id,
        patient_id=data.patient_id,
        department_code=data.department.code,
        discharged_at=data.discharged_at,
        cancelled_at=encounter.cancelled_at(input.id),
        child=draft.policy.is_child(data.patient.birth_date, data.discharged_at),
        language=data.patient.language,
    )
    if discharge.cancelled_at is not None:
        settle_for_discharge(draft, data.patient_id, encounter.id, input.id)
    fate = _nobody(draft, encounter, discharge, data)
    if fate is Fate.DECEASED and _says_deceased(data):
        die_in_hospital(draft, discharge, data.discharged_at)
    if fate in (None, Fate.REPEATED):
        programme = choose(draft.policy, input.hospital, data)
        if programme is not None:
            discharge = discharge.model_copy(update={"programme_id": programme.id})
        fate = fate or consider(draft, encounter.id, discharge, programme)
    draft.put(encounter.having(discharge.with_fate(fate)))
    if fate is Fate.INVITED:
        return draft.decision(note=fate)
    return draft.refusal(Reason(fate))


def _stay(draft: Draft, data: EncounterDischarged | DischargeCancelled) -> Encounter:
    return draft.get(Encounter, data.encounter_id) or Encounter(
        id=data.encounter_id, hospital=draft.hospital, patient_id=data.patient_id
    )


def _nobody(
    draft: Draft, encounter: Encounter, discharge: Discharge, data: EncounterDischarged
) -> Fate | None:
    """Why nobody at all is invited, in this order; None if somebody may be."""
    if discharge.cancelled_at is not None:
        return Fate.CANCELLED
    if _lies_ahead(draft, data):
        return Fate.IN_THE_FUTURE
    if draft.policy.is_backfill(data.discharged_at, draft.now):
        return Fate.BACKFILL
    if _says_deceased(data) or is_deceased(draft, data.patient_id):
        return Fate.DECEASED
    if data.disposition is Disposition.TRANSFERRED:
        return Fate.TRANSFERRED
    if any(d.fate in STANDING for d in encounter.discharges):
        return Fate.REPEATED
    return None


def _lies_ahead(draft: Draft, data: EncounterDischarged) -> bool:
    """A slip of the pen, of which nothing is believed."""
    return data.discharged_at > draft.now + draft.policy.discharge_ahead


def _learn_guardians(draft: Draft, data: EncounterDischarged) -> None:
    since = min(data.discharged_at, draft.told_at)
    until = draft.policy.adult_from(data.patient.birth_date, data.discharged_at)
    for guardian in data.guardians:
        learn_snapshot(draft, data.patient_id, link_of_snapshot(guardian, since, until))


def _says_deceased(data: EncounterDischarged) -> bool:
    return data.disposition is Disposition.DECEASED or data.patient.deceased


def needs_cancelled(input: Input, state: State) -> Iterator[Need]:
    data: DischargeCancelled = input.data
    yield Need(Encounter, "id", data.encounter_id)
    yield from needs_stays(state, data.patient_id)
    encounter = state.get(Encounter, data.encounter_id)
    # A stay that was booked under the wrong patient has discharges of two.
    for discharge in encounter.discharges if encounter else ():
        yield from needs_stays(state, discharge.patient_id)


def decide_cancelled(input: Input, state: State, env: Env) -> Answer:
    draft = Draft(input, state, env)
    data: DischargeCancelled = input.data
    encounter = _stay(draft, data)
    discharge = (
        encounter.find(input.source, data.discharge_event_id)
        or encounter.named(data.discharge_event_id)
        or Discharge(
            source=input.source, event_id=data.discharge_event_id, patient_id=data.patient_id
        )
    )
    if discharge.cancelled_at is not None:
        return Refusal(Common.STALE)
    came_first = discharge.fate is None
    cancelled = discharge.model_copy(
        update={
            "cancelled_at": data.cancelled_at,
            "fate": None if came_first else Fate.CANCELLED,
        }
    )
    draft.put(encounter.having(cancelled))
    if came_first:
        _ask_which(draft, encounter, discharge)
        return draft.decision(note="cancelled_before_it_came")
    guard(draft, discharge.patient_id)
    take_death_back(draft, discharge)
    withdrawn = set()
    for invitation in invitations_of(draft, discharge.patient_id):
        if _caused_by(discharge, encounter, invitation):
            if invitation.status is InvitationStatus.OPEN:
                invitations.withdraw(draft, invitation, WithdrawnBecause.DISCHARGE_CANCELLED)
                withdrawn.add(invitation.person_id)
            elif invitation.status is InvitationStatus.ACCEPTED:
                _tell(draft, invitation, data)
    settle_for_discharge(draft, discharge.patient_id, encounter.id, discharge.event_id)
    if discharge.fate in STANDING:
        _let_others_stand_in(draft, encounter.id, discharge.patient_id, withdrawn)
    return draft.decision(note="cancelled")


def _ask_which(draft: Draft, encounter: Encounter, unknown: Discharge) -> None:
    """Perhaps the discharge that stands was meant: a person decides.

    The line settles itself when the discharge that was named arrives.
    """
    standing = next((d for d in encounter.discharges if d.fate in STANDING), None)
    if standing is not None:
        add_task(
            draft,
            TaskReason.UNKNOWN_DISCHARGE_CANCELLED,
            cause=f"{encounter.id}:{unknown.source}:{unknown.event_id}",
            department=standing.department_code,
            patient=standing.patient_id,
            encounter=encounter.id,
            discharge_event=unknown.event_id,
        )


def _caused_by(discharge: Discharge, encounter: Encounter, invitation: Invitation) -> bool:
    key = (invitation.discharge_source, invitation.discharge_event_id)
    return key == discharge.key and invitation.encounter_id == encounter.id


def _tell(draft: Draft, invitation: Invitation, data: DischargeCancelled) -> None:
    """Who has joined stays, and staff are told."""
    task = add_task(
        draft,
        TaskReason.CANCELLED_AFTER_JOINING,
        cause=invitation.id,
        department=invitation.department_code,
        patient=invitation.patient_id,
        person=invitation.person_id,
        encounter=invitation.encounter_id,
        discharge_event=invitation.discharge_event_id,
        invitation=invitation.id,
    )
    tell_staff(
        draft,
        "staff.discharge_cancelled",
        programme_id=invitation.programme_id,
        task=task,
        happened_at=data.cancelled_at,
    )


def _let_others_stand_in(
    draft: Draft, encounter_id: str, patient: str, withdrawn: set[str]
) -> None:
    """Other discharges that invited nobody only because of the one that is now cancelled."""
    encounter = draft.the(Encounter, encounter_id)
    repeated = [d for d in encounter.discharges if d.fate is Fate.REPEATED]
    for discharge in repeated[-1:]:
        if is_deceased(draft, discharge.patient_id):
            fate = Fate.DECEASED
        elif discharge.discharged_at and draft.policy.is_backfill(
            discharge.discharged_at, draft.now
        ):
            fate = Fate.BACKFILL
        else:
            fate = consider(draft, encounter.id, discharge, programme_of(draft, discharge))
        draft.put(encounter.having(discharge.with_fate(fate)))
    # A stay that invited others may have passed over whoever was invited already.
    whom = {same_person(draft, person)[0] for person in withdrawn}
    reconsider(draft, patient, Fate.ALREADY_MEMBER, Fate.INVITED, only=whom)
