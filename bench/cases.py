"""What does one event cost in each way of handling it?

Every case reads the same prefilled partition in batches of 500, makes one event of about
1 KB out of each and has it acknowledged by Kafka, with the same settings of producer and
consumer and on uvloop. A case runs in a process of its own (``python -m bench.cases NAME
…``) and prints one line of JSON: microseconds of process CPU for each event.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import logging
from collections.abc import Awaitable, Callable
from typing import NamedTuple

import uvloop

from bench.ours import ours, ours_sealed
from bench.raw import pydantic_only, raw, raw_with_bulk_write
from bench.world import EVENTS, World
from libs.common import logs


class Case(NamedTuple):
    run: Callable[[World], Awaitable[None]]
    #: Which of the prefilled topics; they differ in how many events say "sampled".
    topic: str = "bench.unsampled"
    traced: bool = False
    events: int = EVENTS


async def _faststream_batch(world: World) -> None:
    from bench.with_faststream import faststream_batch  # its import is 1 s and 60 MB

    await faststream_batch(world)


async def _faststream_each(world: World) -> None:
    from bench.with_faststream import faststream_each

    await faststream_each(world)


CASES = {
    "pydantic-only": Case(pydantic_only),
    "raw": Case(raw),
    "raw-bulk-write": Case(raw_with_bulk_write),
    "ours": Case(ours),
    "ours-sealed": Case(ours_sealed),
    "ours-traced-10": Case(ours, "bench.sampled10", traced=True),
    "ours-traced-100": Case(ours, "bench.sampled100", traced=True),
    "faststream-batch": Case(_faststream_batch),
    "faststream-each": Case(_faststream_each, events=1_000),
}
#: topic -> each how-manieth event is sampled
TOPICS = {"bench.unsampled": 0, "bench.sampled10": 10, "bench.sampled100": 1}


async def measure(world: World, case: Case) -> dict[str, float]:
    await world.prepare()
    async with asyncio.timeout(240):
        await case.run(world)
    meter = world.meter
    await world.toy.remove()
    return {"us": meter.cpu / meter.events * 1e6, "per_s": meter.events / meter.took}


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("case", choices=sorted(CASES))
    for name in ("bootstrap", "mongo", "otlp"):
        parser.add_argument(f"--{name}", required=True)
    arguments = parser.parse_args()
    logs.configure("bench", level="ERROR")
    logging.disable(logging.WARNING)
    case = CASES[arguments.case]

    async def run() -> dict[str, float]:
        world = World(
            bootstrap=arguments.bootstrap,
            mongo_url=arguments.mongo,
            topic=case.topic,
            events=case.events,
            otlp=arguments.otlp if case.traced else None,
        )
        return await measure(world, case)

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        print(json.dumps(runner.run(run())))


if __name__ == "__main__":
    main()
