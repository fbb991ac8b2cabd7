"""Does an event cost what it did? Counted without noise, never timed.

Function calls per event (cProfile, batches of 500) and round trips per batch do not depend
on the machine. The limits are docs/performance.md's.
"""

from __future__ import annotations

import asyncio
import cProfile
import pstats
import sys
from typing import Any

import pytest
from aiokafka.client import AIOKafkaClient

from libs.common import metrics
from tests.support.toy import Replica, Toy

BATCH = 500
CALLS_PER_EVENT = 150
#: find inbox, find aggregates, insert inbox, write aggregates, insert outbox, commit, and the
#: relay's deletion.
COMMANDS_PER_BATCH = 7


async def sent_all(replica: Replica, events: int) -> None:
    async with asyncio.timeout(60):
        while sum(replica.relay._sent.values()) < events:  # noqa: ASYNC110 - it counts, only
            await asyncio.sleep(0.01)


async def work(toy: Toy, events: int) -> Replica:
    replica = toy.replica()
    await replica.lease.step()
    replica.start("lease", "relay", "consumer")
    await sent_all(replica, events)
    await replica.consumer.stop()
    return replica


@pytest.mark.skipif(sys.version_info[:2] != (3, 11), reason="counted on Python 3.11")
async def test_an_event_takes_at_most_so_many_function_calls(toy: Toy) -> None:
    await toy.publish([toy.event(f"p{i % BATCH}", i // BATCH + 1) for i in range(BATCH * 8)])
    profile = cProfile.Profile()
    profile.enable()
    replica = await work(toy, BATCH * 8)
    profile.disable()
    await replica.kill()
    calls = pstats.Stats(profile).total_calls / (BATCH * 8)  # type: ignore[attr-defined]
    print(f"{calls:.1f} calls an event")
    assert calls <= CALLS_PER_EVENT


def commands() -> dict[str, float]:
    return {
        sample.labels["command"]: sample.value
        for family in metrics.MONGO_COMMANDS.collect()
        for sample in family.samples
        if sample.name.endswith("_total")
    }


@pytest.mark.parametrize("again", [False, True], ids=["new documents", "existing documents"])
async def test_a_batch_takes_a_fixed_number_of_database_commands(toy: Toy, again: bool) -> None:
    replica = toy.replica()
    counts = []
    for n, events in ((1, 20), (2, BATCH)):
        names = [f"{'p' if again else n}{i}" for i in range(events)]
        if again:
            await replica.engine.run([_input(toy, name, f"first-{n}") for name in names])
        before = commands()
        await replica.engine.run([_input(toy, name, f"second-{n}") for name in names])
        after = commands()
        counts.append({k: v - before.get(k, 0) for k, v in after.items() if v != before.get(k, 0)})
    assert counts[0] == counts[1], "commands must not depend on the number of events"
    assert sum(counts[1].values()) + 1 <= COMMANDS_PER_BATCH, counts[1]  # + the relay's deletion


def _input(toy: Toy, name: str, id: str) -> Any:
    from tests.support.toy import tick_command

    return tick_command(toy, name, 1, id=f"{id}-{name}")


async def test_kafka_requests_depend_on_batches_not_on_events(
    toy: Toy, monkeypatch: pytest.MonkeyPatch
) -> None:
    produced = 0
    send = AIOKafkaClient.send

    async def counting(self: Any, node: Any, request: Any, **named: Any) -> Any:
        nonlocal produced
        produced += type(request).__name__.startswith("Produce")
        return await send(self, node, request, **named)

    await toy.publish([toy.event(f"p{i}", 1) for i in range(BATCH * 4)])
    monkeypatch.setattr(AIOKafkaClient, "send", counting)
    replica = await work(toy, BATCH * 4)
    await replica.kill()
    # The relay sends what a batch has left in one request, and never more than a few.
    assert 1 <= produced <= 4 * 4, produced
