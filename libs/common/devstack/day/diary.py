"""What is told of the day while it is played, and which step failed?"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from libs.common.devstack.day.hearing import Failed
from libs.common.devstack.part import Said, Tell

PART = "day"


class StepFailed(Exception):
    """A step did not lead to what it must lead to; it has been told."""


class Diary:
    """``async with diary.step(...)``: one step, checked inside, told when it is over."""

    def __init__(self, tell: Tell) -> None:
        self._tell = tell
        self.failed: list[str] = []
        self.steps = 0

    async def say(self, en: str, zh: str) -> None:
        # In a thread, because the page is told by a blocking call.
        await asyncio.to_thread(self._tell, PART, Said(en, zh))

    @asynccontextmanager
    async def step(self, en: str, zh: str) -> AsyncIterator[None]:
        began = time.monotonic()
        try:
            yield
        except Exception as error:  # an answer without a field that must be there, above all
            why = str(error) if isinstance(error, Failed) else repr(error)
            self.failed.append(en)
            await self.say(f"✗ {en}: {why}", f"✗ {zh}：{why}")
            raise StepFailed(en) from error
        seconds = time.monotonic() - began
        self.steps += 1
        await self.say(f"✓ {en} ({seconds:.1f} s)", f"✓ {zh}（{seconds:.1f} 秒）")
