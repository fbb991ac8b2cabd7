"""Who may read a patient's reports, and who is told of a new one?

What is known of people comes from ``hospital.patients`` and ``enrollment.events``, which
have no order between them: every fact carries its own time and the later one holds, so
a replay changes nothing. Records that were merged count as one person, the patient's as
well as those of who acts for them: each of them names the survivor and all the others,
and links of any of them are links of all.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, date, datetime
from typing import ClassVar, Final

from pydantic import BaseModel, ConfigDict

from libs.common.decision import Document, Need, State
from libs.common.events import LinkScope, Sensitive
from services.reports.domain.policy import ReportPolicy

_NEVER: Final = datetime.min.replace(tzinfo=UTC)


class Patient(Document):
    """What reports must know of a patient, or of another person whose records were merged.

    ``survivor_id`` is the own id unless merged; ``aliases`` are all ids of the one person.
    """

    COLLECTION: ClassVar[str] = "patients"

    survivor_id: str
    aliases: tuple[str, ...] = ()
    birth_date: Sensitive[date | None] = None
    updated_at: datetime | None = None
    deceased_at: datetime | None = None
    merged_at: datetime | None = None


class Link(BaseModel):
    """A person may act for a patient, as far as ``scope`` goes and until then."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    at: datetime
    ended: bool = False
    scope: tuple[LinkScope, ...] = ()
    valid_until: datetime | None = None

    def opens(self, scopes: frozenset[LinkScope], now: datetime) -> bool:
        in_time = self.valid_until is None or now < self.valid_until
        return not self.ended and in_time and not scopes.isdisjoint(self.scope)


class RelatedPerson(Document):
    """One person and one patient: links by source, and the consent about health data."""

    COLLECTION: ClassVar[str] = "related_persons"

    patient_id: str
    person_id: str
    by_hospital: Link | None = None
    by_invitation: Link | None = None
    consent_given_at: datetime | None = None
    consent_withdrawn_at: datetime | None = None

    @staticmethod
    def id_of(patient_id: str, person_id: str) -> str:
        return f"{patient_id}|{person_id}"  # no id holds a bar


def opens(known: Iterable[RelatedPerson], scopes: frozenset[LinkScope], now: datetime) -> bool:
    """Whether one person may act for one patient, by all that is known under any of their ids.

    Of what the hospital tells the latest holds, and what it ended is ended, whichever way
    it had been proved before.
    """
    both = [(r.by_hospital, r.by_invitation) for r in known]
    told = [hospital for hospital, _ in both if hospital is not None]
    latest = max(told, key=lambda link: (link.at, link.ended), default=None)
    proofs = [latest, *(invited for _, invited in both)]
    ended_at = latest.at if latest is not None and latest.ended else None
    return any(
        link.opens(scopes, now)
        for link in proofs
        if link is not None and (ended_at is None or ended_at < link.at)
    )


@dataclass(frozen=True, slots=True)
class Audience:
    """Who is to be told. ``complete``: no fact that may still come would add somebody."""

    persons: tuple[str, ...] = ()
    complete: bool = False


@dataclass(frozen=True, slots=True)
class People:
    """All that is known around one patient, under any of the merged ids."""

    patient_id: str
    patients: Mapping[str, Patient]
    related: Mapping[str, RelatedPerson]
    #: The records of the related persons, as far as they have any.
    persons: Mapping[str, Patient] = field(default_factory=dict)

    @property
    def ids(self) -> frozenset[str]:
        return frozenset({self.patient_id, *self.patients})

    @property
    def survivor_id(self) -> str:
        known = self.patients.get(self.patient_id)
        return known.survivor_id if known else self.patient_id

    def now_is(self, person_id: str) -> str:
        """The id by which a person of these is known today."""
        known = self.patients.get(person_id) or self.persons.get(person_id)
        return known.survivor_id if known else person_id

    def changed(self, *docs: Patient | RelatedPerson) -> People:
        """The same people after a decision that is not saved yet."""
        patients, related = dict(self.patients), dict(self.related)
        for doc in docs:
            if isinstance(doc, Patient):
                patients[doc.id] = doc
            else:
                related[doc.id] = doc
        return replace(self, patients=patients, related=related)

    def may_read(
        self, person_ids: frozenset[str], scopes: frozenset[LinkScope], now: datetime
    ) -> bool:
        """Whether one person, by whichever of their ids, is the patient or may act for them."""
        return not person_ids.isdisjoint(self.ids | self._linked(scopes, now))

    def audience(self, policy: ReportPolicy, now: datetime) -> Audience:
        """An adult is told oneself; for a child, whoever may read for them; of the dead nobody."""
        if any(p.deceased_at is not None for p in self.patients.values()):
            return Audience(complete=True)
        birth_date = self._birth_date()
        if birth_date is None:
            return Audience()
        if policy.is_adult(birth_date, now):
            told = [p for p in (self.survivor_id,) if self._consents(p)]
            return Audience(tuple(told), complete=True)
        linked = {self.now_is(p) for p in self._linked(policy.audience.scopes, now)} - self.ids
        return Audience(tuple(sorted(p for p in linked if self._consents(p))))

    def _birth_date(self) -> date | None:
        """The survivor's record where we have it, else the newest of the others."""
        known = [p for p in self.patients.values() if p.birth_date is not None]
        known.sort(key=lambda p: (p.id == self.survivor_id, p.updated_at or _NEVER, p.id))
        return known[-1].birth_date if known else None

    def _linked(self, scopes: frozenset[LinkScope], now: datetime) -> set[str]:
        """All known ids of whoever may act for the patient."""
        known: dict[str, list[RelatedPerson]] = defaultdict(list)
        for r in self.related.values():
            known[self.now_is(r.person_id)].append(r)
        return {
            id
            for person, theirs in known.items()
            if opens(theirs, scopes, now)
            for id in (person, *(r.person_id for r in theirs))
        }

    def _consents(self, person_id: str) -> bool:
        """Pushes go on until the consent is withdrawn; the later of two decisions holds."""
        theirs = [r for r in self.related.values() if self.now_is(r.person_id) == person_id]
        given = max((r.consent_given_at or _NEVER for r in theirs), default=_NEVER)
        withdrawn = max((r.consent_withdrawn_at or _NEVER for r in theirs), default=_NEVER)
        return withdrawn == _NEVER or given > withdrawn


def needs_people(state: State, *patient_ids: str) -> Iterator[Need]:
    """All documents of :func:`people`. A generator: later needs follow from earlier finds."""
    for id in patient_ids:
        yield Need(Patient, "id", id)
        yield Need(RelatedPerson, "patient_id", id)
        known = state.get(Patient, id)
        survivor = known.survivor_id if known else id
        yield Need(Patient, "survivor_id", survivor)
        # By the aliases, too, which are known a round earlier.
        others = {p.id for p in state.where(Patient, "survivor_id", survivor)}
        others.update(known.aliases if known else ())
        for one in (id, *sorted(others - {id})):
            yield Need(RelatedPerson, "patient_id", one)
            for r in state.where(RelatedPerson, "patient_id", one):
                yield Need(Patient, "id", r.person_id)


def people(state: State, patient_id: str, *more: str) -> People:
    """``more`` are persons who are about to be related to the patient."""
    known = state.get(Patient, patient_id)
    survivor = known.survivor_id if known else patient_id
    patients = state.where(Patient, "survivor_id", survivor)
    ids = {patient_id, *(p.id for p in patients)}
    related = [r for id in sorted(ids) for r in state.where(RelatedPerson, "patient_id", id)]
    persons = (state.get(Patient, id) for id in {*more, *(r.person_id for r in related)})
    return People(
        patient_id,
        {p.id: p for p in patients},
        {r.id: r for r in related},
        {p.id: p for p in persons if p is not None},
    )


def acts_for(
    links: Iterable[RelatedPerson],
    records: Iterable[Patient],
    scopes: frozenset[LinkScope],
    now: datetime,
) -> set[str]:
    """The patients, by the id of today, for whom the person of all these ``links`` may act."""
    now_is = {p.id: p.survivor_id for p in records}
    known: dict[str, list[RelatedPerson]] = defaultdict(list)
    for link in links:
        known[now_is.get(link.patient_id, link.patient_id)].append(link)
    return {patient for patient, theirs in known.items() if opens(theirs, scopes, now)}


def merged(groups: Iterable[Patient]) -> list[Patient]:
    """``groups`` as one person: the survivor is whose record never went, or went first."""
    together = {p.id: p for p in groups}
    survivor = min(together.values(), key=lambda p: (p.merged_at or _NEVER, p.id))
    aliases = tuple(sorted(together))
    return [p.but(survivor_id=survivor.id, aliases=aliases) for p in together.values()]
