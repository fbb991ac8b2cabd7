"""Who sends, and when is which subscription looked at?

The replica that holds the service's lease. It learns at once of what it commits itself and
looks for the rest every second, in one query for all subscriptions: an agenda says when its
subscription is due. Two replicas that both think they hold the lease send things twice, which
receivers are told of; neither sends an event before what comes before it.
"""

from __future__ import annotations

import asyncio
from contextlib import suppress
from typing import Final

import structlog

from libs.common import metrics
from libs.common.clock import Ports
from libs.common.commands import Commands
from libs.common.mongo.errors import Conflict, Unavailable
from services.interop.ports import Key, WorkList
from services.interop.senders.courier import Courier, Means

log = structlog.get_logger()

#: Seconds between looks at what is due and was not committed here.
POLL: Final = 1.0
#: Subscriptions that are worked on at a time, and remembered because they were called here.
AT_A_TIME: Final = 64
HINTS: Final = 10_000
#: Seconds before a subscription is looked at again for which something of ours has failed.
AFTER_A_BUG: Final = 30.0
#: Seconds that a stopping process waits for calls that are under way.
DRAIN: Final = 3.0
#: Seconds between two looks at how much waits.
MEASURE: Final = 10.0


class Sending:
    """The loop of one process; ``run`` until cancelled. ``commands`` are its own."""

    def __init__(self, means: Means, commands: Commands, *, poll: float = POLL) -> None:
        self._means, self._commands, self._poll = means, commands, poll
        self._ports: Ports = means.ports
        self._work: WorkList = means.work
        self._couriers: dict[Key, asyncio.Task[None]] = {}
        self._hints: dict[Key, None] = {}
        self._wake = asyncio.Event()
        self._looked = float("-inf")

    def hint(self, key: Key) -> None:
        """There is something to do for this subscription. Never waits."""
        if len(self._hints) < HINTS:  # beyond it, looking finds them
            self._hints[key] = None
            self._wake.set()

    async def run(self) -> None:
        deciding = asyncio.create_task(self._commands.run(), name="sending-commands")
        measuring = asyncio.create_task(self._measure(), name="sending-measures")
        failures = 0
        try:
            while True:
                for task in (deciding, measuring):
                    if task.done():
                        task.result()  # a bug there must not stop us silently
                try:
                    await self._step()
                    failures = 0
                except (Unavailable, Conflict) as error:
                    failures += 1
                    log.warning("sending_waits", why=str(error))
                    await self._ports.clock.sleep(self._ports.backoff(failures, cap=5.0))
        finally:
            measuring.cancel()
            await self._drain(deciding)

    async def _step(self) -> None:
        self._wake.clear()
        if not self._means.may():
            self._hints.clear()
        else:
            for key in list(self._hints):
                if len(self._couriers) < AT_A_TIME and key not in self._couriers:
                    del self._hints[key]
                    self._send(key)
            now = self._ports.clock.monotonic()
            free = AT_A_TIME - len(self._couriers)
            if free and now - self._looked >= self._poll:
                self._looked = now
                busy = list(self._couriers)
                for key in await self._work.due(self._ports.clock.now(), busy, free):
                    if key not in self._couriers:
                        self._send(key)
        with suppress(TimeoutError):
            async with asyncio.timeout(self._poll):
                await self._wake.wait()

    def _send(self, key: Key) -> None:
        task = asyncio.create_task(self._courier(key))
        self._couriers[key] = task
        task.add_done_callback(lambda _: self._returned(key))

    def _returned(self, key: Key) -> None:
        del self._couriers[key]
        self._wake.set()  # another one may set out, or the same again

    async def _courier(self, key: Key) -> None:
        try:
            await Courier(key, self._means).run()
        except (Unavailable, Conflict) as error:
            log.warning("sending_waits", why=str(error))
            await self._ports.clock.sleep(self._poll)
        except Exception:  # a bug of ours: this subscription waits, the others go on
            log.exception("sending_failed", subscription_id=key[1])
            await self._ports.clock.sleep(AFTER_A_BUG)

    async def _measure(self) -> None:
        while True:
            try:
                oldest, parked = await self._work.oldest(), await self._work.parked()
            except (Unavailable, Conflict) as error:
                log.info("deliveries_not_measured", why=str(error))
            else:
                age = 0.0 if oldest is None else (self._ports.clock.now() - oldest).total_seconds()
                metrics.WEBHOOK_OLDEST_AGE.set(max(0.0, age))
                metrics.WEBHOOKS_PARKED.set(parked)
            await self._ports.clock.sleep(MEASURE)

    async def _drain(self, deciding: asyncio.Task[None]) -> None:
        """Let the calls under way end and record them; whatever is cut off is sent again."""
        self._means.leaving.set()
        if self._couriers:
            await asyncio.wait(list(self._couriers.values()), timeout=DRAIN)
        for task in list(self._couriers.values()):
            task.cancel()
        await asyncio.gather(*self._couriers.values(), return_exceptions=True)
        await self._commands.stop(deciding)
        await self._means.calling.close()
