"""Where do time, ids and randomness come from?

The only module that asks the operating system for them. Everything else receives
these ports, so that the platform can run under simulated time.
"""

from __future__ import annotations

import asyncio
import random
import secrets
import time
import uuid
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Protocol


class Clock(Protocol):
    def now(self) -> datetime:
        """Aware UTC time in whole milliseconds, the precision of BSON and of our events."""
        ...

    def monotonic(self) -> float:
        """Seconds that never go back, for durations."""
        ...

    async def sleep(self, seconds: float) -> None: ...


class Ids(Protocol):
    def new(self) -> str:
        """An id that was never given before; for what people create, not for what follows."""
        ...


class Randomness(Protocol):
    def token(self) -> str:
        """A secret of 256 bits, URL-safe."""
        ...

    def jitter(self) -> float:
        """A number in [0, 1)."""
        ...


class SystemClock:
    def now(self) -> datetime:
        t = datetime.now(UTC)
        return t.replace(microsecond=t.microsecond // 1000 * 1000)

    def monotonic(self) -> float:
        return time.monotonic()

    async def sleep(self, seconds: float) -> None:
        await asyncio.sleep(seconds)


class SystemIds:
    def new(self) -> str:
        return str(uuid.uuid4())


class SystemRandomness:
    def token(self) -> str:
        return secrets.token_urlsafe(32)

    def jitter(self) -> float:
        return random.random()


@dataclass(frozen=True, slots=True)
class Ports:
    """The three of them together, as they are handed around."""

    clock: Clock = field(default_factory=SystemClock)
    ids: Ids = field(default_factory=SystemIds)
    randomness: Randomness = field(default_factory=SystemRandomness)

    def backoff(self, attempt: int, *, base: float = 0.1, cap: float = 10.0) -> float:
        """Seconds before attempt ``attempt`` (1, 2, …): doubled, capped, with full jitter.

        Source: Exponential Backoff And Jitter, AWS Architecture Blog, 2015 ("full jitter"),
        kept above a tenth of the ceiling so that a loop of retries never spins.
        """
        ceiling = min(cap, base * 2 ** min(attempt - 1, 20))
        return float(ceiling * (0.1 + 0.9 * self.randomness.jitter()))
