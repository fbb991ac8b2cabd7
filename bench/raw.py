"""What does the least cost that anybody could do? aiokafka alone, with no guarantee."""

from __future__ import annotations

from typing import Any

from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition
from pymongo import ReplaceOne

from bench.world import BATCH, World, answer, write
from libs.common.cloudevents import decode
from tests.support.toy import Tallied, Ticked


async def raw(world: World, *, save: bool = False) -> None:
    """``getmany`` -> decode -> encode -> ``send_batch``; with ``save`` also one bulk write.

    Decoding and encoding are the platform's (CloudEvents around pydantic): what is
    compared are the ways of handling events, not of writing them down.
    """
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
            event = decode(record.headers, record.value, world.types)
            key, value, headers = write(event, answer(event.data, 1), 1)
            batch.append(timestamp=None, key=key, value=value, headers=headers)
            if save:
                id = f"{event.hospital}/{event.subject}"
                row = {"_id": id, "hospital": event.hospital, "id": event.subject, "count": 1}
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


async def pydantic_only(world: World) -> None:
    """The floor below the raw loop: bodies alone, headers handed on as they came."""
    meter = world.meter
    settings = {"group_id": world.group, **world.consumer_settings}
    consumer = AIOKafkaConsumer(world.topic_in, bootstrap_servers=world.bootstrap, **settings)
    producer = AIOKafkaProducer(**world.producer_settings)
    await consumer.start()
    await producer.start()
    while meter.acknowledged < meter.events:
        found = await consumer.getmany(max_records=BATCH, timeout_ms=500)
        for partition, records in found.items():
            meter.begin()
            batch = producer.create_batch()
            for record in records:
                data = Ticked.model_validate_json(record.value)
                out = Tallied(name=data.name, count=1, n=data.n, pad=data.pad)
                value = out.model_dump_json().encode()
                batch.append(
                    timestamp=None, key=record.key, value=value, headers=list(record.headers)
                )
            await (await producer.send_batch(batch, world.topic_out, partition=0))
            await consumer.commit({partition: records[-1].offset + 1})
            meter.acked(len(records))
    await consumer.stop()
    await producer.stop()
    meter.finish()
