"""How does what came of a call get into the database, whatever happens to it meanwhile?"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final, Protocol

import structlog

from libs.common.clock import Ports
from libs.common.decision import Input, derived_id
from libs.common.fates import Outcome
from libs.common.mongo.errors import Conflict, Unavailable
from services.notify.domain.delivering import ENDED, CallEnded, Claim
from services.notify.domain.delivery import Delivery
from services.notify.ports import Due, Result

log = structlog.get_logger()

SOURCE: Final = "/services/notify"


class Decides(Protocol):
    """Decides and saves inputs (``libs.common.engine.Engine``)."""

    async def run(self, inputs: Sequence[Input], name: str = ..., /) -> list[Outcome]: ...


async def decided(
    engine: Decides, inputs: Sequence[Input], name: str, ports: Ports
) -> list[Outcome]:
    """Decide and save, however long the database is away; the same inputs again, so that
    what was committed without our hearing of it is not done twice."""
    failures = 0
    while True:
        try:
            return await engine.run(inputs, name)
        except (Unavailable, Conflict) as error:
            failures += 1
            log.warning("sending_waits", why=str(error))
            await ports.clock.sleep(ports.backoff(failures, cap=5.0))


def command_of(due: Due, type: str, id: str, data: Claim | CallEnded, ports: Ports) -> Input:
    """An internal command about a delivery, in the trace of what caused it."""
    return Input(
        id=id,
        source=SOURCE,
        type=type,
        hospital=due.hospital,
        subject=Delivery.id_of(due.notification_id, due.channel),
        time=ports.clock.now(),
        data=data,
        correlation_id=due.correlation_id,
        traceparent=due.traceparent,
    )


@dataclass(frozen=True, slots=True)
class Ended:
    """A call, or an attempt that came to no call, with its result."""

    due: Due
    attempt: int
    result: Result


class Outcomes:
    """Records what ended, many at a time; ``recorded`` hears of what."""

    def __init__(
        self,
        engine: Decides,
        ports: Ports,
        *,
        recorded: Callable[[Sequence[Due]], None],
    ) -> None:
        self._engine, self._ports = engine, ports
        self._recorded = recorded
        self._waiting: list[Ended] = []
        self._something = asyncio.Event()

    def add(self, ended: Ended) -> None:
        self._waiting.append(ended)
        self._something.set()

    async def run(self) -> None:
        while True:
            await self._something.wait()
            self._something.clear()
            batch, self._waiting = self._waiting, []
            inputs = [self._input(ended) for ended in batch]
            await decided(self._engine, inputs, "record deliveries", self._ports)
            self._recorded([ended.due for ended in batch])

    def _input(self, ended: Ended) -> Input:
        due, result = ended.due, ended.result
        data = CallEnded(
            notification_id=due.notification_id,
            channel=due.channel,
            attempt=ended.attempt,
            verdict=result.verdict,
            reason=result.reason,
            code=result.code,
            retry_after=result.retry_after,
            jitter=self._ports.randomness.jitter(),
        )
        id = derived_id(*due.key, ended.attempt, ENDED)
        return command_of(due, ENDED, id, data, self._ports)
