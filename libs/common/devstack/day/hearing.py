"""What do the services tell on their topics, and did it come?"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections import defaultdict
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import aclosing
from typing import TypeVar, cast

from libs.common.cloudevents import CloudEvent, Undecodable, UnknownType, decode
from libs.common.devstack import topics
from libs.common.events import Event
from libs.common.kafka.client import BusError
from libs.common.kafka.reading import read_all
from libs.common.kafka.record import Record

#: Seconds within which anything must have happened. Far more than it takes: the machine may
#: be busy.
DEADLINE = 30.0
LOOK_EVERY = 0.2

E = TypeVar("E", bound=Event)
T = TypeVar("T")


class Failed(Exception):
    """What should have been and was not, in words for people."""


class Hearing:
    """Every event since the beginning."""

    def __init__(self, bootstrap: str) -> None:
        self._bootstrap = bootstrap
        self._known: set[tuple[str, str]] = set()
        self._heard: defaultdict[type[Event], list[CloudEvent]] = defaultdict(list)
        self._news = asyncio.Event()
        self._began = 0
        #: (topic, reason) of every dead letter.
        self.dead_letters: list[tuple[str, str]] = []

    @contextlib.asynccontextmanager
    async def listening(self) -> AsyncIterator[None]:
        self._began = time.time_ns() // 1_000_000
        task = asyncio.create_task(self._listen(), name="day-listens")
        try:
            yield
        finally:
            task.cancel()
            with contextlib.suppress(asyncio.CancelledError, BusError):
                await task

    async def _listen(self) -> None:
        names = [t.name for t in topics.specs()]
        while True:
            try:
                records = read_all(self._bootstrap, names)
                async with aclosing(records):  # type: ignore[type-var]
                    async for record in records:
                        if record.timestamp >= self._began:
                            self._hear(record)
            except BusError:
                await asyncio.sleep(1)

    def _hear(self, record: Record) -> None:
        if record.topic.endswith(".dlq"):
            reason = dict(record.headers).get("dlq_reason", b"").decode(errors="replace")
            self.dead_letters.append((record.topic, reason))
        else:
            with contextlib.suppress(Undecodable, UnknownType):
                event = decode(record.headers, record.value)
                if (event.source, event.id) not in self._known:  # they may come twice
                    self._known.add((event.source, event.id))
                    self._heard[type(event.data)].append(event)
        self._news.set()
        self._news = asyncio.Event()

    def heard(self, kind: type[E], **fields: object) -> list[CloudEvent]:
        """The events of one class since the beginning whose data have these fields."""
        return [e for e in self._heard[kind] if _has(e.data, fields)]

    async def hears(
        self, kind: type[E], what: str = "", within: float | None = None, **fields: object
    ) -> E:
        """The first such event, which must come; ``what`` says so to people."""
        within = within or DEADLINE
        try:
            async with asyncio.timeout(within):
                seen = 0
                while True:
                    news, events = self._news, self._heard[kind]
                    for event in events[seen:]:
                        if _has(event.data, fields):
                            return cast(E, event.data)
                    seen = len(events)
                    await news.wait()
        except TimeoutError:
            told = what or f"{kind.TYPE} with {fields}"
            raise Failed(f"{told}: not told within {within:.0f} s") from None


async def eventually(
    what: str, look: Callable[[], Awaitable[T | None]], within: float | None = None
) -> T:
    """What ``look`` finds, which must come to be within ``within`` seconds."""
    within = within or DEADLINE
    until = time.monotonic() + within
    while True:
        found = await look()
        if found:
            return found
        if time.monotonic() > until:
            raise Failed(f"{what}: not within {within:.0f} s")
        await asyncio.sleep(LOOK_EVERY)


def require(holds: object, what: str) -> None:
    """``what`` must be so."""
    if not holds:
        raise Failed(f"not so: {what}")


def _has(data: Event, fields: Mapping[str, object]) -> bool:
    return all(getattr(data, name) == value for name, value in fields.items())
