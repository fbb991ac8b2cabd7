"""When is a consumer that says nothing taken for one that hangs?"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from contextlib import suppress
from typing import Any

import pytest

from libs.common.clock import Ports
from libs.common.consumer import LOST, PROBE, STUCK, WATCH, Consumer
from libs.common.kafka.client import BusError

Lags = dict[tuple[str, int], int]
NONE: Lags = {("t", 0): 0}
SOME: Lags = {("t", 0): 7}


class Hurried:
    """A clock whose sleeps take no time."""

    def __init__(self) -> None:
        self.elapsed = 0.0

    def monotonic(self) -> float:
        return self.elapsed

    async def sleep(self, seconds: float) -> None:
        self.elapsed += seconds
        await asyncio.sleep(0)


class Client:
    """Answers how far behind it is, look by look; the last answer for good."""

    def __init__(self, *lags: Lags | None, rejoining: bool = False) -> None:
        self.rejoining = rejoining
        self._lags: Iterator[Lags | None] = iter(lags)
        self._last: Lags | None = None

    async def start(self) -> None: ...
    async def stop(self) -> None: ...

    async def behind(self) -> Lags:
        self._last = next(self._lags, self._last)
        if self._last is None:
            raise BusError("nobody answers")
        return self._last

    async def poll(self, **_: Any) -> list[Any]:
        await asyncio.Event().wait()  # for ever, as aiokafka's may
        return []


class Nothing:
    async def close(self) -> None: ...


def consumer(clock: Hurried, client: Callable[[], Client] = Client) -> Consumer:
    return Consumer(
        group="g",
        new_client=lambda _revoked: client(),  # type: ignore[arg-type, return-value]
        engine=None,  # type: ignore[arg-type]
        dead_letters=Nothing(),  # type: ignore[arg-type]
        types={},
        ports=Ports(clock=clock),  # type: ignore[arg-type]
    )


async def seconds_until_rebuilt(
    client: Client, *, at_most: float, stopped: bool = False
) -> float | None:
    """When the watchdog barks; ``None`` if it does not within ``at_most`` seconds."""
    clock = Hurried()
    watched = consumer(clock)
    watched.stopped = stopped
    watch = asyncio.create_task(watched._watch(client))  # type: ignore[arg-type]
    while not watch.done() and clock.elapsed < at_most:  # noqa: ASYNC110 - nobody tells us
        await asyncio.sleep(0)
    if not watch.done():
        watch.cancel()
        return None
    with pytest.raises(BusError, match="stuck"):
        watch.result()
    return clock.elapsed


async def test_records_that_wait_while_none_arrives_are_a_hang() -> None:
    found = await seconds_until_rebuilt(Client(SOME), at_most=1_000)
    assert found is not None
    assert STUCK < found <= STUCK + 2 * WATCH


async def test_a_quiet_topic_is_none() -> None:
    assert await seconds_until_rebuilt(Client(NONE), at_most=1_000) is None


async def test_what_counts_is_how_long_records_wait_and_not_how_quiet_it_was_before() -> None:
    quiet = [NONE] * 100
    found = await seconds_until_rebuilt(Client(*quiet, SOME), at_most=2_000)
    assert found is not None
    assert found > 100 * WATCH + STUCK


async def test_a_broker_that_does_not_say_is_given_as_long_as_a_rebalance_may_take() -> None:
    found = await seconds_until_rebuilt(Client(None), at_most=1_000)
    assert found is not None
    assert LOST < found <= LOST + 2 * WATCH


async def test_a_stopped_consumer_that_hangs_is_built_anew_or_it_would_never_resume() -> None:
    found = await seconds_until_rebuilt(Client(SOME), at_most=1_000, stopped=True)
    assert found is not None
    assert STUCK + PROBE < found <= STUCK + PROBE + 2 * WATCH


async def test_one_that_only_pauses_between_its_probes_is_left_alone() -> None:
    clock = Hurried()
    probing = consumer(clock)
    probing.stopped = True
    client: Any = Client(SOME)
    watch = asyncio.create_task(probing._watch(client))
    while not watch.done() and clock.elapsed < 1_000:
        await asyncio.sleep(0)
        probing._last_record = clock.elapsed // PROBE * PROBE
    assert not watch.done()
    watch.cancel()
    await asyncio.wait([watch])


async def test_so_is_a_group_that_never_gives_partitions() -> None:
    found = await seconds_until_rebuilt(Client({}, rejoining=True), at_most=1_000)
    assert found is not None
    assert LOST < found <= LOST + 2 * WATCH


async def test_a_member_without_partitions_is_none() -> None:
    assert await seconds_until_rebuilt(Client({}), at_most=1_000) is None


async def test_a_poll_that_never_comes_back_is_left_and_a_new_client_made() -> None:
    made: list[Client] = []

    def client() -> Client:
        made.append(Client(SOME))
        return made[-1]

    running = asyncio.create_task(consumer(Hurried(), client).run())
    async with asyncio.timeout(10):
        while len(made) < 2:  # noqa: ASYNC110 - nobody tells us
            await asyncio.sleep(0.01)
    running.cancel()
    await asyncio.wait([running])


async def test_nor_does_a_client_keep_us_that_forgets_to_pass_a_cancellation_on() -> None:
    class Deaf(Client):
        async def poll(self, **_: Any) -> list[Any]:
            with suppress(asyncio.CancelledError):
                await asyncio.Event().wait()
            return []

    made: list[Client] = []

    def client() -> Client:
        made.append(Deaf(SOME))
        return made[-1]

    running = asyncio.create_task(consumer(Hurried(), client).run())
    async with asyncio.timeout(10):
        while len(made) < 2:  # noqa: ASYNC110 - nobody tells us
            await asyncio.sleep(0.01)
    running.cancel()
    await asyncio.wait([running])


@pytest.mark.parametrize("rejoining", [True, False])
async def test_a_batch_may_take_long_but_a_rebalance_may_not(rejoining: bool) -> None:
    """Such as while the database is away."""
    clock = Hurried()
    at_work = consumer(clock)
    at_work._idle.clear()
    client: Any = Client(SOME, rejoining=rejoining)
    watch = asyncio.create_task(at_work._watch(client))
    while not watch.done() and clock.elapsed < 1_000:  # noqa: ASYNC110 - nobody tells us
        await asyncio.sleep(0)
    assert watch.done() == rejoining
    watch.cancel()
    await asyncio.wait([watch])
    if rejoining:
        assert isinstance(watch.exception(), BusError)
