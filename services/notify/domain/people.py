"""How can a person be reached, and about what may this person be told?

What notify keeps of people: an address for each channel, the language, whether they
live, and for each patient the consent and the link. A merged patient is an alias that
is resolved here; ids in other documents are never rewritten.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import ClassVar

from pydantic import BaseModel, ConfigDict

from libs.common.decision import Document, Need, State, derived_id
from libs.common.events import Sensitive


class Silence(StrEnum):
    """Why somebody is rightly not told."""

    EXPIRED = "expired"
    DUPLICATE = "duplicate"
    CANCELLED = "cancelled"
    DECEASED = "deceased"
    NO_CONSENT = "no_consent"
    NO_LINK = "no_link"
    NO_CONTACT = "no_contact"


class Death(BaseModel):
    """That a discharge says that the patient has died."""

    model_config = ConfigDict(frozen=True)

    discharge: str
    source: str
    event_id: str
    at: datetime


class Person(Document):
    """One person. Each ``*_at`` is when that field was so at its source: the later holds.

    ``known_at`` is set once anybody has told how to reach the person, even if by nothing
    that we have. ``deceased_at`` was told on its own, ``deaths`` by discharges that stand.
    ``inbox_last`` numbers the person's inbox messages without gaps.
    """

    COLLECTION: ClassVar[str] = "people"

    email: Sensitive[str | None] = None
    email_at: datetime | None = None
    webhook: Sensitive[str | None] = None
    webhook_at: datetime | None = None
    language: str | None = None
    language_at: datetime | None = None
    known_at: datetime | None = None
    deceased_at: datetime | None = None
    deaths: tuple[Death, ...] = ()
    survivor_id: str | None = None
    aliases: tuple[str, ...] = ()
    inbox_last: int = 0

    @property
    def deceased(self) -> bool:
        return self.deceased_at is not None or bool(self.deaths)


class Link(Document):
    """What one person may know of one patient: the consent and the link, each by time."""

    COLLECTION: ClassVar[str] = "links"

    person_id: str
    patient_id: str
    consent_withdrawn: bool = False
    consent_at: datetime | None = None
    ended: bool = False
    valid_until: datetime | None = None
    linked_at: datetime | None = None

    @staticmethod
    def id_of(person_id: str, patient_id: str) -> str:
        return derived_id("link", person_id, patient_id)


@dataclass(frozen=True, slots=True)
class Facts:
    """What one event tells about how to reach one person.

    A ``whole`` record says that an absent field is unknown; a snapshot says nothing of it.
    """

    person_id: str
    at: datetime
    whole: bool = False
    email: str | None = None
    webhook: str | None = None
    language: str | None = None


def learned(person: Person, facts: Facts) -> Person:
    """``person`` with what is newer in ``facts``; the order of arrival does not matter."""
    changes: dict[str, object] = {}
    for name in ("email", "webhook", "language"):
        value, at = getattr(facts, name), getattr(person, f"{name}_at")
        if (value is not None or facts.whole) and (at is None or facts.at >= at):
            changes |= {name: value, f"{name}_at": facts.at}
    if person.known_at is None:
        changes["known_at"] = facts.at
    return person.but(**changes) if changes else person


def consenting(link: Link, *, withdrawn: bool, at: datetime) -> Link:
    """``link`` after a decision about consent; of two at the same time the withdrawal holds."""
    if link.consent_at is not None and (at, withdrawn) <= (link.consent_at, link.consent_withdrawn):
        return link
    changed: Link = link.but(consent_withdrawn=withdrawn, consent_at=at)
    return changed


def linking(link: Link, *, ended: bool, at: datetime, valid_until: datetime | None = None) -> Link:
    """``link`` after the person was (un)linked; of two at the same time the end holds."""
    if link.linked_at is not None and (at, ended) < (link.linked_at, link.ended):
        return link
    changed: Link = link.but(ended=ended, linked_at=at, valid_until=valid_until)
    return changed


def merged(stays: Person, gone: Person) -> Person:
    """``stays`` after ``gone`` turned out to be the same person."""
    changes: dict[str, object] = {
        "aliases": (*stays.aliases, gone.id, *gone.aliases),
        # A live stream that has seen either inbox goes on with what comes after both.
        "inbox_last": max(stays.inbox_last, gone.inbox_last),
        "deceased_at": stays.deceased_at or gone.deceased_at,
        "deaths": (*stays.deaths, *gone.deaths),
        "known_at": stays.known_at or gone.known_at,
    }
    for name in ("email", "webhook", "language"):
        if getattr(stays, f"{name}_at") is None:
            changes |= {name: getattr(gone, name), f"{name}_at": getattr(gone, f"{name}_at")}
    both: Person = stays.but(**changes)
    return both


# -- aliases ----------------------------------------------------------------------------


def needs_person(state: State, id: str) -> Iterator[Need]:
    """The person ``id`` and, for an alias, the one who stays."""
    yield Need(Person, "id", id)
    person = state.get(Person, id)
    if person is not None and person.survivor_id is not None:
        yield Need(Person, "id", person.survivor_id)


def root(state: State, id: str) -> Person | None:
    """The person that ``id`` now means; merges keep every alias one step away from it."""
    person = state.get(Person, id)
    if person is not None and person.survivor_id is not None:
        return state.get(Person, person.survivor_id)
    return person


def all_ids(state: State, id: str) -> tuple[str, ...]:
    """Every id that means the same person as ``id``; the present one first."""
    person = root(state, id)
    return (id,) if person is None else (person.id, *person.aliases)


# -- may they be told? ------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Matter:
    """What is to be told, as far as it decides whether it may be."""

    recipient_id: str
    patient_id: str | None
    about_health: bool
    for_staff: bool


def needs_matter(state: State, matter: Matter) -> Iterator[Need]:
    yield from needs_person(state, matter.recipient_id)
    if matter.patient_id is not None:
        yield from needs_person(state, matter.patient_id)
    for id in all_ids(state, matter.recipient_id):
        yield Need(Link, "person_id", id)


def silence(state: State, matter: Matter, now: datetime) -> Silence | None:
    """Why ``matter`` must not be told now; None if it may."""
    patient_id = matter.patient_id or matter.recipient_id
    concerned = [matter.recipient_id]
    if not matter.for_staff:  # a doctor is still told of a patient who has died
        concerned.append(patient_id)
    for id in concerned:
        person = root(state, id)
        if person is not None and person.deceased:
            return Silence.DECEASED
    if not matter.about_health:
        return None
    patients = all_ids(state, patient_id)
    links = [
        link
        for id in all_ids(state, matter.recipient_id)
        for link in state.where(Link, "person_id", id)
        if link.patient_id in patients
    ]
    if _withdrawn(links):
        return Silence.NO_CONSENT
    return Silence.NO_LINK if _ended(links, now) else None


def _withdrawn(links: Iterable[Link]) -> bool:
    decided = [(x.consent_at, x.consent_withdrawn) for x in links if x.consent_at is not None]
    return max(decided)[1] if decided else False


def _ended(links: Sequence[Link], now: datetime) -> bool:
    told = [x for x in links if x.linked_at is not None]
    if not told:  # staff, and whoever we have heard nothing of
        return False
    last = max(told, key=lambda x: (x.linked_at, x.ended))
    return last.ended or (last.valid_until is not None and last.valid_until <= now)
