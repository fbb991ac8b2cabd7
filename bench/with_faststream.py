"""What does the same cost in FastStream, the framework that one would take instead?

Its handlers get what FastStream makes of the records: bodies as pydantic models, headers
as text; it commits the offsets after the handler has returned. Around that, by hand, the
same promises as ours: an inbox looked up and written, aggregates guarded by their version,
an outbox row deleted after the acknowledgement, all of it in one transaction.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from hashlib import blake2b
from typing import Any

from faststream import AckPolicy
from faststream.kafka import KafkaBroker
from faststream.kafka.annotations import KafkaMessage

from bench.world import BATCH, HOSPITAL, Row, World, by_hand
from libs.common.bus import Producer
from tests.support.toy import Tallied, Tally, Ticked


class Guarantees:
    """Inbox, guarded state and outbox of one batch, in one transaction."""

    def __init__(self, world: World) -> None:
        self._database = world.toy.database
        names = ("inbox", "outbox", "tallies")
        self._inbox, self._outbox, self._tallies = map(self._database.raw, names)
        self._topic = world.topic_out

    async def save(
        self, ticks: Sequence[Ticked], heads: Sequence[Mapping[str, str]], raws: Sequence[Any]
    ) -> dict[str, Row]:
        """Decide and commit; the outbox rows that are to be sent, by their ids."""
        ids = [f"{h['ce_hospital']}|{h['ce_source']}|{h['ce_id']}" for h in heads]
        found = await self._database.find_rows(self._inbox, {"_id": {"$in": ids}})
        known = {row["_id"] for row in found}
        keys = list({f"{h['ce_hospital']}/{t.name}" for h, t in zip(heads, ticks, strict=True)})
        found = await self._database.find_rows(self._tallies, {"_id": {"$in": keys}})
        before = {row["_id"]: Tally.model_validate(row) for row in found}
        after: dict[str, Tally] = {}
        inbox: list[dict[str, Any]] = []
        rows: dict[str, Row] = {}
        now = datetime.now(UTC)
        for id, tick, head, record in zip(ids, ticks, heads, raws, strict=True):
            if id in known:
                continue
            known.add(id)
            key = f"{head['ce_hospital']}/{tick.name}"
            old = after.get(key) or before.get(key) or Tally(id=tick.name, hospital=HOSPITAL)
            base = before[key].version if key in before else 0
            new = after[key] = old.model_copy(
                update={
                    "count": old.count + 1,
                    "last": str(tick.n),
                    "version": base + 1,
                    "sequence": old.sequence + 1,
                }
            )
            out = Tallied(name=tick.name, count=new.count, n=tick.n, pad=tick.pad)
            headers = by_hand(dict(record.headers), tick.name, new.sequence)
            rows[f"{id}/0"] = Row(self._topic, record.key, out.model_dump_json().encode(), headers)
            inbox.append(
                {
                    "_id": id,
                    "at": now,
                    "fate": "done",
                    "hash": blake2b(record.value, digest_size=16).digest(),
                    "origin": [record.topic, record.partition, record.offset],
                }
            )
        async with self._database.transaction() as tx:
            await tx.insert(self._inbox, inbox)
            changed = [({**doc.model_dump(), "_id": key}, key) for key, doc in after.items()]
            await tx.insert(self._tallies, [row for row, key in changed if key not in before])
            await tx.replace(
                self._tallies,
                [
                    ({"_id": key, "version": before[key].version}, row)
                    for row, key in changed
                    if key in before
                ],
                upsert=False,
            )
            await tx.insert(
                self._outbox,
                [
                    {
                        "_id": id,
                        "at": now,
                        "topic": row.topic,
                        "key": row.key,
                        "value": row.value,
                        "headers": dict(row.headers),
                    }
                    for id, row in rows.items()
                ],
            )
        return rows

    async def sent(self, ids: Sequence[str]) -> None:
        await self._database.delete_rows(self._outbox, ids)


def _broker(world: World) -> KafkaBroker:
    settings = world.producer_settings
    return KafkaBroker(
        settings.pop("bootstrap_servers"),
        logger=None,
        acks=settings["acks"],
        enable_idempotence=settings["enable_idempotence"],
        max_batch_size=settings["max_batch_size"],
        max_request_size=settings["max_request_size"],
        linger_ms=settings["linger_ms"],
    )


def _subscription(world: World) -> dict[str, Any]:
    settings = world.consumer_settings
    # What FastStream decides by itself: the policy below commits after the handler.
    for name in ("enable_auto_commit", "metadata_max_age_ms"):
        settings.pop(name)
    return {**settings, "group_id": world.group, "ack_policy": AckPolicy.NACK_ON_ERROR}


async def faststream_batch(world: World) -> None:
    """In batch mode. Its ``publish_batch`` has no headers for each event, so the batch is
    built with aiokafka itself, which is also the cheapest way.
    """
    meter, guarantees, broker = world.meter, Guarantees(world), _broker(world)
    producer = Producer(world.bootstrap)
    await producer.start()

    @broker.subscriber(
        world.topic_in, batch=True, max_records=BATCH, batch_timeout_ms=500, **_subscription(world)
    )
    async def on_ticked(ticks: list[Ticked], message: KafkaMessage) -> None:
        meter.begin()
        try:
            raws: Any = message.raw_message
            rows = await guarantees.save(ticks, message.batch_headers, raws)
            waiting = list(rows.values())
            while waiting:
                taken = {id(row) for row in await producer.send(waiting)}
                waiting = [row for row in waiting if id(row) not in taken]
            await guarantees.sent(list(rows))
            meter.acked(len(ticks))
        except Exception as error:
            meter.failed(error)
            raise

    await broker.start()
    await meter.all_acknowledged()
    await broker.stop()
    await producer.stop()
    meter.finish()


async def faststream_each(world: World) -> None:
    """As its guide shows it: one handler call and one transaction for each event."""
    meter, guarantees, broker = world.meter, Guarantees(world), _broker(world)

    @broker.subscriber(world.topic_in, **_subscription(world))
    async def on_ticked(tick: Ticked, message: KafkaMessage) -> None:
        meter.begin()
        try:
            rows = await guarantees.save([tick], [message.headers], [message.raw_message])
            for row in rows.values():
                await broker.publish(
                    row.value,
                    topic=row.topic,
                    key=row.key,
                    headers={name: value.decode() for name, value in row.headers},
                )
            await guarantees.sent(list(rows))
            meter.acked(1)
        except Exception as error:
            meter.failed(error)
            raise

    await broker.start()
    await meter.all_acknowledged()
    await broker.stop()
    meter.finish()
