"""How is one resource read with its sender's profile, and what is noted on the way?

What the families of resources have in common: identifiers, codes by table, references to
patients, practitioners and departments, times. Notes hold places and codes, never names or
findings.
"""

from __future__ import annotations

import re
from calendar import monthrange
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, time, timedelta, tzinfo
from typing import Any, Final, TypeVar

from libs.common.events import Department
from services.interop.edge import naming
from services.interop.edge.fhir.references import AHEAD, Known, Resource
from services.interop.edge.fhir.refused import Issue, Refused
from services.interop.edge.guardians import GuardianRule
from services.interop.edge.profile import (
    DepartmentOf,
    Identifier,
    OnUnknown,
    Profile,
    Table,
)

T = TypeVar("T")

#: Of one request: its answer stays short.
_MOST_NOTES: Final = 2_000
_ENTRY: Final = re.compile(r"Bundle\.entry\[(\d+)\]")


@dataclass(frozen=True, slots=True)
class Coded:
    """A Coding, its system by the name that the profile's tables have for it."""

    code: str
    text: str | None
    system: str


@dataclass(frozen=True, slots=True)
class Note:
    """What was taken and is worth a look; ``place`` is a FHIRPath."""

    code: str
    place: str
    text: str
    #: The number of the entry that it is about.
    entry: int = 0

    def __str__(self) -> str:
        return f"{self.code} {self.place}: {self.text}"


@dataclass(slots=True)
class Reading:
    """One request being read."""

    known: Known
    profile: Profile
    zone: tzinfo
    now: datetime
    adult_age: Callable[[date], int]
    #: Topics that the sender may write: else it only says who or what is meant.
    topics: frozenset[str]
    notes: dict[Note, None] = field(default_factory=dict)
    #: The entry that is being mapped.
    entry: int = 0
    #: By type and stay (``visits.of_visit``).
    by_visit: dict[str, dict[str, list[Resource]]] = field(default_factory=dict)

    def note(self, code: str, place: str, text: str) -> None:
        # What is noted of another entry on the way belongs to that one.
        found = _ENTRY.match(place)
        if len(self.notes) < _MOST_NOTES:
            self.notes[Note(code, place, text, int(found[1]) if found else self.entry)] = None

    @property
    def guardians(self) -> GuardianRule:
        return GuardianRule(self.profile.guardians, self.zone, self.now, self.adult_age)

    # -- codes --------------------------------------------------------------------------

    def codings(self, concept: Any) -> list[Coded]:
        """The codings of a CodeableConcept, or the one that a Coding is."""
        if concept is None:
            return []
        found = concept.coding if hasattr(concept, "coding") else [concept]
        systems = self.profile.fhir.systems
        return [
            Coded(c.code, c.display, systems.get(c.system or "", c.system or ""))
            for c in found or ()
            if c.code
        ]

    def known_code(self, table: Table[T], concept: Any) -> tuple[T] | None:
        """What the first coding that ``table`` knows means, in a tuple: it may be ``None``."""
        for coded in self.codings(concept):
            for key in (f"{coded.system}|{coded.code}", coded.code, coded.code.upper()):
                if key in table.codes:
                    return (table.codes[key],)
        return None

    def meaning(self, table: Table[T], concept: Any, place: str, unknown: T, name: str) -> T:
        """What ``concept`` means; one that the table does not know is refused or noted."""
        found = self.known_code(table, concept)
        if found is not None:
            return found[0]
        codes = ", ".join(naming.shown(c.code) for c in self.codings(concept)[:3])
        text = f"unknown {name} code {codes}" if codes else f"no {name} code"
        if table.unknown is OnUnknown.REFUSE:
            raise Refused(place, Issue.CODE_INVALID, text)
        self.note("unknown_code", place, text)
        return unknown

    def need_code(self, concept: Any, place: str) -> tuple[str, str]:
        """LOINC if the sender gives it, else its own; and the words for it."""
        codings = self.codings(concept)
        if not codings:
            raise Refused(f"{place}.coding", Issue.REQUIRED, "required, with a code")
        loinc = self.profile.systems.loinc
        best = next((c for c in codings if c.system in loinc), codings[0])
        return self.as_code(best.code, place), words_of(concept) or best.code

    # -- ids ----------------------------------------------------------------------------

    def as_id(self, text: str, place: str) -> str:
        found = naming.as_id(text)
        if found is None:
            raise Refused(place, Issue.VALUE, "no identifier of 1 to 128 characters")
        return found

    def as_code(self, text: str, place: str) -> str:
        found = naming.as_code(text)
        if found is None:
            raise Refused(place, Issue.VALUE, "no code of 1 to 64 characters")
        return found

    def chosen(self, identifiers: Sequence[Any] | None, rule: Identifier, place: str) -> str | None:
        """The value of the identifier that ``rule`` picks."""
        allowed: list[tuple[str, str, list[str]]] = []
        for one in identifiers or ():
            kinds = [c.code for c in self.codings(one.type)]
            if not one.value or one.use == "old" or {*kinds, one.system} & {*rule.never}:
                continue
            if naming.is_identity_number(one.value):
                text = "shaped like an identity card's number: passed over"
                self.note("identity_number", place, text)
                continue
            allowed.append((one.value, one.system or "", kinds))
        for kind in rule.types or (None,):
            for value, system, kinds in allowed:
                if kind not in (None, *kinds):
                    continue
                if not rule.authorities or system in rule.authorities:
                    return value
        if allowed and rule.otherwise_first:
            return allowed[0][0]
        return None

    def id_of(self, resource: Resource, rule: Identifier) -> str:
        """The identifier that ``rule`` picks; else the resource's own id, which is one only
        among its sender's."""
        place = resource.at("identifier")
        found = self.chosen(_listed(resource.model.identifier), rule, place)
        if found is not None:
            return self.as_id(found, place)
        own = f"{naming.id_part(resource.id)}@{naming.id_part(self.known.sender)}"
        return self.as_id(own, resource.at("id"))

    # -- references ---------------------------------------------------------------------

    def of(self, reference: Any, resource: Resource, path: str, *types: str) -> Resource | None:
        """What ``reference`` at ``path`` of ``resource`` means, if it is one of ``types``."""
        found = self.known.of(reference, resource, resource.at(path))
        return found if found is not None and found.type in types else None

    def patient(self, reference: Any, resource: Resource, path: str) -> tuple[str, Resource | None]:
        """The id of the patient that ``reference`` means, and what is known of them."""
        place = resource.at(path)
        if reference is None:
            raise Refused(place, Issue.REQUIRED, "required: the patient")
        found = self.of(reference, resource, path, "Patient")
        if found is not None:
            return self.patient_id(found), found
        if reference.identifier is not None:
            chosen = self.chosen([reference.identifier], self.profile.patient, place)
            if chosen is not None:
                return self.as_id(chosen, place), None
        text = "no patient known by this: send the Patient in the same bundle or before"
        raise Refused(place, Issue.NOT_FOUND, text)

    def same_patient(self, found: Resource, patient_id: str, place: str) -> None:
        """:class:`Refused` unless ``found``, to which ``place`` refers, is of ``patient_id``,
        too: nobody may get what is another's."""
        reference = found.model.subject
        if reference is None or not (reference.reference or reference.identifier):
            return
        other, _ = self.patient(reference, found, "subject")
        if other != patient_id and {other, patient_id} not in self._merged():
            text = f"{found.type} of another patient: end a wrong one there, send it under a new id"
            raise Refused(place, Issue.BUSINESS_RULE, text)

    def _merged(self) -> list[set[str | None]]:
        """Ids of patients of whom one replaces the other."""
        rule, found = self.profile.patient, []
        for one in [r for r in self.known.all.values() if r.type == "Patient"]:
            for n, link in enumerate(one.model.link or ()):
                path = f"link[{n}].other"
                other = self.of(link.other, one, path, "Patient")
                if other is not None and link.type in ("replaced-by", "replaces"):
                    sides = (one.model.identifier, other.model.identifier)
                    found.append({self.chosen(side, rule, one.place) for side in sides})
        return found

    def patient_id(self, patient: Resource) -> str:
        place = patient.at("identifier")
        found = self.chosen(patient.model.identifier, self.profile.patient, place)
        if found is None:
            text = "no identifier that is a patient's by the sender's profile"
            code = Issue.VALUE if patient.model.identifier else Issue.REQUIRED
            raise Refused(place, code, text)
        return self.as_id(found, place)

    def practitioner(self, reference: Any, resource: Resource, path: str) -> str | None:
        """The id of who is meant; ``None``, with a note, if that is not known."""
        if reference is None:
            return None
        found = self.practitioner_of(reference, resource, path)
        if found is not None:
            return self.id_of(found, self.profile.fhir.practitioner)
        place = resource.at(path)
        if reference.identifier is not None:
            rule = self.profile.fhir.practitioner
            chosen = self.chosen([reference.identifier], rule, place)
            if chosen is not None:
                return self.as_id(chosen, place)
        self.note("practitioner_not_known", place, "left out")
        return None

    def practitioner_of(self, reference: Any, resource: Resource, path: str) -> Resource | None:
        found = self.of(reference, resource, path, "Practitioner", "PractitionerRole")
        if found is not None and found.type == "PractitionerRole":
            return self.of(found.model.practitioner, found, "practitioner", "Practitioner")
        return found

    # -- departments --------------------------------------------------------------------

    def department(self, encounter: Resource | None) -> Department | None:
        """The department of an Encounter: the first of the profile's places that the table
        knows, else the first that is filled; else the profile's default."""
        told = [] if encounter is None else list(self._places(encounter))
        return self.department_of(told, encounter)

    def department_of(
        self, told: Sequence[tuple[str, list[str], str | None]], resource: Resource | None
    ) -> Department | None:
        table = self.profile.tables.department
        for _, keys, _ in told:
            for key in keys:
                if key in table.codes:
                    return _department(table.codes[key])
        if not told or resource is None:
            default = self.profile.defaults.department
            return None if default is None else _department(default)
        path, keys, name = told[0]
        place = resource.at(path)
        if table.codes:
            text = f"unknown department code {naming.shown(keys[-1])}"
            if table.unknown is OnUnknown.REFUSE:
                raise Refused(place, Issue.CODE_INVALID, text)
            self.note("unknown_code", place, text)
        return Department(code=self.as_code(keys[-1], place), name=naming.line(name))

    def _places(self, encounter: Resource) -> Iterator[tuple[str, list[str], str | None]]:
        """Place, keys (the last one stands for itself), name."""
        model = encounter.model
        for path in self.profile.fhir.department_in:
            if path == "serviceProvider":
                yield from self.organisation(model.serviceProvider, encounter, path)
            elif path == "location":
                for n, one in enumerate(model.location or ()):
                    at = f"location[{n}].location"
                    yield from self.organisation(one.location, encounter, at)
            else:
                found = getattr(model, path)
                for concept in found if isinstance(found, list) else [found] if found else []:
                    for coded in self.codings(concept):
                        keys = [f"{coded.system}|{coded.code}", coded.code]
                        yield path, keys, words_of(concept)

    def organisation(
        self, reference: Any, resource: Resource, path: str
    ) -> Iterator[tuple[str, list[str], str | None]]:
        """An Organization or Location by its identifiers, else its own id."""
        if reference is None:
            return
        found = self.of(reference, resource, path, "Organization", "Location")
        if found is not None:
            values = [i.value for i in found.model.identifier or () if i.value]
            yield path, [found.id, *values[::-1]], found.model.name
        elif reference.identifier is not None and reference.identifier.value:
            yield path, [reference.identifier.value], reference.display

    # -- times --------------------------------------------------------------------------

    def time(self, value: datetime | date | str | None) -> datetime | None:
        """A FHIR date, dateTime or instant in UTC; what is left out of it is zero, in the
        hospital's zone."""
        if value is None:
            return None
        if isinstance(value, str):  # a year, or a year and a month
            value = date(int(value[:4]), int(value[5:7] or 1), 1)
        if not isinstance(value, datetime):
            value = datetime.combine(value, time(), self.zone)
        try:
            return (value if value.tzinfo else value.replace(tzinfo=self.zone)).astimezone(UTC)
        except OverflowError:
            return None

    def until(self, end: datetime | date | str | None) -> datetime | None:
        """The end of a Period: one without a time of day is within it."""
        if isinstance(end, str):  # a year, or a year and a month
            year, month = int(end[:4]), int(end[5:7] or 12)
            end = date(year, month, monthrange(year, month)[1])
        if end is not None and not isinstance(end, datetime):
            end = datetime.combine(end, time(), self.zone) + timedelta(days=1)
        return self.time(end)

    def moment(self, resource: Resource, places: Iterable[tuple[str, Any]]) -> datetime:
        """The first time that is there and not ahead; else when it was recorded.

        Wrong clocks send times that have not been: one believed, no true one would be newer
        for years.
        """
        for path, value in places:
            found = self.time(value)
            if found is None:
                continue
            if found <= self.now + AHEAD:
                return found
            self.note("time_ahead", resource.at(path), "lies in the future: passed over")
        return self.recorded(resource)

    def recorded(self, resource: Resource) -> datetime:
        """Since when a resource is so: by itself, else by its bundle, else from now on."""
        stated = self.known.stated(resource.raw, self.now)
        return stated.astimezone(UTC) if stated else self.now


def _department(of: DepartmentOf) -> Department:
    return Department(code=of.code, name=of.name)


def _listed(found: Any) -> list[Any]:
    return found if isinstance(found, list) else [found] if found is not None else []


def words_of(concept: Any) -> str | None:
    """What a person should read of a CodeableConcept: the text, else a display, else a code."""
    if concept is None:
        return None
    codings = concept.coding or ()
    texts = (concept.text, *(c.display for c in codings), *(c.code for c in codings))
    return next((naming.line(text) for text in texts if text), None)
