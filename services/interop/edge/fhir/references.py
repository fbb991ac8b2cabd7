"""Which resource does a reference mean?

One of the same request (by fullUrl, ``Type/id`` or identifier), else one that the same sender
has sent before. What has to be fetched for that is named first (:meth:`Known.wanted`), so that
reading and mapping stay pure.
"""

from __future__ import annotations

import json
import re
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any, Final
from urllib.parse import parse_qsl

from libs.common.decision import derived_id
from services.interop.domain.kept import Kept, kept_id, name_of, relation_of
from services.interop.edge.fhir import resources
from services.interop.edge.fhir.bundle import Entry, Unit
from services.interop.edge.fhir.refused import Issue, Refused

#: The last two parts of an address, relative or absolute, without its version.
_ADDRESS: Final = re.compile(
    r"(?:https?://[^\s?#]*/)?([A-Z][A-Za-z]{1,63})/([A-Za-z0-9.-]{1,64})(?:/_history/[^/]+)?"
)
#: What is found by whom it belongs to, which stands in its element of that name.
RELATED: Final = {"RelatedPerson": "Patient", "PractitionerRole": "Practitioner"}
#: Identifiers of one resource by which it can be found.
_MOST_NAMES: Final = 20
#: Clocks differ; the platform takes no event from further ahead than this.
AHEAD: Final = timedelta(minutes=5)
#: Resources read for one request, besides its own.
MOST_FETCHED: Final = 10_000
#: Their bytes: read, they take twenty times as much.
MOST_FETCHED_BYTES: Final = 16 * 1024 * 1024


@dataclass(slots=True, eq=False)
class Resource:
    """A resource of this request or an earlier one, under our id of it."""

    type: str
    id: str
    key: str
    raw: Mapping[str, Any]
    place: str
    #: What is kept of it so far.
    before: Kept | None = None
    #: Of this request, and so to be mapped.
    is_new: bool = False
    #: A conditional create found it, or a newer version came before: nothing is to be done.
    exists: bool = False
    is_stale: bool = False
    _model: Any = None

    @property
    def model(self) -> Any:
        if self._model is None:
            self._model = resources.checked(self.type, self.raw, self.place)
        return self._model

    def at(self, path: str) -> str:
        """FHIRPath of one of its elements."""
        return f"{self.place}.{path}"

    def earlier(self) -> Resource | None:
        """As it was kept before this request."""
        if self.before is None:
            return None
        return Resource(self.type, self.id, self.key, json.loads(self.before.content), self.place)


def identifiers(raw: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """System and value of each identifier; whatever has not that form is passed over."""
    found = raw.get("identifier", ())
    for one in (found if isinstance(found, list) else [found])[:_MOST_NAMES]:
        if isinstance(one, dict):
            system, value = one.get("system"), one.get("value")
            if isinstance(value, str) and value:
                yield system if isinstance(system, str) else "", value


def _references(raw: Any) -> Iterator[Mapping[str, Any]]:
    """Every Reference in ``raw``, at whatever depth."""
    waiting = [raw]
    while waiting:
        one = waiting.pop()
        if isinstance(one, dict):
            if isinstance(one.get("reference"), str) or isinstance(one.get("identifier"), dict):
                yield one
            waiting += one.values()
        elif isinstance(one, list):
            waiting += one


@dataclass
class Known:
    """All resources that one request may mean, of one sender."""

    sender: str
    unit: Unit
    #: Of what ids are derived that we give to new resources: the same request, the same ids.
    seed: str
    all: dict[str, Resource] = field(default_factory=dict)
    kept: dict[str, Kept] = field(default_factory=dict)
    _by_url: dict[str, Resource] = field(default_factory=dict)
    _by_own_id: dict[tuple[str, str], Resource] = field(default_factory=dict)
    _by_name: dict[str, list[Resource]] = field(default_factory=lambda: defaultdict(list))
    _asked: set[str] = field(default_factory=set)
    _new: list[Resource] = field(default_factory=list)
    _fetched: int = 0
    _unread: list[Mapping[str, Any]] = field(default_factory=list)

    def __post_init__(self) -> None:
        self._unread = [e.raw for e in self.unit.entries if e.is_used]

    # -- what to fetch ------------------------------------------------------------------

    def wanted(self) -> tuple[set[str], set[str]]:
        """Ids and names of kept resources to look up next; both empty if that is all."""
        ids, names = set(self._own()), set(self._own_names())
        for raw in self._unread:
            for reference in _references(raw):
                ids |= set(self._id_of(reference))
                names |= set(self._names_of(reference))
            # Who may act for a patient stands in the snapshot of a discharge, and what somebody
            # works as in their record.
            if raw.get("resourceType") in RELATED.values():
                name = relation_of(self.sender, str(raw["resourceType"]), str(raw.get("id", "")))
                names.add(name)
        self._unread = []
        ids -= self._asked
        names -= self._asked
        self._asked |= ids | names
        return ids, names

    def learn(self, found: Iterable[Kept]) -> None:
        """What was looked up."""
        for kept in found:
            if kept.id in self.kept:
                continue
            if len(self.kept) >= MOST_FETCHED:
                text = f"refers to more than {MOST_FETCHED} resources sent before"
                raise Refused("", Issue.TOO_COSTLY, text)
            self._fetched += len(kept.content)
            if self._fetched > MOST_FETCHED_BYTES:
                text = "refers to too much that was sent before: send it in parts"
                raise Refused("", Issue.TOO_COSTLY, text)
            self.kept[kept.id] = kept
            self._unread.append(json.loads(kept.content))

    def _own(self) -> Iterator[str]:
        for n, entry in enumerate(self.unit.entries):
            if entry.is_used:
                yield kept_id(self.sender, entry.type, entry.id or self._given(n, entry))

    def _own_names(self) -> Iterator[str]:
        for entry in self.unit.entries:
            if entry.is_used and entry.condition:
                yield self._searched(entry)

    def _given(self, n: int, entry: Entry) -> str:
        """The id of a new resource. Under one condition there is one, whoever creates it; an
        update says which it is to have."""
        if entry.is_update and isinstance(entry.raw.get("id"), str):
            return str(entry.raw["id"])
        own = (self.seed, n) if not entry.condition else (self._searched(entry),)
        return derived_id("assigned", *own)

    def _searched(self, entry: Entry) -> str:
        return self._of_search(entry.type, entry.condition, entry.place)

    def _of_search(self, type: str, query: str, place: str) -> str:
        found = parse_qsl(query)
        if len(found) == 1 and found[0][0] == "identifier":
            system, bar, value = found[0][1].partition("|")
            if bar and value:
                return name_of(self.sender, type, system, value)
        text = "a search is by identifier=system|value and nothing else"
        raise Refused(place, Issue.NOT_SUPPORTED, text)

    def _id_of(self, reference: Mapping[str, Any]) -> Iterator[str]:
        found = _ADDRESS.fullmatch(str(reference.get("reference", "")))
        if found and found[1] in resources.USED:
            yield kept_id(self.sender, found[1], found[2])

    def _names_of(self, reference: Mapping[str, Any]) -> Iterator[str]:
        text = str(reference.get("reference", ""))
        type, mark, query = text.partition("?")
        if mark and type in resources.USED:
            yield self._of_search(type, query, "")
        for system, value in identifiers(reference):
            for kind in self._types(reference):
                yield name_of(self.sender, kind, system, value)

    @staticmethod
    def _types(reference: Mapping[str, Any]) -> Iterable[str]:
        type = reference.get("type")
        if isinstance(type, str):
            return [type] if type in resources.USED else []
        return sorted(resources.USED)

    # -- what there is ------------------------------------------------------------------

    def settle(self, arrived: datetime) -> list[Resource]:
        """The resources of this request, which came at ``arrived``, each with what is kept of
        it; by then all that is wanted has been learnt."""
        by_name: dict[str, list[Kept]] = defaultdict(list)
        for kept in self.kept.values():
            for name in kept.names:
                by_name[name].append(kept)
        for n, entry in enumerate(self.unit.entries):
            if entry.is_used:
                self._new.append(self._placed(n, entry, by_name, arrived))
        for kept in self.kept.values():
            if kept.id not in self.all:
                raw = json.loads(kept.content)
                self._add(Resource(kept.type, kept.fhir_id, kept.id, raw, kept.type, kept))
        return self._new

    def _placed(
        self, n: int, entry: Entry, by_name: Mapping[str, list[Kept]], arrived: datetime
    ) -> Resource:
        id, exists = entry.id or self._given(n, entry), False
        if entry.condition:
            found = by_name.get(self._searched(entry), [])
            found = [kept for kept in found if kept.type == entry.type]
            if len(found) > 1:
                text = "several resources have this identifier"
                raise Refused(entry.place, Issue.MULTIPLE_MATCHES, text)
            if found:
                if entry.is_update and entry.raw.get("id", found[0].fhir_id) != found[0].fhir_id:
                    text = "another id than that of the resource which has this identifier"
                    raise Refused(f"{entry.place}.id", Issue.INVALID, text)
                id = found[0].fhir_id
                exists = not entry.is_update
        key = kept_id(self.sender, entry.type, id)
        if key in self.all:
            raise Refused(entry.place, Issue.INVALID, "stands twice in the request")
        before = self.kept.get(key)
        stale = False
        if before and not exists:
            exists = stale = before.is_newer(arrived, self.stated(entry.raw, arrived))
        raw = json.loads(before.content) if before and exists else {**entry.raw, "id": id}
        resource = Resource(
            entry.type, id, key, raw, entry.place, before, True, exists=exists, is_stale=stale
        )
        self._add(resource)
        if entry.full_url in self._by_url:
            place = f"{entry.place.removesuffix('.resource')}.fullUrl"
            raise Refused(place, Issue.INVALID, "stands twice in the bundle")
        if entry.full_url:
            self._by_url[entry.full_url] = resource
        own = entry.raw.get("id")
        if isinstance(own, str):
            self._by_own_id.setdefault((entry.type, own), resource)
        return resource

    def stated(self, raw: Mapping[str, Any], now: datetime) -> datetime | None:
        """Since when a resource is so by its sender; ``None``: it does not say, or its clock
        is wrong."""
        meta = raw.get("meta")
        said = meta.get("lastUpdated") if isinstance(meta, dict) else None
        try:
            found = datetime.fromisoformat(said) if isinstance(said, str) else self.unit.timestamp
            if found is None or found.tzinfo is None:
                return None
            return found if found.astimezone(UTC) <= now + AHEAD else None
        except (ValueError, OverflowError):  # its mapping refuses it
            return None

    def _add(self, resource: Resource) -> None:
        self.all[resource.key] = resource
        for name in self.names(resource):
            self._by_name[name].append(resource)

    def names(self, resource: Resource) -> list[str]:
        """Under what ``resource`` can be found, besides its id."""
        return [
            name_of(self.sender, resource.type, system, value)
            for system, value in identifiers(resource.raw)
        ]

    def by_name(self, name: str) -> list[Resource]:
        return self._by_name.get(name, [])

    def of(self, reference: Any, resource: Resource, place: str) -> Resource | None:
        """What ``reference``, a Reference in ``resource``, means; ``None`` if nothing known."""
        if reference is None:
            return None
        text = reference.reference or ""
        if text.startswith("#"):
            return self._contained(text[1:], resource)
        found = self._meant(text, place) if text else None
        if found is None and reference.identifier is not None:
            raw = {"identifier": reference.identifier.model_dump(), "type": reference.type}
            for system, value in identifiers(raw):
                for kind in self._types(raw):
                    found = found or self._only(name_of(self.sender, kind, system, value), place)
        return found

    def _meant(self, text: str, place: str) -> Resource | None:
        found = self._by_url.get(text)
        address = _ADDRESS.fullmatch(text)
        if found is None and address:
            key = (address[1], address[2])
            found = self._by_own_id.get(key) or self.all.get(kept_id(self.sender, *key))
        type, mark, query = text.partition("?")
        if found is None and mark and type in resources.USED:
            found = self._only(self._of_search(type, query, place), place)
            if found is None:
                raise Refused(place, Issue.NOT_FOUND, f"no {type} has this identifier")
        return found

    def lasting(self, raw: Any) -> Any:
        """``raw`` with references as they hold after this request: to ``Type/id`` of ours."""
        if isinstance(raw, list):
            return [self.lasting(one) for one in raw]
        if not isinstance(raw, dict):
            return raw
        found = {name: self.lasting(value) for name, value in raw.items()}
        text = found.get("reference")
        if isinstance(text, str):
            try:
                meant = self._meant(text, "")
            except Refused:  # nobody needed it, or its mapping would have refused it
                meant = None
            if meant is not None:
                found["reference"] = f"{meant.type}/{meant.id}"
        return found

    def _only(self, name: str, place: str) -> Resource | None:
        found = self.by_name(name)
        if len(found) > 1:
            text = "several resources have this identifier"
            raise Refused(place, Issue.MULTIPLE_MATCHES, text)
        return found[0] if found else None

    def _contained(self, id: str, resource: Resource) -> Resource | None:
        contained = resource.raw.get("contained", [])
        for n, raw in enumerate(contained if isinstance(contained, list) else []):
            if isinstance(raw, dict) and raw.get("id") == id:
                type = raw.get("resourceType")
                if type not in resources.USED:
                    return None
                place = resource.at(f"contained[{n}]")
                # What it refers to with #… stands beside it.
                whole = {**raw, "contained": contained}
                return Resource(type, f"{resource.id}.{id}", "", whole, place)
        return None

    def seen(self) -> tuple[tuple[str, int], ...]:
        """Ids and versions of all that was looked up and may have settled something."""
        return tuple((kept.id, kept.version) for kept in self.kept.values())
