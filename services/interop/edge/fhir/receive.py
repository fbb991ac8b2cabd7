"""How does a FHIR request become what the rules decide?

In steps, so that reading and mapping stay pure: :func:`begin` reads the body, the caller looks
up what :meth:`Exchange.wanted` names until that is nothing, and :meth:`Exchange.received` maps
it. Between the journal and its events there is then nothing left that could fail.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import date, datetime, tzinfo
from typing import Any, Final
from zoneinfo import ZoneInfo

import structlog

from libs.common.events import Event
from services.interop.domain.kept import Kept, relation_of
from services.interop.domain.receipt import Fault, Format, Received
from services.interop.edge.fhir import bundle
from services.interop.edge.fhir.bundle import Kind, Request, Unit
from services.interop.edge.fhir.mapping import Note, Reading, digest, map_resource, ordered
from services.interop.edge.fhir.references import RELATED, Known, Resource
from services.interop.edge.fhir.refused import Issue, Refused
from services.interop.edge.profile import Profile

log = structlog.get_logger()

#: Written in one transaction with the message.
MOST_EVENTS: Final = 2_000
#: Entries of a batch: each is a transaction of its own.
MOST_OF_BATCH: Final = 500
#: Faults of one request that its sender is told.
_MOST_FAULTS: Final = 50
#: They are kept with the message; who sees a hundred needs no more to see what is wrong.
_MOST_NOTES: Final = 100
_MOST_NAMES: Final = 24
#: What no later request needs, and what may have megabytes.
_NOT_KEPT: Final = frozenset({"text", "meta", "photo", "presentedForm"})


@dataclass(frozen=True, slots=True)
class Done:
    """What became of one entry that is used; ``version`` is the resource's now."""

    number: int
    type: str
    id: str
    created: bool
    version: int


@dataclass(slots=True)
class Exchange:
    """One unit of a request on its way to a decision."""

    hospital: str
    sender: str
    raw: bytes
    request: Request
    unit: Unit | None = None
    known: Known | None = None
    faults: tuple[Fault, ...] = ()
    notes: list[Note] = field(default_factory=list)
    done: list[Done] = field(default_factory=list)

    @property
    def unused(self) -> Counter[str]:
        return self.unit.unused if self.unit else Counter()

    def wanted(self) -> tuple[set[str], set[str]]:
        """Ids and names of kept resources to look up; both empty if that is all."""
        found: tuple[set[str], set[str]] = set(), set()
        with self.refusing():
            found = self.known.wanted() if self.known else found
        return found

    def learn(self, found: Iterable[Kept]) -> None:
        with self.refusing():
            if self.known:
                self.known.learn(found)

    @contextmanager
    def refusing(self) -> Iterator[None]:
        """What is wrong within is kept, and nothing is done with the request any more."""
        try:
            yield
        except Refused as refused:
            self.faults, self.known = refused.faults, None
        except Exception:  # a bug of ours, and the same one however often it is sent
            log.exception("message_not_mapped", type=self.unit.label if self.unit else "")
            self.faults, self.known = internal(), None

    def received(
        self,
        profile: Profile,
        zone: tzinfo,
        now: datetime,
        adult_age: Callable[[date], int],
        topics: frozenset[str],
    ) -> Received:
        """What the rules decide; ``topics``: those that the sender may write. Raises nothing."""
        kept: list[Kept] = []
        events: list[Event] = []
        patients: list[str] = []
        known = self.known
        if known is not None:
            own = ZoneInfo(profile.zone) if profile.zone else zone
            reading = Reading(known, profile, own, now, adult_age, topics)
            with self.refusing():
                kept, events, patients = self._mapped(known, reading)
            self.notes += reading.notes
        for type, n in sorted(self.unused.items()):
            self.notes.append(Note("not_used", type, f"{n} of a type that gives no event"))
        return Received(
            **self._head(),
            patient_id=patients[0] if len(set(patients)) == 1 else "",
            events=() if self.faults else tuple(ordered(events)),
            notes=tuple(map(str, self.notes[:_MOST_NOTES])),
            faults=self.faults,
            kept=() if self.faults else tuple(kept),
            seen=() if self.faults or known is None else known.seen(),
        )

    def _head(self) -> dict[str, Any]:
        return {
            "format": Format.FHIR,
            "sender": self.sender,
            "control_id": self.unit.control_id if self.unit else "",
            "type": self.unit.label if self.unit else _label(self.request),
            "raw": self.raw,
            "request": self.request.told(),
        }

    def seed(self) -> str:
        """The same for the same request: ids of new resources follow from it."""
        return Received(**self._head()).receipt_id

    def _mapped(self, known: Known, reading: Reading) -> tuple[list[Kept], list[Event], list[str]]:
        """Resources that differ from what is kept, what they tell, and whom it is about."""
        kept: list[Kept] = []
        events: list[Event] = []
        faults: list[Fault] = []
        entries = [entry for entry in known.unit.entries if entry.is_used]
        for entry, resource in zip(entries, known.settle(reading.now), strict=True):
            before, new = resource.before, resource.before
            if resource.is_stale:
                reading.entry = entry.number
                text = "older than what came before: nothing is told or changed"
                reading.note("stale", resource.place, text)
            if not resource.exists:
                reading.entry = entry.number
                try:
                    # Only what is told counts as told: else what is allowed later never is.
                    told = allowed(reading, resource, map_resource(reading, resource))
                    mark = digest(told, reading.recorded(resource)) if told else ""
                except Refused as refused:
                    faults += refused.faults
                    continue
                if before is None or before.told != mark:
                    events += told
                new = self._kept(known, resource, mark)
                if new != before:
                    stated = known.stated(entry.raw, reading.now)
                    new = new.but(arrived_at=reading.now, stated_at=stated)
            version = before.version if before else 0
            if new is not None and new != before:
                kept.append(new)
                version += 1
            created = before is None
            self.done.append(Done(entry.number, resource.type, resource.id, created, version))
        if faults:
            raise Refused.of(tuple(faults[:_MOST_FAULTS]))
        if len(events) > MOST_EVENTS:
            text = f"more than {MOST_EVENTS} facts in one request: send it in parts"
            raise Refused("Bundle.entry", Issue.TOO_COSTLY, text)
        patients = [str(getattr(e, e.KEY)) for e in events if e.KEY == "patient_id"]
        return kept, events, patients

    def _kept(self, known: Known, resource: Resource, mark: str) -> Kept:
        names = known.names(resource)
        whose = RELATED.get(resource.type)
        if whose is not None:
            path = whose.lower()
            owner = known.of(getattr(resource.model, path), resource, resource.at(path))
            if owner is not None:
                names.append(relation_of(self.sender, whose, owner.id))
        before = resource.before or Kept(
            id=resource.key,
            hospital=self.hospital,
            type=resource.type,
            fhir_id=resource.id,
        )
        read = {n: v for n, v in resource.raw.items() if n not in _NOT_KEPT}
        content = known.lasting(read)
        return before.but(
            names=tuple(dict.fromkeys(names))[:_MOST_NAMES],
            content=json.dumps(content, ensure_ascii=False, separators=(",", ":")).encode(),
            told=mark or before.told,
        )


def allowed(reading: Reading, resource: Resource, told: list[Event]) -> list[Event]:
    """What the sender may tell of it; the rest is noted."""
    barred = {event.TOPIC for event in told} - reading.topics
    for topic in sorted(barred):
        reading.note("not_allowed", resource.place, f"the sender may not write {topic}")
    return [event for event in told if event.TOPIC not in barred]


def internal() -> tuple[Fault, ...]:
    """What a request is kept with that we can't handle, though it may be right."""
    text = "an error of the platform's own; kept for its staff, who take it up when it is mended"
    return (Fault(code=Issue.EXCEPTION, text=text),)


def _label(request: Request) -> str:
    return f"{request.method} {request.type}" if request.type else "Bundle"


def begin(hospital: str, sender: str, raw: bytes, request: Request) -> Exchange:
    """``raw`` read, or with what is wrong with it. Raises nothing."""
    exchange = Exchange(hospital, sender, raw, request)
    with exchange.refusing():
        exchange.unit = bundle.read(raw, request)
        exchange.known = Known(sender, exchange.unit, exchange.seed())
    return exchange


def parts(raw: bytes) -> list[bytes] | None:
    """The entries of a batch, each as a batch of its own; ``None`` if it is none that can be
    taken apart, and so is taken or refused as a whole."""
    try:
        body = bundle.parsed(raw)
        entries = body.get("entry")
        if body.get("type") != Kind.BATCH or not isinstance(entries, list) or not entries:
            return None
        if body.get("resourceType") != "Bundle" or len(entries) > MOST_OF_BATCH:
            return None
        return bundle.parts(raw)
    except (Refused, RecursionError, ValueError, IndexError):
        # Refused as a whole; such as one that has "entry" twice, of which one is no array.
        return None
