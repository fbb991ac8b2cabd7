"""Where does an event stand?

It is searched for where it may stand, in the order of its way: in its publisher's outbox, where an
inbox has it from, on its topic, among its consumers' dead letters.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from lianxin.installation import SERVICES, Installation
from lianxin.records import Told, headers, inbox_rows, told
from lianxin.whereabouts import Whereabouts, in_outbox
from libs.common.clock import Clock
from libs.common.kafka.admin import Kafka, Place
from libs.common.kafka.record import Record
from libs.common.replays import Origin, origin
from libs.common.rows import OUTBOX


@dataclass
class Search:
    """A look at an installation. ``most`` bounds the records that are read."""

    installation: Installation
    kafka: Kafka
    most: int
    looked: int = 0
    #: Not all of what was to be looked through, as ``most`` was reached.
    cut: bool = False

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
            found |= await self.by_inboxes([f"{hospital}|{source}|{id}"])
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
            found += [in_outbox(service, row) for row in rows]
        return found

    async def by_inboxes(self, ids: Sequence[str]) -> dict[str | None, Whereabouts]:
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
            record = await self.record_at(place)
            if record is None:  # no longer kept
                found[id] = Whereabouts(event, place=place)
            else:
                found[id] = Whereabouts(told(headers(record)), place=origin(record))
        return found

    async def record_at(self, place: Origin) -> Record | None:
        """The record there, if it is kept."""
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
            meant = await self.scan(names, since, lambda r: headers(r).get("ce_id") == wanted)
            for record in meant:
                event = told(headers(record))
                found.setdefault(event.inbox_id, Whereabouts(event, place=origin(record)))
            if found:
                return list(found.values())
        return []

    async def scan(
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


def horizon(clock: Clock, since: datetime | None) -> datetime:
    """Since when it is searched for: a day ago, unless they say."""
    return since if since is not None else clock.now() - timedelta(days=1)
