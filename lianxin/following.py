"""What have its consumers made of an event, and what has it led to?

It is in the inbox of each consumer or among its dead letters. What it has led to is found by its
cause: ids of derived events are uuid5 of what caused them, and each names its cause.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from datetime import datetime, timedelta
from typing import Final

import httpx

from lianxin.installation import SERVICES
from lianxin.records import Letter, Told, at, headers, inbox_rows, letter, told
from lianxin.search import Search
from lianxin.status import consumer_stopped
from lianxin.whereabouts import Reading, Whereabouts, in_outbox
from libs.common.decision import derived_id
from libs.common.events import NotificationRequested
from libs.common.fates import Fate
from libs.common.kafka.record import Record
from libs.common.migrate import INBOX_DAYS
from libs.common.replays import Origin, origin
from libs.common.rows import OUTBOX

#: Events that one input may have led to and that are looked for by their ids.
DERIVED: Final = 50
#: Events of one cause that are followed; a broadcast has thousands.
FOLLOWED: Final = 25
#: An effect may be written a moment before its cause's inbox row says so: clocks differ.
SKEW: Final = timedelta(minutes=1)


class Following:
    """On from events that ``search`` has found; what it reads counts there."""

    def __init__(self, search: Search) -> None:
        self._search, self._installation = search, search.installation

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
        topic = self._installation.topics.get(place.topic)
        for service in SERVICES:
            if topic is not None and f"lianxin.{service}" not in topic.consumers:
                continue
            each.readings.append(await self._reading(service, each, place))

    async def _reading(self, service: str, each: Whereabouts, place: Origin) -> Reading:
        id, group = each.event.inbox_id, self._installation.group(service)
        database = self._installation.database(service)
        row = (await inbox_rows(database, [id])).get(id) if id is not None else None
        if row is not None:
            state = {Fate.DONE: "handled", Fate.REFUSED: "refused"}.get(row["fate"], "set aside")
            found = Reading(service, state, row["note"] or "", row["at"])
            if state == "set aside":
                found.dead_letters = [x.offset for x in await self._letters(service, place)]
            return found
        spot = (place.topic, place.partition)
        committed = (await self._search.kafka.committed(group)).get(spot, 0)
        if committed <= place.offset:
            members = (await self._search.kafka.group(group)).members
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
        if each.event.type not in self._installation.spec(service).handlers:
            return Reading(service, "ignored", "a type that it does not know")
        note = f"read, and not in its inbox, which forgets after {INBOX_DAYS} days"
        return Reading(service, "no trace", note)

    async def _stopped(self, service: str) -> bool:
        """At any replica: which one reads that partition is not seen."""
        async with httpx.AsyncClient(timeout=3, trust_env=False) as http:
            for url in await self._installation.replicas(service):
                with suppress(httpx.HTTPError):  # not there to be asked, which its members say
                    if await consumer_stopped(http, url):
                        return True
        return False

    async def _letters(self, service: str, place: Origin) -> list[Letter]:
        topic = f"{self._installation.group(service)}.dlq"
        since = at(place.timestamp) - SKEW
        stood = place[:3]
        records = await self._search.scan([topic], since, lambda r: origin(r)[:3] == stood)
        return [letter(service, record) for record in records]

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
        database, own = self._installation.database(service), f"/services/{service}"
        rows = await database.find_rows(
            database.raw(OUTBOX),
            {"_id": {"$in": [f"{event.hospital}/{id}" for id in ids]}},
            fields=("headers", "at"),
        )
        waiting = {w.event.inbox_id: w for w in (in_outbox(service, row) for row in rows)}
        known = await self._search.by_inboxes([f"{event.hospital}|{own}|{id}" for id in ids])
        topics = [
            t.name
            for t in self._installation.topics.values()
            if f"lianxin.{service}" in t.producers and not t.internal
        ]
        cause, source = (event.id or "").encode(), own.encode()

        def caused(record: Record) -> bool:
            h = headers(record)
            return h.get("ce_causationid") == cause and h.get("ce_source") == source

        for record in await self._search.scan(topics, handled_at - SKEW, caused):
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
        record = await self._search.record_at(each.place) if each.place is not None else None
        if record is None:
            return
        body = NotificationRequested.model_validate_json(record.value or b"")
        database, id = self._installation.database("notify"), body.notification_id
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


def _when(each: Whereabouts) -> tuple[str, str]:
    return each.event.time or "", each.event.id or ""
