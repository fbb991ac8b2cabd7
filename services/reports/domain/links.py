"""What does a fact about a patient or a link change?

It is kept with its own time, the later fact of a kind holds, and whoever it adds to the
people of a report that is still open is told.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from datetime import datetime
from typing import Any

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
    in_ms,
    when,
)
from libs.common.events import (
    ConsentGiven,
    ConsentScope,
    ConsentWithdrawn,
    GuardianLinked,
    GuardianUnlinked,
    MemberJoined,
    PatientDeceased,
    PatientMerged,
    PatientRegistered,
    PatientUpdated,
)
from services.reports.domain.people import (
    Link,
    Patient,
    RelatedPerson,
    merged,
    needs_people,
    people,
)
from services.reports.domain.telling import needs_open, tell_open


def needs_patient(input: Input, state: State) -> Iterator[Need]:
    yield from _needs_around(state, input.data.patient_id)


def decide_patient(input: Input, state: State, env: Env) -> Answer:
    event: PatientRegistered | PatientUpdated = input.data
    known = _patient(input, state, event.patient_id)
    at = when(input, event.updated_at)
    if known.updated_at is not None and at < known.updated_at:
        return Refusal(Common.STALE)
    return _keep(known.but(birth_date=event.birth_date, updated_at=at), state, env)


def decide_deceased(input: Input, state: State, env: Env) -> Answer:
    event: PatientDeceased = input.data
    known = _patient(input, state, event.patient_id)
    return _keep(known.but(deceased_at=in_ms(event.deceased_at)), state, env)


def needs_merged(input: Input, state: State) -> Iterator[Need]:
    event: PatientMerged = input.data
    yield from _needs_around(state, event.patient_id, event.survivor_id)


def decide_merged(input: Input, state: State, env: Env) -> Answer:
    event: PatientMerged = input.data
    gone = _patient(input, state, event.patient_id)
    at = when(input, event.merged_at)
    gone = gone.but(merged_at=at if gone.merged_at is None else max(at, gone.merged_at))
    stays = _patient(input, state, event.survivor_id)
    groups = (people(state, event.patient_id), people(state, event.survivor_id))
    # The event's two come last: one of them is the changed one.
    one = merged([*groups[0].patients.values(), *groups[1].patients.values(), stays, gone])
    related = {**groups[0].related, **groups[1].related}
    persons = {**groups[0].persons, **groups[1].persons}
    around = replace(people(state, event.survivor_id), persons=persons)
    around = around.changed(*one, *related.values())
    return tell_open(state, env, around, one, "merged")


def needs_link(input: Input, state: State) -> Iterator[Need]:
    event: Any = input.data  # each of the link and consent events names these two
    yield from by_id(Patient, event.person_id)
    yield from by_id(RelatedPerson, RelatedPerson.id_of(event.patient_id, event.person_id))
    yield from _needs_around(state, event.patient_id)


def decide_linked(input: Input, state: State, env: Env) -> Answer:
    event: GuardianLinked = input.data
    known = _related(input, state, event.patient_id, event.person_id)
    link = Link(at=when(input, event.linked_at), scope=event.scope, valid_until=event.valid_until)
    if not _newer(link, known.by_hospital):
        return Refusal(Common.STALE)
    return _keep(known.but(by_hospital=link), state, env)


def decide_unlinked(input: Input, state: State, env: Env) -> Answer:
    event: GuardianUnlinked = input.data
    known = _related(input, state, event.patient_id, event.person_id)
    link = Link(at=when(input, event.unlinked_at), ended=True)
    if not _newer(link, known.by_hospital):
        return Refusal(Common.STALE)
    return _keep(known.but(by_hospital=link), state, env)


def decide_joined(input: Input, state: State, env: Env) -> Answer:
    """An accepted invitation proves a link, as far as its scope goes.

    It proves what the hospital said when it invited: what was ended since then does not
    begin again by joining. Who leaves the group again stays a parent: only the hospital
    ends a link, or its date.
    """
    event: MemberJoined = input.data
    known = _related(input, state, event.patient_id, event.person_id)
    since = when(input, event.linked_at or event.joined_at)
    link = Link(at=since, scope=event.scope, valid_until=event.valid_until)
    if _newer(link, known.by_invitation):
        known = known.but(by_invitation=link)
    for consent in event.consents:
        if consent.scope is ConsentScope.HEALTH_DATA:
            at = _later(known.consent_given_at, when(input, consent.given_at))
            known = known.but(consent_given_at=at)
    return _keep(known, state, env)


def decide_consent_given(input: Input, state: State, env: Env) -> Answer:
    event: ConsentGiven = input.data
    if event.scope is not ConsentScope.HEALTH_DATA:
        return Decision(note="other_consent")
    known = _related(input, state, event.patient_id, event.person_id)
    at = _later(known.consent_given_at, when(input, event.given_at))
    return _keep(known.but(consent_given_at=at), state, env)


def decide_consent_withdrawn(input: Input, state: State, env: Env) -> Answer:
    event: ConsentWithdrawn = input.data
    if event.scope is not ConsentScope.HEALTH_DATA:
        return Decision(note="other_consent")
    known = _related(input, state, event.patient_id, event.person_id)
    at = _later(known.consent_withdrawn_at, when(input, event.withdrawn_at))
    return _keep(known.but(consent_withdrawn_at=at), state, env)


def _needs_around(state: State, *patient_ids: str) -> Iterator[Need]:
    yield from needs_people(state, *patient_ids)
    for id in patient_ids:
        yield from needs_open(people(state, id).ids)


def _keep(doc: Patient | RelatedPerson, state: State, env: Env) -> Answer:
    if isinstance(doc, Patient):
        around = people(state, doc.id).changed(doc)
    else:
        around = people(state, doc.patient_id, doc.person_id).changed(doc)
    return tell_open(state, env, around, (doc,), "known")


def _patient(input: Input, state: State, id: str) -> Patient:
    return state.get(Patient, id) or Patient(id=id, hospital=input.hospital, survivor_id=id)


def _related(input: Input, state: State, patient_id: str, person_id: str) -> RelatedPerson:
    id = RelatedPerson.id_of(patient_id, person_id)
    return state.get(RelatedPerson, id) or RelatedPerson(
        id=id, hospital=input.hospital, patient_id=patient_id, person_id=person_id
    )


def _newer(link: Link, known: Link | None) -> bool:
    """At the same moment an end wins over a beginning, whichever arrives first."""
    return known is None or (link.at, link.ended) > (known.at, known.ended)


def _later(known: datetime | None, new: datetime) -> datetime:
    return new if known is None else max(known, new)
