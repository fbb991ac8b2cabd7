"""What do other services' events tell notify about people?

Facts come late, twice and in any order: each is applied by the time at which it was so,
and none is newer than the event that tells it, so that a date in the future freezes nothing.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import datetime
from enum import StrEnum
from typing import Any

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
    ConsentGiven,
    ConsentScope,
    ConsentWithdrawn,
    EncounterDischarged,
    GuardianLinked,
    GuardianUnlinked,
    MemberJoined,
    PatientDeceased,
    PatientMerged,
    PatientRegistered,
    PatientUpdated,
    PractitionerRegistered,
    PractitionerUpdated,
)
from services.notify.domain.channels import Policy
from services.notify.domain.dying import died, needs_death, says_deceased
from services.notify.domain.notification import Notification
from services.notify.domain.people import (
    Facts,
    Link,
    Person,
    consenting,
    learned,
    linking,
    merged,
    needs_person,
    root,
)
from services.notify.domain.waiting import SETTLE


class Reason(StrEnum):
    """Why an event teaches nothing."""

    IN_THE_FUTURE = "in_the_future"


def facts_of(data: Any, told_at: datetime) -> list[Facts]:
    """How the persons of one event can be reached."""
    match data:
        case PatientRegistered() | PatientUpdated():
            at = min(data.updated_at, told_at)
            return [_facts(data.patient_id, data, at, whole=True)]
        case GuardianLinked():
            return [_facts(data.person_id, data.contact, min(data.linked_at, told_at))]
        case EncounterDischarged():
            at = min(data.discharged_at, told_at)
            return [
                _facts(data.patient_id, data.patient, at),
                *(_facts(g.person_id, g, at) for g in data.guardians),
            ]
        case PractitionerRegistered() | PractitionerUpdated():
            at = min(data.updated_at, told_at)
            return [Facts(data.practitioner_id, at, language=data.language)]
        case _:
            return []


def _facts(person_id: str, contact: Any, at: datetime, *, whole: bool = False) -> Facts:
    return Facts(person_id, at, whole, contact.email, contact.webhook, contact.language)


def pairs_of(data: Any) -> list[tuple[str, str]]:
    """The pairs (person, patient) of which an event tells something."""
    match data:
        case EncounterDischarged():
            return [(g.person_id, data.patient_id) for g in data.guardians]
        case GuardianLinked() | GuardianUnlinked() | MemberJoined():
            return [(data.person_id, data.patient_id)]
        case ConsentGiven() | ConsentWithdrawn():
            return [(data.person_id, data.patient_id)]
        case _:
            return []


def link_after(link: Link, data: Any, told_at: datetime) -> Link:
    """``link`` with what an event tells of it."""
    match data:
        case EncounterDischarged():
            # Only an end needs to be taken back: a snapshot proves no link that is unknown.
            at = min(data.discharged_at, told_at)
            return linking(link, ended=False, at=at) if link.ended else link
        case GuardianLinked():
            at, until = min(data.linked_at, told_at), data.valid_until
            return linking(link, ended=False, at=at, valid_until=until)
        case GuardianUnlinked():
            return linking(link, ended=True, at=min(data.unlinked_at, told_at))
        case MemberJoined():
            until = data.valid_until
            # Joining proves a link as old as it says; an end since then still holds.
            at = data.linked_at or data.joined_at
            joined = linking(link, ended=False, at=at, valid_until=until)
            for consent in data.consents:
                if consent.scope is ConsentScope.HEALTH_DATA:
                    joined = consenting(joined, withdrawn=False, at=consent.given_at)
            return joined
        case ConsentGiven(scope=ConsentScope.HEALTH_DATA):
            return consenting(link, withdrawn=False, at=data.given_at)
        case ConsentWithdrawn(scope=ConsentScope.HEALTH_DATA):
            return consenting(link, withdrawn=True, at=data.withdrawn_at)
        case _:
            return link


def needs_facts(input: Input, state: State) -> Iterator[Need]:
    data = input.data
    for facts in facts_of(data, input.time):
        yield from needs_person(state, facts.person_id)
    if isinstance(data, PatientDeceased):
        yield from needs_person(state, data.patient_id)
    yield from needs_death(input, state)
    for pair in pairs_of(data):
        yield Need(Link, "id", Link.id_of(*pair))


def decide_facts(input: Input, state: State, env: Env) -> Answer:
    """Keep what is new; a person who becomes known is no longer waited for."""
    data = input.data
    if isinstance(data, EncounterDischarged) and _lies_ahead(data, env):
        return Refusal(Reason.IN_THE_FUTURE)
    people: dict[str, tuple[Person, Person]] = {}  # id -> before, after
    changes: list[Document] = []

    def person(id: str) -> Person:
        known = root(state, id) or Person(id=id, hospital=input.hospital)
        return people.setdefault(known.id, (known, known))[1]

    def keep(after: Person) -> None:
        people[after.id] = (people[after.id][0], after)

    for facts in facts_of(data, input.time):
        keep(learned(person(facts.person_id), facts))
    if isinstance(data, PatientDeceased):
        patient = person(data.patient_id)
        at = min(data.deceased_at, patient.deceased_at or data.deceased_at)
        keep(patient.but(deceased_at=at))
    elif says_deceased(data):
        discharge, patient = died(input, state, person(data.patient_id))
        changes.append(discharge)
        keep(patient)
    changes += [after for before, after in people.values() if after != before]
    for pair in pairs_of(data):
        id = Link.id_of(*pair)
        before = state.get(Link, id) or Link(
            id=id, hospital=input.hospital, person_id=pair[0], patient_id=pair[1]
        )
        link = link_after(before, data, input.time)
        if link != before:
            changes.append(link)
    if not changes:
        return Refusal(Common.STALE)
    met = [
        after
        for before, after in people.values()
        # Whoever has messages and was not known may be waited for.
        if before.known_at is None and after.known_at is not None and before.inbox_last
    ]
    return Decision(changes=changes, timers=[_settle(p.id, input, env) for p in met])


def _lies_ahead(data: EncounterDischarged, env: Env) -> bool:
    """A slip of the pen, as enrollment takes it, too."""
    policy: Policy = env.policy.at(env.now)
    return data.discharged_at > env.now + policy.discharge_ahead


def _settle(person_id: str, input: Input, env: Env) -> Timer:
    return Timer(
        id=f"{SETTLE}/{person_id}/{input.id}",
        due=env.now,
        type=SETTLE,
        subject=person_id,
        data={"person_id": person_id},
    )


# -- merged -----------------------------------------------------------------------------


def needs_merge(input: Input, state: State) -> Iterator[Need]:
    merge: PatientMerged = input.data
    yield from needs_person(state, merge.patient_id)
    yield from needs_person(state, merge.survivor_id)
    gone = root(state, merge.patient_id)
    ids: Sequence[str] = (merge.patient_id,) if gone is None else (gone.id, *gone.aliases)
    for id in ids:
        yield Need(Person, "id", id)
    yield Need(Notification, "waiting_for", ids[0])


def decide_merge(input: Input, state: State, env: Env) -> Answer:
    """``patient_id`` and all its aliases now mean the survivor, in one step each."""
    merge: PatientMerged = input.data

    def person(id: str) -> Person:
        return root(state, id) or Person(id=id, hospital=input.hospital)

    gone, stays = person(merge.patient_id), person(merge.survivor_id)
    if gone.id == stays.id:
        return Refusal(Common.STALE)
    aliases = [p for a in gone.aliases if (p := state.get(Person, a)) is not None]
    waiting = state.where(Notification, "waiting_for", gone.id)
    stays = merged(stays, gone)
    changes: list[Document] = [stays]
    changes += [p.but(survivor_id=stays.id, aliases=()) for p in (gone, *aliases)]
    changes += [n.but(waiting_for=stays.id) for n in waiting]
    return Decision(changes=changes, timers=[_settle(stays.id, input, env)] if waiting else [])
