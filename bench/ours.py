"""What does an event cost on our own path?

consume -> decode -> load -> decide -> save -> relay -> produce, with the same parts that
the services are made of, and with telemetry as the services have it.
"""

from __future__ import annotations

import asyncio
from pathlib import Path
from tempfile import TemporaryDirectory

from prometheus_client import Counter

from bench.world import World
from libs.common import metrics, telemetry
from libs.common.cipher import Cipher
from libs.common.envelope import ACTIVE, Envelope, KeyFolder, key_file, new_key
from libs.common.mongo.database import Database
from tests.support.toy import Replica


async def ours_sealed(world: World) -> None:
    """The same with a cipher: the outbox and what is personal in the state are sealed."""
    with TemporaryDirectory() as folder:
        keys = Path(folder)
        key_file(keys, "bench").write_bytes(new_key())
        (keys / ACTIVE).write_text("bench")
        await ours(world, Envelope(KeyFolder(keys)))


async def ours(world: World, cipher: Cipher | None = None) -> None:
    toy, meter = world.toy, world.meter
    lost_before = _count(metrics.SPANS_LOST)  # by somebody else in this process
    traces = telemetry.setup("bench", endpoint=world.otlp)
    database = Database(toy.mongo_url, toy.name, spans=traces.mongo, cipher=cipher)

    replica = Replica(
        toy,
        database,
        tracer=traces.tracer,
        producer=meter.producer(world.bootstrap),
        client=meter.client,
    )
    await replica.lease.step()
    replica.start("relay", "lease", "consumer")
    await meter.all_acknowledged()
    await replica.consumer.stop()
    async with asyncio.timeout(5):
        await replica.relay.flush()
    await replica.kill()
    await asyncio.to_thread(traces.shutdown)  # the export of the last spans counts, too
    meter.finish()
    if lost := _count(metrics.SPANS_LOST) - lost_before:
        raise RuntimeError(f"{lost:.0f} spans were not exported")
    await database.close()


def _count(counter: Counter) -> float:
    samples = [sample for family in counter.collect() for sample in family.samples]
    return sum(sample.value for sample in samples if sample.name.endswith("_total"))
