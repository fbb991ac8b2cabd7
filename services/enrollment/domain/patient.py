"""Who is the same person, who has died, and who may act for a patient?

The document of a patient is also the guard of everything that is decided about them:
every such decision writes the surviving record, so that a discharge and a guardian who
is linked in the same moment can't miss each other in two replicas.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime
from typing import ClassVar

from pydantic import BaseModel, ConfigDict

from libs.common.decision import Document, Need, State
from libs.common.events import Guardian, GuardianLinked, LinkScope, Relationship
from services.enrollment.domain.draft import Draft
from services.enrollment.domain.membership import Membership

#: What a link must allow for its person to be invited on the patient's account.
INVITABLE = frozenset({LinkScope.FULL, LinkScope.GROUP})


class Link(BaseModel):
    """One person who may, or no longer may, act for the patient. The latest fact holds."""

    model_config = ConfigDict(frozen=True)

    person_id: str
    relationship: Relationship = Relationship.OTHER
    scope: tuple[LinkScope, ...] = (LinkScope.FULL,)
    verified_by: str
    valid_until: datetime | None = None
    language: str | None = None
    since: datetime
    ended: bool = False

    def active(self, now: datetime) -> bool:
        return not self.ended and (self.valid_until is None or now < self.valid_until)


class Patient(Document):
    """What enrollment knows of a patient, or of another person with a record."""

    COLLECTION: ClassVar[str] = "patients"

    #: After merges: all ids of this one person, the surviving one first.
    same: tuple[str, ...] = ()
    merged_at: datetime | None = None
    deceased_at: datetime | None = None
    #: The discharge (source, event id) that says so, as long as nobody else does.
    deceased_by: tuple[str, str] | None = None
    links: tuple[Link, ...] = ()

    def link(self, person_id: str) -> Link | None:
        return next((x for x in self.links if x.person_id == person_id), None)


def needs_same(state: State, id: str) -> Iterator[Need]:
    """All records of the person ``id`` (two rounds)."""
    yield Need(Patient, "id", id)
    for other in same_person(state, id):
        yield Need(Patient, "id", other)


def needs_person(state: State, id: str) -> Iterator[Need]:
    """All records of the person ``id``, and of which programmes they are members."""
    yield from needs_same(state, id)
    for other in same_person(state, id):
        yield Need(Membership, "person_id", other)


def needs_guardians(state: State, patient: str) -> Iterator[Need]:
    """The persons linked to ``patient``, whose own records must be needed, too."""
    for id in same_person(state, patient):
        record = state.get(Patient, id)
        for link in record.links if record else ():
            yield from needs_person(state, link.person_id)


def same_person(state: State, id: str) -> tuple[str, ...]:
    """All ids of the person ``id``, the surviving one first."""
    record = state.get(Patient, id)
    return record.same if record is not None and record.same else (id,)


def is_caller(draft: Draft, person: str) -> bool:
    """Whether a command comes from ``person``, by whichever id. Needs: both."""
    actor = draft.input.actor
    return actor is not None and same_person(draft, actor.person) == same_person(draft, person)


def is_deceased(state: State, id: str) -> bool:
    record = state.get(Patient, id)
    return record is not None and record.deceased_at is not None


def record_of(draft: Draft, id: str) -> Patient:
    """The record of ``id``, an empty one if nothing was known."""
    return draft.get(Patient, id) or Patient(id=id, hospital=draft.hospital)


def guard(draft: Draft, patient: str) -> str:
    """Write the surviving record, whose id this is, under this decision."""
    survivor = same_person(draft, patient)[0]
    draft.put(record_of(draft, survivor))
    return survivor


def learn_link(draft: Draft, patient: str, link: Link) -> bool:
    """Keep ``link`` with the patient's record unless something newer is known."""
    record = record_of(draft, patient)
    known = record.link(link.person_id)
    if known is not None and known.since > link.since:
        return False
    others = tuple(x for x in record.links if x.person_id != link.person_id)
    draft.put(record.but(links=(*others, link)))
    return True


def link_of(event: GuardianLinked) -> Link:
    return Link(
        person_id=event.person_id,
        relationship=event.relationship,
        scope=event.scope,
        verified_by=event.verified_by,
        valid_until=event.valid_until,
        language=event.contact.language,
        since=event.linked_at,
    )


def learn_snapshot(draft: Draft, patient: str, guardian: Guardian, discharged_at: datetime) -> None:
    """A discharge names guardians as they were: it adds those who are not known better."""
    known = record_of(draft, patient).link(guardian.person_id)
    if known is None or (known.since < discharged_at and not known.active(discharged_at)):
        learn_link(draft, patient, link_of_snapshot(guardian, discharged_at))


def link_of_snapshot(guardian: Guardian, discharged_at: datetime) -> Link:
    """A discharge names guardians as the hospital knew them at that moment."""
    return Link(
        person_id=guardian.person_id,
        relationship=guardian.relationship,
        verified_by="discharge",
        language=guardian.language,
        since=discharged_at,
    )


def guardians(draft: Draft, patient: str) -> list[Link]:
    """Who is to be invited on a child's account: living guardians, each person once, by id.

    The ids are those of the surviving records.
    """
    family = set(same_person(draft, patient))
    found: dict[str, Link] = {}
    for id in same_person(draft, patient):
        for link in record_of(draft, id).links:
            person = same_person(draft, link.person_id)[0]
            if person in family or is_deceased(draft, person) or not link.active(draft.now):
                continue
            if INVITABLE.isdisjoint(link.scope):
                continue
            if person not in found or found[person].since < link.since:
                found[person] = link.model_copy(update={"person_id": person})
    return [found[p] for p in sorted(found)]


def link_to(draft: Draft, patient: str, person: str) -> Link | None:
    """The active link between two persons, whatever ids it was recorded under."""
    ids = set(same_person(draft, person))
    links = [
        x
        for id in same_person(draft, patient)
        for x in record_of(draft, id).links
        if x.person_id in ids and x.active(draft.now)
    ]
    return max(links, key=lambda x: x.since, default=None)
