"""What does the same cost in FastStream, the framework that one would take instead?

FastStream polls, calls the handler and commits the offsets after it has returned. Around
that, by hand, the same promises as ours: an inbox looked up and written, aggregates
guarded by their version, an outbox row deleted after the acknowledgement, all of it in
one transaction; one bad record harms no other. Events are read and written by the same
code as in the other cases, and everything is done the cheapest way that keeps the promises.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from datetime import UTC, datetime, timedelta
from hashlib import blake2b
from typing import Any

from faststream import AckPolicy
from faststream.kafka import KafkaBroker
from faststream.kafka.annotations import KafkaMessage

from bench.world import BATCH, Row, World, answer, write
from libs.common.cloudevents import CloudEvent, Undecodable, decode
from libs.common.kafka.producer import Producer
from tests.support.toy import Tally

Send = Callable[[Sequence[Row]], Awaitable[None]]


class ByHand:
    """Inbox, guarded state and outbox of one batch, in one transaction; then the sending."""

    def __init__(self, world: World, send: Send) -> None:
        self._database = world.toy.database
        names = ("inbox", "outbox", "tallies")
        self._inbox, self._outbox, self._tallies = map(self._database.raw, names)
        self._topic, self._types = world.topic_out, world.types
        self._meter = world.meter
        self._send = send

    async def handle(self, records: Sequence[Any]) -> None:
        self._meter.begin()
        try:
            rows = await self._save(self._decoded(records))
            await self._send(list(rows.values()))
            await self._database.delete_rows(self._outbox, list(rows))
        except Exception as error:
            self._meter.failed(error)
            raise
        self._meter.acked(len(records))

    def _decoded(self, records: Sequence[Any]) -> list[tuple[Any, CloudEvent]]:
        found = []
        latest = datetime.now(UTC) + timedelta(minutes=5)
        for record in records:
            try:
                event = decode(record.headers, record.value, self._types)
                if event.time > latest:
                    raise ValueError("time is ahead")
            except (Undecodable, ValueError) as error:
                raise NotImplementedError("here the dead letters would be filled") from error
            found.append((record, event))
        return found

    async def _save(self, events: Sequence[tuple[Any, CloudEvent]]) -> dict[str, Row]:
        """Decide and commit; the outbox rows that are to be sent, by their ids."""
        ids = [f"{e.hospital}|{e.source}|{e.id}" for _, e in events]
        found = await self._database.find_rows(self._inbox, {"_id": {"$in": ids}})
        known = {row["_id"] for row in found}
        names = list({f"{e.hospital}/{e.subject}" for _, e in events})
        found = await self._database.find_rows(self._tallies, {"_id": {"$in": names}})
        before = {row["_id"]: Tally.model_validate(row) for row in found}
        after: dict[str, Tally] = {}
        inbox: list[dict[str, Any]] = []
        rows: dict[str, Row] = {}
        now = datetime.now(UTC)
        for id, (record, event) in zip(ids, events, strict=True):
            if id in known:
                continue
            known.add(id)
            name = f"{event.hospital}/{event.subject}"
            old = after.get(name) or before.get(name)
            old = old or Tally(id=event.subject, hospital=event.hospital)
            base = before[name].version if name in before else 0
            new = after[name] = old.model_copy(
                update={
                    "count": old.count + 1,
                    "last": str(event.data.n),  # type: ignore[attr-defined]
                    "version": base + 1,
                    "sequence": old.sequence + 1,
                }
            )
            written = write(event, answer(event.data, new.count), new.sequence)
            rows[f"{id}/0"] = Row(self._topic, *written)
            inbox.append(
                {
                    "_id": id,
                    "at": now,
                    "fate": "done",
                    "hash": blake2b(record.value, digest_size=16).digest(),
                    "origin": [record.topic, record.partition, record.offset],
                }
            )
        changed = [({**doc.model_dump(), "_id": name}, name) for name, doc in after.items()]
        async with self._database.transaction() as tx:
            await tx.insert(self._inbox, inbox)
            await tx.insert(self._tallies, [row for row, name in changed if name not in before])
            await tx.replace(
                self._tallies,
                [
                    ({"_id": name, "version": before[name].version}, row)
                    for row, name in changed
                    if name in before
                ],
                upsert=False,
            )
            await tx.insert(self._outbox, [_outbox_row(id, row, now) for id, row in rows.items()])
        return rows


def _outbox_row(id: str, row: Row, now: datetime) -> dict[str, Any]:
    kept = {"topic": row.topic, "key": row.key, "value": row.value, "headers": dict(row.headers)}
    return {"_id": id, "at": now, **kept}


async def _as_it_is(message: KafkaMessage) -> Any:
    """Instead of FastStream's decoding, which reads each body a second time."""
    return message.body


def _broker(world: World) -> KafkaBroker:
    settings = world.producer_settings
    settings.pop("request_timeout_ms")  # FastStream has one of its own for both sides
    return KafkaBroker(settings.pop("bootstrap_servers"), logger=None, **settings)


def _subscription(world: World) -> dict[str, Any]:
    settings = world.consumer_settings
    for decided_by_faststream in ("enable_auto_commit", "metadata_max_age_ms"):
        settings.pop(decided_by_faststream)
    settings |= {"group_id": world.group, "ack_policy": AckPolicy.NACK_ON_ERROR}
    return {**settings, "decoder": _as_it_is}


async def _run(world: World, broker: KafkaBroker) -> None:
    await broker.start()
    await world.meter.all_acknowledged()
    await broker.stop()


async def faststream_batch(world: World) -> None:
    """In batch mode. Its ``publish_batch`` has no headers for each event, so the batches
    are built with aiokafka itself, which is also the cheapest way.
    """
    broker, producer = _broker(world), Producer(world.bootstrap)

    async def send(rows: Sequence[Row]) -> None:
        waiting = list(rows)
        while waiting:
            taken = {id(row) for row in await producer.send(waiting)}
            waiting = [row for row in waiting if id(row) not in taken]

    by_hand = ByHand(world, send)

    async def on_ticked(message: KafkaMessage) -> None:
        await by_hand.handle(message.raw_message)

    broker.subscriber(
        world.topic_in, batch=True, max_records=BATCH, batch_timeout_ms=500, **_subscription(world)
    )(on_ticked)
    await producer.start()
    await _run(world, broker)
    await producer.stop()
    world.meter.finish()


async def faststream_each(world: World) -> None:
    """As its guide shows it: one call of the handler, one transaction for each event."""
    broker = _broker(world)

    async def send(rows: Sequence[Row]) -> None:
        for row in rows:
            headers = {name: value.decode() for name, value in row.headers}
            await broker.publish(row.value, topic=row.topic, key=row.key, headers=headers)

    by_hand = ByHand(world, send)

    async def on_ticked(message: KafkaMessage) -> None:
        await by_hand.handle([message.raw_message])

    broker.subscriber(world.topic_in, **_subscription(world))(on_ticked)
    await _run(world, broker)
    world.meter.finish()
