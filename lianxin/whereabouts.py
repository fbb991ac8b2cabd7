"""Where is one event now, and what has it led to?

It is searched for where it may stand, in the order of its way: in its publisher's outbox, on its
topic, in the inbox of each consumer or among its dead letters. What it has led to is found by its
cause: ids of derived events are uuid5 of what caused them, and each names its cause.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any, Final

import httpx

from lianxin.installation import SERVICES, Installation
from lianxin.records import Letter, Told, at, headers, inbox_rows, letter, told
from lianxin.status import consumer_stopped
from libs.common.clock import Clock
from libs.common.decision import derived_id
from libs.common.events import NotificationRequested
from libs.common.fates import Fate
from libs.common.kafka.admin import Kafka, Place
from libs.common.kafka.record import Record
from libs.common.migrate import INBOX_DAYS
from libs.common.mongo.documents import Row
from libs.common.replays import Origin, origin
from libs.common.rows import OUTBOX

#: Events that one input may have led to and that are looked for by their ids.
DERIVED: Final = 50
#: Events of one cause that are followed; a broadcast has thousands.
FOLLOWED: Final = 25
#: An effect may be written a moment before its cause's inbox row says so: clocks differ.
SKEW: Final = timedelta(minutes=1)


@dataclass
class Reading:
    """What one consumer has made of an event. ``state``: ``handled``, ``refused``, ``set aside``,
    ``not reached``, ``ignored`` or ``no trace``; ``note`` says why, ``behind`` how many records
    come before it."""

    service: str
    state: str
    note: str = ""
    at: datetime | None = None
    behind: int | None = None
    members: int | None = None
    dead_letters: list[int] = field(default_factory=list)


@dataclass
class Whereabouts:
    """One event. ``outbox``: the service that has yet to send it; ``place``: where it stands."""

    event: Told
    outbox: str | None = None
    waits_since: datetime | None = None
    place: Origin | None = None
    readings: list[Reading] = field(default_factory=list)
    notification: Mapping[str, Any] | None = None
    effects: list[Whereabouts] = field(default_factory=list)
    more_effects: int = 0

    @property
    def written_at(self) -> datetime | None:
        return at(self.place.timestamp) if self.place is not None else None


@dataclass
class Search:
    """A look at an installation. ``most`` bounds the records that are read."""

    installation: Installation
    kafka: Kafka
    most: int
    looked: int = 0
    #: Not all of what was to be looked through, as ``most`` was reached.
    cut: bool = False

    # -- the event itself -----------------------------------------------------------------

    async def find(
        self, id: str, source: str | None, hospital: str | None, since: datetime
    ) -> list[Whereabouts]:
        """Every event with that id; the same id of two publishers is two events."""

        def meant(event: Told) -> bool:
            return (
                event.id == id
                and source in (None, event.source)
                and hospital in (None, event.hospital)
            )

        found = {w.event.inbox_id: w for w in await self._outboxes(id) if meant(w.event)}
        if not found and source is not None and hospital is not None:
            found |= await self._by_inboxes([f"{hospital}|{source}|{id}"])
        if not found:
            for each in await self._on_topics(id, since):
                if meant(each.event):
                    found.setdefault(each.event.inbox_id, each)
        return list(found.values())

    async def _outboxes(self, id: str) -> list[Whereabouts]:
        found = []
        for service in SERVICES:
            database = self.installation.database(service)
            rows = await database.find_rows(
                database.raw(OUTBOX), {"headers.ce_id": id.encode()}, fields=("headers", "at")
            )
            found += [_waiting(service, row) for row in rows]
        return found

    async def _by_inboxes(self, ids: Sequence[str]) -> dict[str | None, Whereabouts]:
        """Events that some inbox knows, by where it read them."""
        places: dict[str, tuple[str, int, int]] = {}
        for service in SERVICES:
            for id, row in (await inbox_rows(self.installation.database(service), ids)).items():
                if row["origin"]:
                    places.setdefault(id, tuple(row["origin"]))
        found: dict[str | None, Whereabouts] = {}
        for id, (topic, partition, offset) in places.items():
            hospital, source, name = id.split("|", 2)
            event = Told(name, source, None, hospital, None, None, None, None)
            place = Origin(topic, partition, offset, 0)
            record = await self._at(place)
            if record is None:  # no longer kept
                found[id] = Whereabouts(event, place=place)
            else:
                found[id] = Whereabouts(told(headers(record)), place=origin(record))
        return found

    async def _at(self, place: Origin) -> Record | None:
        spot = (place.topic, place.partition)
        if spot not in await self.kafka.places([place.topic]):
            return None
        first, end = (await self.kafka.ends([spot]))[spot]
        if not first <= place.offset < end:
            return None
        span = {spot: (place.offset, place.offset + 1)}
        return next(iter([r async for r in self.kafka.records(span)]), None)

    async def _on_topics(self, id: str, since: datetime) -> list[Whereabouts]:
        """Events' topics, then the dead letters, which are kept when the topic has forgotten."""
        wanted, topics = id.encode(), self.installation.topics.values()
        for names in (
            [t.name for t in topics if not t.internal],
            [f"{self.installation.group(service)}.dlq" for service in SERVICES],
        ):
            found: dict[str | None, Whereabouts] = {}
            meant = await self._scan(names, since, lambda r: headers(r).get("ce_id") == wanted)
            for record in meant:
                event = told(headers(record))
                found.setdefault(event.inbox_id, Whereabouts(event, place=origin(record)))
            if found:
                return list(found.values())
        return []

    async def _scan(
        self, topics: Iterable[str], since: datetime, wanted: Callable[[Record], bool]
    ) -> list[Record]:
        """Records that ``wanted`` takes, of what was written since; the others are let go."""
        places = await self.kafka.places(topics)
        ends = await self.kafka.ends(places)
        begins = await self.kafka.offsets_at(places, since)
        spans: dict[Place, tuple[int, int]] = {}
        left = self.most - self.looked
        for n, place in enumerate(places):
            size = max(0, ends[place][1] - begins[place])
            share = max(0, left // (len(places) - n))
            self.cut |= size > share
            spans[place] = (begins[place], begins[place] + min(size, share))
            left -= min(size, share)
        self.looked = self.most - left
        return [r async for r in self.kafka.records(spans) if wanted(r)]

    # -- its consumers --------------------------------------------------------------------

    async def follow(self, found: Sequence[Whereabouts], depth: int) -> None:
        """What consumers made of these events, and what came of it, ``depth`` steps on."""
        for each in found:
            if each.place is not None:
                await self._consumers(each)
            await self._notified(each)
        if depth > 0:
            handled = [w for w in found if any(r.state == "handled" for r in w.readings)]
            await self._effects(handled)
            following = [effect for w in handled for effect in w.effects]
            if following:
                await self.follow(following, depth - 1)

    async def _consumers(self, each: Whereabouts) -> None:
        place = each.place
        assert place is not None
        topic = self.installation.topics.get(place.topic)
        for service in SERVICES:
            if topic is not None and f"lianxin.{service}" not in topic.consumers:
                continue
            each.readings.append(await self._reading(service, each, place))

    async def _reading(self, service: str, each: Whereabouts, place: Origin) -> Reading:
        id, group = each.event.inbox_id, self.installation.group(service)
        database = self.installation.database(service)
        row = (await inbox_rows(database, [id])).get(id) if id is not None else None
        if row is not None:
            state = {Fate.DONE: "handled", Fate.REFUSED: "refused"}.get(row["fate"], "set aside")
            found = Reading(service, state, row["note"] or "", row["at"])
            if state == "set aside":
                found.dead_letters = [x.offset for x in await self._letters(service, place)]
            return found
        spot = (place.topic, place.partition)
        committed = (await self.kafka.committed(group)).get(spot, 0)
        if committed <= place.offset:
            members = (await self.kafka.group(group)).members
            note = (
                "its consumer has stopped: rejects flooded in"
                if await self._stopped(service)
                else ""
            )
            behind = place.offset - committed
            return Reading(service, "not reached", note, behind=behind, members=members)
        if letters := await self._letters(service, place):
            last = letters[-1]
            note = f"{last.reason}: {last.detail}" if last.detail else last.reason
            offsets = [x.offset for x in letters]
            return Reading(service, "set aside", note, last.set_aside_at, dead_letters=offsets)
        if each.event.type not in self.installation.spec(service).handlers:
            return Reading(service, "ignored", "a type that it does not know")
        note = f"read, and not in its inbox, which forgets after {INBOX_DAYS} days"
        return Reading(service, "no trace", note)

    async def _stopped(self, service: str) -> bool:
        """At any replica: which one reads that partition is not seen."""
        async with httpx.AsyncClient(timeout=3, trust_env=False) as http:
            for url in await self.installation.replicas(service):
                with suppress(httpx.HTTPError):  # not there to be asked, which its members say
                    if await consumer_stopped(http, url):
                        return True
        return False

    async def _letters(self, service: str, place: Origin) -> list[Letter]:
        topic = f"{self.installation.group(service)}.dlq"
        since = at(place.timestamp) - SKEW
        stood = place[:3]
        records = await self._scan([topic], since, lambda r: origin(r)[:3] == stood)
        return [letter(service, record) for record in records]

    # -- what came of it ------------------------------------------------------------------

    async def _effects(self, handled: Sequence[Whereabouts]) -> None:
        for each in handled:
            known: dict[str | None, Whereabouts] = {}
            for reading in each.readings:
                if reading.state == "handled" and reading.at is not None:
                    known |= await self._effects_of(each.event, reading.service, reading.at)
            effects = sorted(known.values(), key=_when)
            each.effects = effects[:FOLLOWED]
            each.more_effects = len(effects) - len(each.effects)

    async def _effects_of(
        self, event: Told, service: str, handled_at: datetime
    ) -> dict[str | None, Whereabouts]:
        ids = [derived_id(event.hospital, event.source, event.id, n) for n in range(DERIVED)]
        database, own = self.installation.database(service), f"/services/{service}"
        rows = await database.find_rows(
            database.raw(OUTBOX),
            {"_id": {"$in": [f"{event.hospital}/{id}" for id in ids]}},
            fields=("headers", "at"),
        )
        waiting = {w.event.inbox_id: w for w in (_waiting(service, row) for row in rows)}
        known = await self._by_inboxes([f"{event.hospital}|{own}|{id}" for id in ids])
        topics = [
            t.name
            for t in self.installation.topics.values()
            if f"lianxin.{service}" in t.producers and not t.internal
        ]
        cause, source = (event.id or "").encode(), own.encode()

        def caused(record: Record) -> bool:
            h = headers(record)
            return h.get("ce_causationid") == cause and h.get("ce_source") == source

        for record in await self._scan(topics, handled_at - SKEW, caused):
            effect = told(headers(record))
            if effect.hospital == event.hospital:
                known.setdefault(effect.inbox_id, Whereabouts(effect, place=origin(record)))
        # Sent, and not yet deleted from the outbox, is sent.
        return {**waiting, **known}

    async def _notified(self, each: Whereabouts) -> None:
        """What became of a notification: its status, and of each channel its delivery's."""
        if each.event.type != NotificationRequested.TYPE or not any(
            r.state == "handled" for r in each.readings
        ):
            return
        record = await self._at(each.place) if each.place is not None else None
        if record is None:
            return
        body = NotificationRequested.model_validate_json(record.value or b"")
        database, id = self.installation.database("notify"), body.notification_id
        key = f"{each.event.hospital}/{id}"
        rows = await database.find_rows(
            database.raw("notifications"), {"_id": key}, fields=("status", "reason", "channels")
        )
        channels = [c for row in rows for c in row["channels"]]
        deliveries = await database.find_rows(
            database.raw("deliveries"),
            {"_id": {"$in": [f"{key}~{channel}" for channel in channels]}},
            fields=(
                "channel",
                "status",
                "attempt",
                "reason",
                "code",
                "next_attempt_at",
                "ended_at",
            ),
        )
        if rows:
            each.notification = {
                "id": id,
                "status": rows[0]["status"],
                "reason": rows[0]["reason"],
                "deliveries": [{k: d[k] for k in d if k != "_id"} for d in deliveries],
            }


def _waiting(service: str, row: Row) -> Whereabouts:
    return Whereabouts(told(row["headers"]), outbox=service, waits_since=row["at"])


def _when(each: Whereabouts) -> tuple[str, str]:
    return each.event.time or "", each.event.id or ""


def horizon(clock: Clock, since: datetime | None) -> datetime:
    """Since when it is searched for: a day ago, unless they say."""
    return since if since is not None else clock.now() - timedelta(days=1)
