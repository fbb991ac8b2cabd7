"""What follows from what is told about conditions, allergies, stays and practitioners?

It is kept, looked at by the rules when a renewal is asked for and decided on, and at once
for those that are under way.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime, timedelta

from libs.common.decision import (
    Answer,
    Common,
    Decision,
    Document,
    Env,
    Input,
    Need,
    Refusal,
    State,
    Timer,
)
from libs.common.events import (
    AdmissionCancelled,
    AllergyRecorded,
    ConditionRecorded,
    EncounterAdmitted,
    PractitionerLeft,
    PractitionerRegistered,
    PractitionerUpdated,
)
from services.prescriptions.domain.assignment import Assigned, Assignment
from services.prescriptions.domain.consequences import (
    consequences,
    look_again,
    needs_consequences,
)
from services.prescriptions.domain.documents import Refill
from services.prescriptions.domain.health import Allergy, Condition, Practitioner, Stay
from services.prescriptions.domain.persons import patient
from services.prescriptions.domain.policy import RenewalPolicy
from services.prescriptions.domain.prescribing import ahead
from services.prescriptions.domain.reasons import Reason
from services.prescriptions.domain.staff import enlisted, needs_rosters

#: A practitioner who is to leave does.
LEAVING = "practitioner.leaving"


def _recorded(input: Input, state: State, env: Env, fact: Document, note: str) -> Decision:
    """``fact`` is kept, and what follows from it."""
    care = patient(state, input.hospital, input.data.patient_id)
    follows = consequences(state, care, env, fact)
    return Decision(
        changes=(fact, *follows.changes), events=follows.events, timers=follows.timers, note=note
    )


def needs_condition(input: Input, state: State) -> Iterator[Need]:
    yield Need(Condition, "id", input.data.condition_id)
    yield from needs_consequences(state, input.hospital, input.data.patient_id)


def decide_condition(input: Input, state: State, env: Env) -> Answer:
    told: ConditionRecorded = input.data
    if ahead(told.recorded_at, env.now):
        return Refusal(Reason.IN_THE_FUTURE)
    known = state.get(Condition, told.condition_id)
    condition = Condition(
        id=told.condition_id,
        hospital=input.hospital,
        patient_id=told.patient_id,
        code=told.code,
        display=told.display,
        clinical_status=told.clinical_status,
        verification_status=told.verification_status,
        recorded_at=told.recorded_at,
        first_recorded_at=told.recorded_at,
        encounter_id=told.encounter_id,
    )
    if known is not None:
        policy: RenewalPolicy = env.policy.at(env.now)
        for_days = timedelta(days=policy.rules.stable_condition.parameters.known_days)
        if known.recorded_at > told.recorded_at:
            # An older form changes nothing but since when the condition is known.
            condition = known.after(condition, for_days)
            if condition == known:
                return Refusal(Common.STALE)
        else:
            condition = condition.after(known, for_days)
    return _recorded(input, state, env, condition, "condition")


def needs_allergy(input: Input, state: State) -> Iterator[Need]:
    yield Need(Allergy, "id", input.data.allergy_id)
    yield from needs_consequences(state, input.hospital, input.data.patient_id)


def decide_allergy(input: Input, state: State, env: Env) -> Answer:
    told: AllergyRecorded = input.data
    if ahead(told.recorded_at, env.now):
        return Refusal(Reason.IN_THE_FUTURE)
    known = state.get(Allergy, told.allergy_id)
    if known is not None and known.recorded_at > told.recorded_at:
        return Refusal(Common.STALE)
    allergy = Allergy(
        id=told.allergy_id,
        hospital=input.hospital,
        patient_id=told.patient_id,
        code=told.code,
        system=told.system,
        display=told.display,
        criticality=told.criticality,
        category=told.category,
        clinical_status=told.clinical_status,
        verification_status=told.verification_status,
        recorded_at=told.recorded_at,
    )
    return _recorded(input, state, env, allergy, "allergy")


def needs_stay(input: Input, state: State) -> Iterator[Need]:
    yield Need(Stay, "id", input.data.encounter_id)


def needs_admitted(input: Input, state: State) -> Iterator[Need]:
    yield from needs_stay(input, state)
    yield from needs_consequences(state, input.hospital, input.data.patient_id)


def decide_admitted(input: Input, state: State, env: Env) -> Answer:
    told: EncounterAdmitted = input.data
    if ahead(told.admitted_at, env.now):
        return Refusal(Reason.IN_THE_FUTURE)
    stay = _stay(input, state)
    if stay.told_at is not None and stay.told_at > input.time:
        return Refusal(Common.STALE)
    began = stay.but(patient_id=told.patient_id, admitted_at=told.admitted_at, told_at=input.time)
    if told.admitted_at > env.now:  # by the publisher's clock
        later = look_again(told.patient_id, told.admitted_at)
        return Decision(changes=(began,), timers=(later,), note="admitted")
    return _recorded(input, state, env, began, "admitted")


def decide_admission_cancelled(input: Input, state: State, env: Env) -> Answer:
    told: AdmissionCancelled = input.data
    stay = _stay(input, state)
    if stay.cancelled_at is not None and stay.cancelled_at >= told.cancelled_at:
        return Refusal(Common.STALE)
    return Decision(changes=(stay.but(cancelled_at=told.cancelled_at),), note="admission_cancelled")


def _stay(input: Input, state: State) -> Stay:
    told: EncounterAdmitted | AdmissionCancelled = input.data
    known = state.get(Stay, told.encounter_id)
    return known or Stay(id=told.encounter_id, hospital=input.hospital, patient_id=told.patient_id)


def needs_practitioner(input: Input, state: State) -> Iterator[Need]:
    yield Need(Practitioner, "id", input.data.practitioner_id)
    known = state.get(Practitioner, input.data.practitioner_id)
    yield from needs_rosters(known, _practitioner(input, known))


def decide_practitioner(input: Input, state: State, env: Env) -> Answer:
    told: PractitionerRegistered | PractitionerUpdated = input.data
    known = state.get(Practitioner, told.practitioner_id)
    if known is not None and known.updated_at is not None and known.updated_at > told.updated_at:
        return Refusal(Common.STALE)
    practitioner = _practitioner(input, known)
    rosters = enlisted(state, known, practitioner, env.now)
    return Decision(changes=(practitioner, *rosters), note="practitioner")


def _practitioner(input: Input, known: Practitioner | None) -> Practitioner:
    told: PractitionerRegistered | PractitionerUpdated = input.data
    one = known or Practitioner(id=told.practitioner_id, hospital=input.hospital)
    as_told: Practitioner = one.but(
        name=told.name,
        roles=told.roles,
        departments=told.departments,
        practising_since=told.practising_since,
        deputy_id=told.deputy_id,
        updated_at=told.updated_at,
        left_at=known.left_at if known is not None else None,
    )
    return as_told


def needs_left(input: Input, state: State) -> Iterator[Need]:
    yield Need(Practitioner, "id", input.data.practitioner_id)
    known = state.get(Practitioner, input.data.practitioner_id)
    if known is not None:
        yield from needs_rosters(known, known)
    yield Need(Refill, "bound_to", input.data.practitioner_id)


def decide_left(input: Input, state: State, env: Env) -> Answer:
    told: PractitionerLeft = input.data
    known = state.get(Practitioner, told.practitioner_id) or Practitioner(
        id=told.practitioner_id, hospital=input.hospital
    )
    if known.left_at is not None and known.left_at >= told.left_at:
        return Refusal(Common.STALE)
    left = known.but(left_at=told.left_at)
    if told.left_at > env.now:
        return Decision(changes=(left,), timers=(_leaving(told),), note="practitioner_leaves")
    return Decision(changes=(left, *_gone(state, left, env.now)), note="practitioner_left")


def decide_leaving(input: Input, state: State, env: Env) -> Answer:
    """The day has come on which they leave, as it was told before."""
    known = state.get(Practitioner, input.data.practitioner_id)
    now = max(env.now, input.time)
    gone = _gone(state, known, now) if known is not None else []
    return Decision(changes=gone, note="practitioner_left" if gone else "nothing_follows")


def _gone(state: State, one: Practitioner, now: datetime) -> list[Document]:
    """Nobody looks for who has left any more, and what waits for them, or may come back to,
    waits for their department."""
    if not one.has_left(now):
        return []
    entry = Assignment(at=now, what=Assigned.RELEASE, reason=Reason.PRACTITIONER_LEFT)
    freed = [
        r.but(bound_to=None, assignments=(*r.assignments, entry))
        for r in state.where(Refill, "bound_to", one.id)
    ]
    return [*freed, *enlisted(state, one, one, now)]


def _leaving(told: PractitionerLeft) -> Timer:
    return Timer(
        id=f"{LEAVING}|{told.practitioner_id}",
        due=told.left_at,
        type=LEAVING,
        subject=told.practitioner_id,
        data=told.model_dump(mode="json", include={"practitioner_id", "left_at"}),
    )
