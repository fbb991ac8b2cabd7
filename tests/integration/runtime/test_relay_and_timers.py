"""Are events sent once acknowledged, first time in order, by one owner at a time?"""

from __future__ import annotations

import asyncio
import time

from libs.common.clock import Ports
from libs.common.kafka.client import BusError
from libs.common.kafka.producer import Producer
from tests.support.toy import Replica, Toy, eventually, in_order, tick_command


async def test_a_replica_that_does_not_own_the_relay_wakes_the_owner(toy: Toy) -> None:
    owner, other = toy.replica(), toy.replica()
    async with owner.running("lease", "relay"), other.running("lease", "relay", "commands"):
        await eventually(lambda: _owned(owner, other))
        poor = other if owner.lease.owned else owner
        if not poor.tasks or poor is owner:
            poor.start("commands")
        started = time.monotonic()
        await poor.commands.submit(tick_command(toy, "a", 1, id="k"))
        await toy.published(lambda found: len(found) == 1)
        assert time.monotonic() - started < 5


async def _owned(*replicas: Replica) -> bool:
    return sum(r.lease.owned for r in replicas) == 1


async def test_the_lease_is_taken_over_after_its_owner_died(toy: Toy) -> None:
    first, second = toy.replica(), toy.replica()
    first.start("lease")
    await eventually(lambda: _owned(first))
    async with second.running("lease"):
        await asyncio.sleep(1)
        assert not await _owned(second)
        await first.kill()
        await eventually(lambda: _owned(second))


async def test_a_released_lease_passes_at_once(toy: Toy) -> None:
    first, second = toy.replica(), toy.replica()

    async def owners() -> tuple[bool, bool]:
        await first.lease.step()
        await second.lease.step()
        return first.lease.owned, second.lease.owned

    assert await owners() == (True, False)
    await first.lease.release()
    await second.lease.step()
    assert await owners() == (False, True)


async def test_a_stuck_producer_is_thrown_away_and_order_holds(toy: Toy) -> None:
    replica = toy.replica()
    made: list[Producer] = []

    class Sticky(Producer):
        async def send(self, rows):  # type: ignore[no-untyped-def]
            sent = await super().send(rows)
            if len(made) < 4:
                raise BusError("OutOfOrderSequenceNumber")
            return sent

    def sticky() -> Producer:
        made.append(Sticky(toy.bootstrap))
        return made[-1]

    replica.relay._new_producer = sticky
    async with replica.running("lease", "relay", "commands"):
        for i in range(20):
            await replica.commands.submit(tick_command(toy, f"p{i % 2}", i, id=f"k{i}"))
        events = await toy.published(lambda found: len({e.id for e in found}) == 20)

        async def drained() -> bool:
            return not await toy.rows("outbox")

        await eventually(drained)
    assert len(made) == 4
    assert in_order(events)


async def test_rows_of_a_killed_replica_are_sent_by_the_next(toy: Toy) -> None:
    first = toy.replica()
    first.start("commands")
    for i in range(10):
        await first.commands.submit(tick_command(toy, "a", i, id=f"k{i}"))
    await first.kill()
    assert len(await toy.rows("outbox")) == 10
    async with toy.replica().running("lease", "relay"):
        events = await toy.published(lambda found: len(found) == 10)
    assert [e.sequence for e in events] == list(range(1, 11))


async def test_a_busy_owner_finds_rows_that_nobody_wakes_it_for(toy: Toy) -> None:
    """As those of a commit whose answer was lost, or of a replica that died before its wake."""
    dead = toy.replica()
    dead.start("commands")
    await dead.commands.submit(tick_command(toy, "lost", 1, id="lost"))
    await dead.kill()
    (row,) = await toy.rows("outbox")
    owner = toy.replica()
    async with owner.running("lease", "relay", "commands"):
        await toy.published(lambda found: len(found) == 1)
        row["_id"], row["stream"] = "h1/again", "h1/again"
        row["headers"]["ce_id"] = b"again"
        await toy.database.raw("outbox").insert_one(row)

        async def busy() -> None:
            for n in range(100_000):
                await owner.commands.submit(tick_command(toy, "b", n, id=f"k{n}"))

        people = asyncio.create_task(busy())
        async with asyncio.timeout(10):
            await toy.published(lambda found: found[-1].id == "again")
        people.cancel()


async def test_a_timer_fires_once_though_two_replicas_run_and_survives_a_restart(
    toy: Toy,
) -> None:
    await toy.publish([toy.event("a", 1, then="later")])
    first = toy.replica()
    first.start("consumer")

    async def stored() -> bool:
        return bool(await toy.rows("timers"))

    await eventually(stored)
    await first.kill()
    second, third = toy.replica(), toy.replica()
    async with second.running("lease", "timers"), third.running("lease", "timers"):

        async def fired() -> bool:
            return await toy.tallies() == {"a": 2}

        await eventually(fired)
        await asyncio.gather(second.timers.fire(), third.timers.fire())
        assert not await toy.rows("timers")
    assert await toy.tallies() == {"a": 2}


async def test_two_replicas_firing_at_the_same_moment_have_one_effect(toy: Toy) -> None:
    await toy.publish([toy.event(f"p{i}", 1, then="later") for i in range(20)])
    async with toy.replica().running("consumer"):

        async def stored() -> bool:
            return len(await toy.rows("timers")) == 20

        await eventually(stored)
    await Ports().clock.sleep(0.4)
    one, two = toy.replica(), toy.replica()
    await asyncio.gather(one.timers.fire(), two.timers.fire())
    assert set((await toy.tallies()).values()) == {2}


async def test_a_timer_set_again_after_it_has_fired_goes_away(toy: Toy) -> None:
    replica = toy.replica()
    async with replica.running("commands"):
        await replica.commands.submit(tick_command(toy, "a", 1, id="k", then="later"))
    (row,) = await toy.rows("timers")
    await Ports().clock.sleep(0.4)
    await replica.timers.fire()
    assert await toy.tallies() == {"a": 2}
    await toy.database.raw("timers").insert_one(row)
    await replica.timers.fire()
    assert not await toy.rows("timers")
    assert await toy.tallies() == {"a": 2}


async def test_a_timer_that_this_version_cannot_read_is_postponed_and_stops_nobody(
    toy: Toy,
) -> None:
    replica = toy.replica()
    async with replica.running("commands"):
        await replica.commands.submit(tick_command(toy, "a", 1, id="k", then="later"))
    (row,) = await toy.rows("timers")
    newer = {**row, "_id": "h1/newer", "id": "newer", "type": "toy.newer"}
    await toy.database.raw("timers").insert_one(newer)
    await Ports().clock.sleep(0.4)
    await replica.timers.fire()
    assert await toy.tallies() == {"a": 2}
    (left,) = await toy.rows("timers")
    assert (left["type"], left["due"]) == ("toy.newer", row["due"])
    assert left["next"] > row["due"]


async def test_every_replica_knows_how_much_waits(toy: Toy) -> None:
    replica = toy.replica()
    async with replica.running("commands", "relay"):  # without the lease: nothing is sent
        for i in range(3):
            await replica.commands.submit(tick_command(toy, "a", i, id=f"k{i}"))

        async def measured() -> bool:
            return replica.relay.backlog == 3

        await eventually(measured)


async def test_what_is_settled_is_never_set_aside_afterwards(toy: Toy) -> None:
    replica = toy.replica()
    command = tick_command(toy, "a", 1, id="k")
    async with replica.running("commands"):
        await replica.commands.submit(command)
    outcome = await replica.engine._set_aside(command, ValueError("a lost answer"))
    assert (outcome.fate, outcome.result) == ("duplicate", {"count": 1})
    assert [r["fate"] for r in await toy.rows("inbox")] == ["done"]
