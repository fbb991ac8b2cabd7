"""What does one event cost in each way of handling it?

Every case reads the same prefilled partition in batches of 500, makes one event of about
1 KB out of each and has it acknowledged by Kafka, with ``acks=all`` and an idempotent
producer. A case runs in a process of its own (``python -m bench.cases NAME …``) and prints
one line of JSON: microseconds of process CPU per event. The database's and the broker's
own CPU are other processes' and not in it.
"""

from __future__ import annotations

import argparse
import asyncio
import gc
import json
import logging
import os
import time
import uuid
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from typing import Any

from libs.common import logs, telemetry
from libs.common.bus import ConsumerClient, Producer, TopicSpec, create_topics
from libs.common.cloudevents import CloudEvent, decode, encode
from libs.common.decision import derived_id
from libs.common.migrate import migrate
from libs.common.mongo import Database
from tests.support.toy import SPEC, Replica, Tally, Ticked, Toy, _Row

BATCH = 500


async def until(check: Callable[[], bool]) -> None:
    while not check():
        await asyncio.sleep(0.005)


class World:
    """The prefilled topic, and a database and an outgoing topic of this run's own."""

    def __init__(self, arguments: argparse.Namespace) -> None:
        self.events = arguments.events
        self.ratio = arguments.ratio
        self.toy = Toy(arguments.bootstrap, arguments.mongo)
        self.toy.topic_in = arguments.topic
        self.types = {Ticked.TYPE: self.toy.ticked}
        self.started = self.wall = self.cpu = self.took = 0.0

    async def prepare(self) -> None:
        await create_topics(self.toy.bootstrap, [TopicSpec(self.toy.topic_out, 1, 1, {})])
        await migrate(self.toy.database, [SPEC])

    def begin(self) -> None:
        """Called with the first batch: what comes before is the joining of the group."""
        if not self.started:
            gc.collect()
            gc.freeze()
            gc.set_threshold(50_000, 20, 50)
            self.started, self.wall = time.process_time(), time.perf_counter()

    def finish(self) -> None:
        """Called with the last acknowledgement."""
        if not self.cpu:
            self.cpu = time.process_time() - self.started
            self.took = time.perf_counter() - self.wall

    def client(self) -> ConsumerClient:
        async def revoked() -> None:
            return None

        group = f"bench-{uuid.uuid4().hex}"
        return ConsumerClient(self.toy.bootstrap, group, [self.toy.topic_in], revoked=revoked)

    def out(self, event: CloudEvent, count: int) -> _Row:
        data = event.data
        assert isinstance(data, Ticked)
        tallied = self.toy.tallied(name=data.name, count=count, n=data.n, pad=data.pad)
        record = encode(
            CloudEvent(
                id=derived_id(event.hospital, event.source, event.id, 0),
                source="/services/bench",
                type=tallied.TYPE,
                subject=data.name,
                time=event.time,
                hospital=event.hospital,
                data=tallied,
                sequence=count,
                causationid=event.id,
            )
        )
        return _Row(self.toy.topic_out, record.key, record.value, record.headers)


async def raw(world: World, *, save: bool = False) -> None:
    """``getmany`` -> pydantic -> ``send_batch``; with ``save`` one bulk write, no guarantees."""
    client, producer = world.client(), Producer(world.toy.bootstrap)
    await client.start()
    await producer.start()
    tallies = world.toy.database.raw("tallies")
    done = 0
    while done < world.events:
        records = await client.poll(max_records=BATCH, timeout=0.5)
        if not records:
            continue
        world.begin()
        events = [decode(r.headers, r.value, world.types) for r in records]
        rows = [world.out(e, 1) for e in events]
        if save:
            from pymongo import InsertOne

            documents = [
                InsertOne({"_id": f"{e.hospital}/{e.id}", "count": 1, "last": "1"}) for e in events
            ]
            await tallies.bulk_write(documents, ordered=False)
        while rows:
            sent = {id(r) for r in await producer.send(rows)}
            rows = [r for r in rows if id(r) not in sent]
        await client.commit({(r.topic, r.partition): r.offset + 1 for r in records[-1:]})
        done += len(records)
    world.finish()
    await client.stop()
    await producer.stop()


async def raw_with_bulk_write(world: World) -> None:
    await raw(world, save=True)


async def ours(world: World) -> None:
    """consume -> decode -> load -> decide -> save -> relay -> produce, as the services do."""
    endpoint = os.environ.get("BENCH_OTLP", "http://127.0.0.1:9")
    traces = telemetry.setup(
        "bench", endpoint=endpoint if world.ratio >= 0 else None, sample_ratio=max(0.0, world.ratio)
    )
    database = Database(world.toy.mongo_url, world.toy.name)
    replica = Replica(world.toy, database, traces.tracer)
    await until_owned(replica)
    engine_run = replica.engine.run

    async def measured(inputs: Any, name: str = "process batch") -> Any:
        world.begin()
        return await engine_run(inputs, name)

    replica.engine.run = measured  # type: ignore[method-assign]
    replica.start("relay", "consumer")
    keeping = asyncio.create_task(replica.lease.run())
    await until(lambda: sum(replica.relay._sent.values()) >= world.events)
    world.finish()
    keeping.cancel()
    await replica.kill()


async def until_owned(replica: Replica) -> None:
    while not replica.lease.owned:
        await replica.lease.step()


async def faststream_each(world: World) -> None:
    """FastStream as its guide shows it, with one transaction for each event."""
    await _faststream(world, batch=False)


async def faststream_batch(world: World) -> None:
    """FastStream in batch mode, with our guarantees written by hand around it."""
    await _faststream(world, batch=True)


async def _faststream(world: World, *, batch: bool) -> None:
    from faststream import AckPolicy
    from faststream.kafka import KafkaBroker
    from faststream.kafka.annotations import KafkaMessage

    broker = KafkaBroker(
        world.toy.bootstrap,
        acks="all",
        enable_idempotence=True,
        max_batch_size=768 * 1024,
        logger=None,
        apply_types=True,
    )
    database = world.toy.database
    inbox, outbox, tallies = map(database.raw, ("inbox", "outbox", "tallies"))
    producer = Producer(world.toy.bootstrap)
    await producer.start()
    done = 0

    async def handle(messages: list[tuple[list[tuple[str, bytes]], bytes]]) -> None:
        nonlocal done
        world.begin()
        events = [decode(headers, value, world.types) for headers, value in messages]
        ids = [f"{e.hospital}|{e.source}|{e.id}" for e in events]
        known = {r["_id"] for r in await database.find_rows(inbox, {"_id": {"$in": ids}})}
        names = sorted({f"{e.hospital}/{e.subject}" for e in events})
        found = await database.find_rows(tallies, {"_id": {"$in": names}})
        loaded = {r["_id"]: Tally.model_validate(r) for r in found}
        base = {key: doc.version for key, doc in loaded.items()}
        rows, records, fresh = [], [], []
        for event, id in zip(events, ids, strict=True):
            if id in known:
                continue
            key = f"{event.hospital}/{event.subject}"
            old = loaded.get(key) or Tally(id=event.subject, hospital=event.hospital)
            new = loaded[key] = old.but(count=old.count + 1, version=base.get(key, 0) + 1)
            record = world.out(event, new.count)
            records.append(record)
            fresh.append({"_id": id, "at": datetime.now(UTC), "fate": "done", "hash": b""})
            rows.append(
                {
                    "_id": f"{id}/0",
                    "stream": key,
                    "sequence": new.count,
                    "topic": record.topic,
                    "key": record.key,
                    "value": record.value,
                    "headers": dict(record.headers),
                }
            )
        async with database.transaction() as tx:
            await tx.insert(inbox, fresh)
            changed = [(k, d) for k, d in loaded.items() if d.version != base.get(k, 0)]
            await tx.insert(
                tallies, [{**d.model_dump(), "_id": k} for k, d in changed if not base.get(k)]
            )
            await tx.replace(
                tallies,
                [
                    ({"_id": k, "version": base[k]}, {**d.model_dump(), "_id": k})
                    for k, d in changed
                    if base.get(k)
                ],
                upsert=False,
            )
            await tx.insert(outbox, rows)
        if batch:
            while records:
                sent = {id(r) for r in await producer.send(records)}
                records = [r for r in records if id(r) not in sent]
        else:
            for record in records:
                await broker.publish(
                    record.value,
                    topic=record.topic,
                    key=record.key,
                    headers={k: v.decode() for k, v in record.headers},
                )
        await database.delete_rows(outbox, [r["_id"] for r in rows])
        done += len(messages)

    common: dict[str, Any] = {
        "group_id": f"bench-{uuid.uuid4().hex}",
        "auto_offset_reset": "earliest",
        "ack_policy": AckPolicy.NACK_ON_ERROR,
    }
    if batch:

        @broker.subscriber(
            world.toy.topic_in, batch=True, max_records=BATCH, batch_timeout_ms=500, **common
        )
        async def many(bodies: list[bytes], message: KafkaMessage) -> None:
            raws: Any = message.raw_message
            await handle([(list(r.headers), r.value) for r in raws])

    else:

        @broker.subscriber(world.toy.topic_in, **common)
        async def one(body: bytes, message: KafkaMessage) -> None:
            r: Any = message.raw_message
            await handle([(list(r.headers), r.value)])

    await broker.start()
    await until(lambda: done >= world.events)
    world.finish()
    await broker.stop()
    await producer.stop()


CASES: dict[str, Callable[[World], Awaitable[None]]] = {
    "raw": raw,
    "raw-bulk-write": raw_with_bulk_write,
    "ours": ours,
    "ours-traced-0": ours,
    "ours-traced-10": ours,
    "ours-traced-100": ours,
    "faststream-each": faststream_each,
    "faststream-batch": faststream_batch,
}


async def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("case", choices=sorted(CASES))
    for name in ("bootstrap", "mongo", "topic"):
        parser.add_argument(f"--{name}", required=True)
    parser.add_argument("--events", type=int, required=True)
    parser.add_argument("--ratio", type=float, default=-1.0)
    arguments = parser.parse_args()
    logs.configure("bench", level="ERROR")
    logging.disable(logging.WARNING)
    world = World(arguments)
    await world.prepare()
    await CASES[arguments.case](world)
    world.finish()
    cpu = world.cpu / world.events * 1e6
    print(json.dumps({"case": arguments.case, "us": cpu, "per_s": world.events / world.took}))
    await world.toy.remove()


if __name__ == "__main__":
    asyncio.run(main())
