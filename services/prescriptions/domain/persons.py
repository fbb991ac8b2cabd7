"""Who is this patient, and who may act for them?

A merge of records is an alias that is resolved here, for patients and for persons who
act; keys are never rewritten. A patient acts for themselves, another person by a link
of the hospital's or one that a membership proved, until the hospital or its date ends it.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import date, datetime

from libs.common.decision import Actor, Need, State
from libs.common.events import Gender
from services.prescriptions.domain.documents import Link, PatientCare
from services.prescriptions.domain.policy import RenewalPolicy

#: The origin of links that the hospital tells itself.
HOSPITAL = "hospital"
#: Links that are kept for a patient, the newest; far more than anybody has.
LINKS_KEPT = 64


def needs_patient(state: State, id: str) -> Iterator[Need]:
    """The patient's care and, if the record was merged, the survivor's."""
    yield Need(PatientCare, "id", id)
    known = state.get(PatientCare, id)
    if known is not None and known.merged_into is not None:
        yield Need(PatientCare, "id", known.merged_into)


def patient(state: State, hospital: str, id: str) -> PatientCare:
    """What is known of the patient whom ``id`` names today; empty if nothing is."""
    care = state.get(PatientCare, id)
    if care is not None and care.merged_into is not None:
        id = care.merged_into
        care = state.get(PatientCare, id)
    return care if care is not None else PatientCare(id=id, hospital=hospital)


def ids_of(care: PatientCare) -> frozenset[str]:
    """All ids under which one person is or was known."""
    return frozenset((care.id, *care.aliases))


def known_as(state: State, hospital: str, person: str) -> frozenset[str]:
    """All ids of a person who acts."""
    return ids_of(patient(state, hospital, person)) | {person}


def persons(state: State, hospital: str, actor: Actor) -> frozenset[str]:
    return known_as(state, hospital, actor.person)


def is_patient(care: PatientCare, ids: frozenset[str]) -> bool:
    return not ids_of(care).isdisjoint(ids)


def may_act(care: PatientCare, ids: frozenset[str], now: datetime, policy: RenewalPolicy) -> bool:
    """Whether the person known as ``ids`` may ask for the patient's renewals and see them."""
    if is_patient(care, ids):
        return True
    theirs = [link for link in care.links if link.person_id in ids]
    told = [link for link in theirs if link.origin == HOSPITAL]
    # Of what the hospital tells of any of these ids the latest holds, and what it ended is
    # ended, whichever way it had been proved before.
    latest = max(told, key=lambda link: (link.since, link.ended), default=None)
    proofs = [latest, *(link for link in theirs if link.origin != HOSPITAL)]
    ended_at = latest.since if latest is not None and latest.ended else None
    return any(
        (ended_at is None or ended_at < link.since)
        and (link.valid_until is None or now < link.valid_until)
        and not link.scope.isdisjoint(policy.rules.authority.parameters.scopes)
        for link in proofs
        if link is not None
    )


def role_of(care: PatientCare, ids: frozenset[str]) -> str:
    """In which role who may act does so."""
    return "patient" if is_patient(care, ids) else "guardian"


def with_record(
    care: PatientCare,
    id: str,
    born: date,
    at: datetime,
    *,
    name: str | None,
    gender: Gender | None,
) -> PatientCare | None:
    """``care`` with what the record ``id`` says; None if what is known holds.

    The survivor's own record holds against those of its aliases, of these the newest.
    """
    if care.recorded_at is not None and (id == care.id, at) < (
        care.recorded_as in (None, care.id),
        care.recorded_at,
    ):
        return None
    recorded: PatientCare = care.but(
        birth_date=born, name=name, gender=gender, recorded_at=at, recorded_as=id
    )
    return recorded


def with_link(care: PatientCare, link: Link) -> PatientCare | None:
    """``care`` with ``link`` in place of an older one of its origin; None if it is stale."""
    others = []
    for known in care.links:
        if (known.person_id, known.origin) != (link.person_id, link.origin):
            others.append(known)
        elif known.since > link.since or (known.since == link.since and not link.ended):
            return None
    newest = sorted((*others, link), key=lambda x: (x.since, x.person_id, x.origin))
    kept: PatientCare = care.but(links=tuple(newest[-LINKS_KEPT:]))
    return kept
