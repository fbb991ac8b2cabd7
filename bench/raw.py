"""What does the least cost that anybody could do? aiokafka alone, with no guarantee."""

from __future__ import annotations

from typing import Any

from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition
from pymongo import ReplaceOne

from bench.world import BATCH, HOSPITAL, World, by_hand
from tests.support.toy import Tallied, Ticked


async def raw(world: World, *, save: bool = False) -> None:
    """``getmany`` -> pydantic -> ``send_batch``; with ``save`` also one bulk write."""
    meter = world.meter
    consumer = AIOKafkaConsumer(
        world.topic_in,
        bootstrap_servers=world.bootstrap,
        group_id=world.group,
        **world.consumer_settings,
    )
    producer = AIOKafkaProducer(**world.producer_settings)
    tallies = world.toy.database.raw("tallies")
    await consumer.start()
    await producer.start()
    partition = TopicPartition(world.topic_in, 0)
    while meter.acknowledged < meter.events:
        found = await consumer.getmany(max_records=BATCH, timeout_ms=500)
        records = found.get(partition, ())
        if not records:
            continue
        meter.begin()
        batch = producer.create_batch()
        writes: list[Any] = []
        for record in records:
            ticked = Ticked.model_validate_json(record.value)
            tallied = Tallied(name=ticked.name, count=1, n=ticked.n, pad=ticked.pad)
            batch.append(
                timestamp=None,
                key=record.key,
                value=tallied.model_dump_json().encode(),
                headers=by_hand(dict(record.headers), ticked.name, 1),
            )
            if save:
                id = f"{HOSPITAL}/{ticked.name}"
                row = {"_id": id, "hospital": HOSPITAL, "id": ticked.name, "last": str(ticked.n)}
                writes.append(ReplaceOne({"_id": id}, row, upsert=True))
        if save:
            await tallies.bulk_write(writes, ordered=False)
        await (await producer.send_batch(batch, world.topic_out, partition=0))
        await consumer.commit({partition: records[-1].offset + 1})
        meter.acked(len(records))
    await consumer.stop()
    await producer.stop()
    meter.finish()


async def raw_with_bulk_write(world: World) -> None:
    await raw(world, save=True)
