"""Do commands of people share transactions without knowing of each other?"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import pytest

from libs.common.commands import Busy, Commands
from libs.common.decision import Input, Need, by_id
from libs.common.fates import Fate, Outcome
from libs.common.mongo.collection import Collection
from tests.support.toy import Tally, Toy, tick_command


async def test_simultaneous_commands_share_transactions_and_each_sees_the_one_before(
    toy: Toy,
) -> None:
    replica = toy.replica()
    async with replica.running("lease", "relay", "commands"):
        outcomes = await asyncio.gather(
            *(replica.commands.submit(tick_command(toy, "a", 1, id=f"k{i}")) for i in range(200))
        )
    assert sorted(o.result["count"] for o in outcomes) == list(range(1, 201))
    (row,) = await toy.rows("tallies")
    assert row["count"] == 200


async def test_large_commands_share_a_transaction_only_as_far_as_it_stays_small(
    toy: Toy, monkeypatch: pytest.MonkeyPatch
) -> None:
    batches: list[list[int]] = []
    replica = toy.replica()
    run = replica.engine.run

    async def noted(inputs: Sequence[Input], name: str = "") -> list[Outcome]:
        batches.append([i.size for i in inputs])
        return await run(inputs, name)

    monkeypatch.setattr(replica.engine, "run", noted)
    mib = 1024 * 1024
    sizes = [0, mib, 3 * mib, 1, 10 * mib, 10 * mib, 0, 4 * mib, 0, 0]
    given = [
        tick_command(toy, f"n{n}", n, id=f"k{n}")._replace(size=size)
        for n, size in enumerate(sizes)
    ]
    waiting = [asyncio.create_task(replica.commands.submit(input)) for input in given]
    await asyncio.sleep(0)
    async with replica.running("commands"):
        assert [o.fate for o in await asyncio.gather(*waiting)] == [Fate.DONE] * len(sizes)
    assert batches == [[0, mib, 3 * mib], [1], [10 * mib], [10 * mib], [0, 4 * mib, 0, 0]]


async def test_a_repeated_command_gets_the_first_answer_again(toy: Toy) -> None:
    replica = toy.replica()
    async with replica.running("commands"):
        first = await replica.commands.submit(tick_command(toy, "a", 1, id="k"))
        again = await replica.commands.submit(tick_command(toy, "a", 1, id="k"))
        other = await replica.commands.submit(tick_command(toy, "a", 2, id="k", hash=b"other"))
    assert (again.fate, again.result) == (Fate.DUPLICATE, first.result)
    assert other.refusal is not None
    assert other.refusal.reason == "idempotency_key_reused"
    assert await toy.tallies() == {"a": 1}


async def test_a_client_that_disconnects_cancels_nothing(toy: Toy) -> None:
    replica = toy.replica()
    async with replica.running("commands"):
        gone = asyncio.create_task(replica.commands.submit(tick_command(toy, "a", 1, id="k")))
        await asyncio.sleep(0)
        gone.cancel()
        stays = await replica.commands.submit(tick_command(toy, "a", 2, id="l"))
    assert stays.result == {"count": 2}


async def test_what_is_named_by_id_is_read_before_what_it_may_guard(
    toy: Toy, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Else a list could be older than the version by which its change is guarded."""
    steps: list[str] = []
    load = Collection.load

    async def slow(self: Any, field: str, wanted: Any) -> Any:
        steps.append(f"{field} begins")
        if field == "id":
            await asyncio.sleep(0.05)
        found = await load(self, field, wanted)
        steps.append(f"{field} ends")
        return found

    monkeypatch.setattr(Collection, "load", slow)
    both = [Need(Tally, "group", "a"), *by_id(Tally, "a")]
    toy.handlers["toy.tick"] = replace(toy.handlers["toy.tick"], needs=lambda _i, _s: both)
    replica = toy.replica()
    async with replica.running("commands"):
        await replica.commands.submit(tick_command(toy, "a", 1, id="k"))
    assert steps == ["id begins", "id ends", "group begins", "group ends"]


async def test_two_replicas_on_one_document_never_lose_an_update(toy: Toy) -> None:
    one, two = toy.replica(), toy.replica()
    async with one.running("commands"), two.running("commands"):
        await asyncio.gather(
            *(r.commands.submit(tick_command(toy, "hot", i, id=f"{n}-{i}"))
              for i in range(60) for n, r in enumerate((one, two)))
        )  # fmt: skip
    assert await toy.tallies() == {"hot": 120}


async def test_beyond_the_outbox_limit_commands_are_told_to_come_back(toy: Toy) -> None:
    replica = toy.replica()
    replica.relay.backlog = 50_000
    with pytest.raises(Busy, match="outbox_full"):
        await replica.commands.submit(tick_command(toy, "a", 1, id="k"))


async def test_a_service_that_has_not_begun_takes_no_commands(toy: Toy) -> None:
    """Its collections may not be there: a write would make them, without their indexes."""
    replica = toy.replica()
    commands = Commands(
        engine=replica.engine, relay=replica.relay, ports=toy.ports, begun=lambda: False
    )
    with pytest.raises(Busy, match="not_ready"):
        await commands.submit(tick_command(toy, "a", 1, id="k"))


async def test_what_was_accepted_is_decided_even_while_stopping(toy: Toy) -> None:
    replica = toy.replica()
    task = asyncio.create_task(replica.commands.run())
    waiting = [
        asyncio.create_task(replica.commands.submit(tick_command(toy, "a", i, id=f"k{i}")))
        for i in range(100)
    ]
    await asyncio.sleep(0)
    await replica.commands.stop(task)
    assert [o.fate for o in await asyncio.gather(*waiting)] == [Fate.DONE] * 100
    with pytest.raises(Busy, match="stopping"):
        await replica.commands.submit(tick_command(toy, "a", 1, id="too-late"))
