"""How do commands of people share a transaction?

Commands that arrive while a transaction runs wait together and are decided in the next
one, each seeing what the one before it left. The transaction belongs to this task, not
to a request: a client that disconnects cancels nothing, and an answer goes out only
after the commit.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable

import structlog

from libs.common import metrics
from libs.common.clock import Ports
from libs.common.decision import Input
from libs.common.engine import Engine
from libs.common.fates import Outcome
from libs.common.kafka.client import BusError
from libs.common.mongo.errors import Conflict, Unavailable
from libs.common.relay import Relay

log = structlog.get_logger()

#: Commands, and bytes of those that say their size, in one transaction: a longer one would keep
#: everybody waiting, and the database ends it. A larger command has one of its own.
BATCH, BATCH_BYTES = 64, 4 * 1024 * 1024
#: Seconds that a command waits for a database that is away before it is told so. The attempt
#: under way then takes ``mongo.database.SELECTION_SECONDS`` more: together less than a stopping
#: service gives those whom it has let in (``runtime.GRACE``).
PATIENCE = 4.0


class Busy(Exception):
    """The command was not carried out; ``reason`` says why. Try later.

    With ``database_unavailable`` it may have been, unheard of: the connection can break
    between a commit and its answer. Who sends the same ``Idempotency-Key`` again is safe.
    """

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


class Commands:
    """One service's group commit; ``run`` until ``stop``."""

    def __init__(
        self,
        *,
        engine: Engine,
        relay: Relay,
        ports: Ports,
        outbox_limit: int = 50_000,
        begun: Callable[[], bool] = lambda: True,
    ) -> None:
        self._begun = begun
        self._engine = engine
        self._relay = relay
        self._ports = ports
        self._outbox_limit = outbox_limit
        self._waiting: deque[tuple[Input, asyncio.Future[Outcome]]] = deque()
        self._arrived = asyncio.Event()
        self._stopping = False

    async def submit(self, input: Input) -> Outcome:
        """Decide and save ``input``. Raises ``Busy`` if it can't be now."""
        if self._stopping:
            raise Busy("stopping")
        if not self._begun():  # a write would make collections that lack their indexes
            raise Busy("not_ready")
        if self._relay.backlog >= self._outbox_limit:
            raise Busy("outbox_full")
        future: asyncio.Future[Outcome] = asyncio.get_running_loop().create_future()
        self._waiting.append((input, future))
        self._arrived.set()
        return await future

    async def run(self) -> None:
        while not (self._stopping and not self._waiting):
            await self._arrived.wait()
            self._arrived.clear()
            while self._waiting:
                await self._decide(self._next_batch())

    def _next_batch(self) -> list[tuple[Input, asyncio.Future[Outcome]]]:
        batch = [self._waiting.popleft()]
        size = batch[0][0].size
        while self._waiting and len(batch) < BATCH:
            size += self._waiting[0][0].size
            if size > BATCH_BYTES:
                break
            batch.append(self._waiting.popleft())
        return batch

    async def _decide(self, batch: list[tuple[Input, asyncio.Future[Outcome]]]) -> None:
        inputs = [input for input, _ in batch]
        metrics.COMMAND_BATCH_SIZE.observe(len(batch))
        deadline = self._ports.clock.monotonic() + PATIENCE
        attempt = 0
        while True:
            try:
                outcomes = await self._engine.run(inputs, "process commands")
                break
            except (Unavailable, Conflict, BusError) as error:
                attempt += 1
                wait = self._ports.backoff(attempt, cap=2.0)
                if self._ports.clock.monotonic() + wait > deadline:
                    if isinstance(error, Unavailable):
                        # Who waits behind them would wait as long for the same answer.
                        batch = [*batch, *self._waiting]
                        self._waiting.clear()
                    log.warning("commands_refused", count=len(batch), why=str(error))
                    self._fail(batch, Busy("database_unavailable"))
                    return
                await self._ports.clock.sleep(wait)
            except Exception as error:
                log.exception("commands_failed", count=len(batch))
                self._fail(batch, error)
                return
        for (input, future), outcome in zip(batch, outcomes, strict=True):
            metrics.COMMANDS.labels(type=input.type, fate=outcome.fate).inc()
            if not future.done():  # the client may have gone
                future.set_result(outcome)

    @staticmethod
    def _fail(batch: list[tuple[Input, asyncio.Future[Outcome]]], error: Exception) -> None:
        for _, future in batch:
            if not future.done():
                future.set_exception(error)

    async def stop(self, task: asyncio.Task[None]) -> None:
        """Accept nothing more; decide what was accepted."""
        self._stopping = True
        self._arrived.set()
        await asyncio.wait([task])
