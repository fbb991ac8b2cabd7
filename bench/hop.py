"""One hop, run beside the benchmark of its latency: in from one topic, out to another.

``python -m bench.hop raw|ours …`` prints ``ready`` once it reads, and ends with its input.
"""

from __future__ import annotations

import argparse
import asyncio
import gc
import logging
import sys

import uvloop
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition

from bench.world import BATCH, World, answer, write
from libs.common import logs
from libs.common.cloudevents import decode
from libs.common.kafka.member import ConsumerClient


async def raw(world: World, ready: asyncio.Event) -> None:
    """Poll, decode, encode, send, wait for the acknowledgement, commit."""
    consumer = AIOKafkaConsumer(
        world.topic_in,
        bootstrap_servers=world.bootstrap,
        group_id=world.group,
        **world.consumer_settings,
    )
    producer = AIOKafkaProducer(**world.producer_settings)
    await consumer.start()
    await producer.start()
    partition = TopicPartition(world.topic_in, 0)
    while True:
        if consumer.assignment():
            ready.set()
        found = await consumer.getmany(max_records=BATCH, timeout_ms=500)
        records = found.get(partition, ())
        if not records:
            continue
        batch = producer.create_batch()
        for record in records:
            event = decode(record.headers, record.value, world.types)
            key, value, headers = write(event, answer(event.data, 1), 1)
            batch.append(timestamp=None, key=key, value=value, headers=headers)
        await (await producer.send_batch(batch, world.topic_out, partition=0))
        await consumer.commit({partition: records[-1].offset + 1})


async def ours(world: World, ready: asyncio.Event) -> None:
    clients: list[ConsumerClient] = []

    def client(*positional: object, **named: object) -> ConsumerClient:
        clients.append(ConsumerClient(*positional, **named))  # type: ignore[arg-type]
        return clients[-1]

    replica = world.toy.replica(client=client)
    await replica.lease.step()
    async with replica.running():
        while not (clients and clients[-1].assigned()):  # noqa: ASYNC110 - the client has no event
            await asyncio.sleep(0.05)
        ready.set()
        await asyncio.Event().wait()


HOPS = {"raw": raw, "ours": ours}


async def main(arguments: argparse.Namespace) -> None:
    world = World(bootstrap=arguments.bootstrap, mongo_url=arguments.mongo, topic=arguments.topic)
    world.topic_out = arguments.out
    setattr(world.toy.tallied, "TOPIC", arguments.out)  # noqa: B010 - made at run time
    await world.prepare()
    ready = asyncio.Event()
    running = asyncio.create_task(HOPS[arguments.hop](world, ready))
    await ready.wait()
    gc.collect()
    gc.freeze()
    gc.set_threshold(50_000, 20, 50)
    print("ready", flush=True)
    ended = asyncio.create_task(asyncio.to_thread(sys.stdin.read))
    await asyncio.wait({running, ended}, return_when=asyncio.FIRST_COMPLETED)
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)
    await world.toy.remove()


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("hop", choices=sorted(HOPS))
    for name in ("bootstrap", "mongo", "topic", "out"):
        parser.add_argument(f"--{name}", required=True)
    logs.configure("bench", level="ERROR")
    logging.disable(logging.WARNING)
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(main(parser.parse_args()))
