"""What follows from what is told about conditions, allergies, stays and practitioners?

It is kept, and looked at by the rules when a renewal is asked for and decided on.
"""

from __future__ import annotations

from collections.abc import Iterator

from libs.common.decision import Answer, Common, Decision, Env, Input, Need, Refusal, State
from libs.common.events import (
    AdmissionCancelled,
    AllergyRecorded,
    ConditionRecorded,
    EncounterAdmitted,
    PractitionerRegistered,
    PractitionerUpdated,
)
from services.prescriptions.domain.documents import Reason
from services.prescriptions.domain.health import Allergy, Condition, Practitioner, Stay
from services.prescriptions.domain.prescribing import ahead


def needs_condition(input: Input, state: State) -> Iterator[Need]:
    yield Need(Condition, "id", input.data.condition_id)


def decide_condition(input: Input, state: State, env: Env) -> Answer:
    told: ConditionRecorded = input.data
    if ahead(told.recorded_at, env.now):
        return Refusal(Reason.IN_THE_FUTURE)
    known = state.get(Condition, told.condition_id)
    first = told.recorded_at
    if known is not None:
        first = min(first, known.first_recorded_at)
        if known.recorded_at > told.recorded_at:
            if first == known.first_recorded_at:
                return Refusal(Common.STALE)
            # An older form changes nothing but since when the condition is known.
            return Decision(changes=(known.but(first_recorded_at=first),), note="condition")
    condition = Condition(
        id=told.condition_id,
        hospital=input.hospital,
        patient_id=told.patient_id,
        code=told.code,
        clinical_status=told.clinical_status,
        verification_status=told.verification_status,
        recorded_at=told.recorded_at,
        first_recorded_at=first,
    )
    return Decision(changes=(condition,), note="condition")


def needs_allergy(input: Input, state: State) -> Iterator[Need]:
    yield Need(Allergy, "id", input.data.allergy_id)


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
        clinical_status=told.clinical_status,
        verification_status=told.verification_status,
        recorded_at=told.recorded_at,
    )
    return Decision(changes=(allergy,), note="allergy")


def needs_stay(input: Input, state: State) -> Iterator[Need]:
    yield Need(Stay, "id", input.data.encounter_id)


def decide_admitted(input: Input, state: State, env: Env) -> Answer:
    told: EncounterAdmitted = input.data
    if ahead(told.admitted_at, env.now):
        return Refusal(Reason.IN_THE_FUTURE)
    stay = _stay(input, state)
    if stay.told_at is not None and stay.told_at > input.time:
        return Refusal(Common.STALE)
    began = stay.but(patient_id=told.patient_id, admitted_at=told.admitted_at, told_at=input.time)
    return Decision(changes=(began,), note="admitted")


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


def decide_practitioner(input: Input, state: State, env: Env) -> Answer:
    told: PractitionerRegistered | PractitionerUpdated = input.data
    known = state.get(Practitioner, told.practitioner_id)
    if known is not None and known.updated_at > told.updated_at:
        return Refusal(Common.STALE)
    practitioner = Practitioner(
        id=told.practitioner_id,
        hospital=input.hospital,
        practising_since=told.practising_since,
        updated_at=told.updated_at,
    )
    return Decision(changes=(practitioner,), note="practitioner")
