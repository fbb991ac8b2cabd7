"""Who is the same person, who has died, and who may act for a patient?

The document of a patient is also the guard of everything that is decided about them:
every such decision writes the surviving record, so that a discharge and a guardian who
is linked in the same moment can't miss each other in two replicas.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime
from typing import ClassVar

from libs.common.decision import Document, Need, State
from services.enrollment.domain.draft import Draft
from services.enrollment.domain.link import INVITABLE, Link, latest
from services.enrollment.domain.membership import Membership


class Patient(Document):
    """What enrollment knows of a patient, or of another person with a record."""

    COLLECTION: ClassVar[str] = "patients"

    #: After merges: all ids of this one person, the surviving one first.
    same: tuple[str, ...] = ()
    merged_at: datetime | None = None
    deceased_at: datetime | None = None
    #: The discharges (source, event id) that say so; none if it was told on its own.
    deceased_by: tuple[tuple[str, str], ...] = ()
    links: tuple[Link, ...] = ()


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


def last_link(draft: Draft, patient: str, person: str) -> Link | None:
    """The latest fact between two persons, whatever ids it was recorded under."""
    ids = set(same_person(draft, person))
    return latest(
        x
        for id in same_person(draft, patient)
        for x in record_of(draft, id).links
        if x.person_id in ids
    )


def link_to(draft: Draft, patient: str, person: str) -> Link | None:
    """The link between two persons, if it is active."""
    link = last_link(draft, patient, person)
    return link if link is not None and link.active(draft.now) else None


def learn_link(draft: Draft, patient: str, link: Link) -> bool:
    """Keep ``link`` with the patient's record unless something newer is known."""
    known = last_link(draft, patient, link.person_id)
    if known is not None and known.order > link.order:
        return False
    record = record_of(draft, patient)
    others = tuple(x for x in record.links if x.person_id != link.person_id)
    draft.put(record.but(links=(*others, link)))
    return True


def learn_snapshot(draft: Draft, patient: str, link: Link) -> None:
    """A discharge names guardians as they were: it adds those who are not known better."""
    known = last_link(draft, patient, link.person_id)
    if known is None or (known.since < link.since and not known.active(link.since)):
        learn_link(draft, patient, link)


def guardians(draft: Draft, patient: str, at: datetime) -> list[Link]:
    """Who is to be invited on the account of a child who left at ``at``: living guardians,
    each person once, by id.

    The ids are those of the surviving records. A link that was ended is over for good; one
    that ends by itself, as when the child comes of age, counts by the day on which they left.
    """
    family = same_person(draft, patient)
    named = {
        same_person(draft, x.person_id)[0] for id in family for x in record_of(draft, id).links
    }
    found = []
    for person in sorted(named.difference(family)):
        link = last_link(draft, patient, person)
        if link is None or not link.active(at):
            continue
        if is_deceased(draft, person) or INVITABLE.isdisjoint(link.scope):
            continue
        found.append(link.model_copy(update={"person_id": person}))
    return found
