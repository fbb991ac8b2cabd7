"""How much later does an event leave a hop because of what we promise?

At a fixed rate (100 a second; an open loop: a slow answer does not slow the asking) events
go through a hop in a process of its own, and are timed from before they are sent to when
they are read behind it. The raw loop and ours take turns, under the same broker.
"""

from __future__ import annotations

import asyncio
import os
import statistics
import sys
import time
import uuid
from collections.abc import Sequence
from datetime import UTC, datetime

from aiokafka import AIOKafkaConsumer, AIOKafkaProducer

from bench.world import HOSPITAL, NAMES, PAD
from libs.common.cloudevents import CloudEvent, encode
from libs.common.devstack.stack import Stack
from libs.common.kafka.producer import PRODUCER
from libs.common.kafka.topics import TopicSpec, create_topics
from tests.support.toy import Ticked

RATE = 100
SECONDS = 15
#: The first events of a run are not counted: connections, caches, empty documents.
WARM = 2 * RATE
#: Quantile and aim, in milliseconds over the raw loop.
AIMS = {0.5: 15, 0.99: 40}


def quantile(values: Sequence[float], q: float) -> float:
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(q * len(ordered)))]


async def through(stack: Stack, hop: str, seconds: int = SECONDS) -> list[float]:
    """The latencies in ms of all events after the warm-up."""
    name = f"latency.{uuid.uuid4().hex[:8]}"
    topic, out = f"{name}.in", f"{name}.out"
    await create_topics(stack.bootstrap, [TopicSpec(t, 1, 1, {}) for t in (topic, out)])
    addresses = ("--bootstrap", stack.bootstrap, "--mongo", stack.mongo_url)
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "bench.hop", hop, *addresses, "--topic", topic, "--out", out),
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
    )
    assert process.stdout and process.stdin
    try:
        async with asyncio.timeout(60):
            while (line := await process.stdout.readline()) != b"ready\n":
                if not line:  # others are its log
                    raise RuntimeError(f"the hop {hop} did not start")
        return await _timed(stack.bootstrap, topic, out, RATE * seconds)
    finally:
        process.stdin.close()
        async with asyncio.timeout(30):
            await process.wait()


async def _timed(bootstrap: str, topic: str, out: str, events: int) -> list[float]:
    producer = AIOKafkaProducer(bootstrap_servers=bootstrap, **PRODUCER)
    reader = AIOKafkaConsumer(out, bootstrap_servers=bootstrap, auto_offset_reset="earliest")
    await producer.start()
    await reader.start()
    sent: dict[bytes, float] = {}
    took: list[float] = []

    async def read() -> None:
        while len(took) < events:
            for records in (await reader.getmany(timeout_ms=500)).values():
                now = time.perf_counter()
                for record in records:
                    started = sent.pop(dict(record.headers)["ce_causationid"], None)
                    if started is not None:
                        took.append((now - started) * 1e3)

    reading = asyncio.create_task(read())
    begin = time.perf_counter() + 0.1
    time_of_all = datetime.now(UTC).replace(microsecond=0)
    for i in range(events):
        await asyncio.sleep(begin + i / RATE - time.perf_counter())
        subject = f"p{i % NAMES}"
        event = CloudEvent(
            id=f"e{i}",
            source="/bench",
            type=Ticked.TYPE,
            subject=subject,
            time=time_of_all,
            hospital=HOSPITAL,
            data=Ticked(name=subject, n=i, pad=PAD),
            traceparent=f"00-{i + 1:032x}-{i + 1:016x}-00",
        )
        record = encode(event)
        sent[f"e{i}".encode()] = time.perf_counter()
        await producer.send(topic, record.value, key=record.key, headers=record.headers)
    async with asyncio.timeout(60):
        await reading
    await producer.stop()
    await reader.stop()
    return took[WARM:]


async def compare(stack: Stack, rounds: int, seconds: int = SECONDS) -> None:
    over: dict[float, list[float]] = {q: [] for q in AIMS}
    for n in range(rounds):
        found = {}
        for hop in ("raw", "ours") if n % 2 else ("ours", "raw"):
            found[hop] = await through(stack, hop, seconds)
        said = []
        for q, values in over.items():
            raw, ours = (quantile(found[hop], q) for hop in ("raw", "ours"))
            values.append(ours - raw)
            said.append(f"p{q * 100:.0f} raw {raw:.1f} ms, ours {ours:.1f} ms")
        print(f"round {n + 1}, load {os.getloadavg()[0]:.1f}: " + "; ".join(said), flush=True)
    print(f"\n| over the raw loop at {RATE} events/s | median (min-max) | aim | |")
    print("|---|---|---|---|")
    for q, values in over.items():
        median = statistics.median(values)
        word = "met" if median <= AIMS[q] else "MISSED"
        spread = f"{min(values):.1f}-{max(values):.1f}"
        print(f"| p{q * 100:.0f} | +{median:.1f} ms ({spread}) | +{AIMS[q]} ms | {word} |")
