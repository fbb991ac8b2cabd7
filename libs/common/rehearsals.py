"""How do commands that are rehearsed at the same time share what is read for them?

As the group commit has it (``commands.py``): those that are asked for while others are read
are read for together in the next round, in as many queries as one alone.
"""

from __future__ import annotations

import asyncio

from libs.common.decision import Answer, Input
from libs.common.planning import Planner

#: Commands in one round: a longer one would keep everybody waiting.
BATCH = 64


class Rehearsals:
    def __init__(self, planner: Planner) -> None:
        self._planner = planner
        self._waiting: list[tuple[Input, asyncio.Future[Answer]]] = []
        self._reader: asyncio.Task[None] | None = None

    async def rehearse(self, input: Input) -> Answer:
        """What the rule would answer now. Raises what it raises, and ``Unavailable``."""
        answered: asyncio.Future[Answer] = asyncio.get_running_loop().create_future()
        self._waiting.append((input, answered))
        if self._reader is None or self._reader.done():
            self._reader = asyncio.create_task(self._read())
        return await answered

    async def _read(self) -> None:
        while self._waiting:
            batch, self._waiting = self._waiting[:BATCH], self._waiting[BATCH:]
            answers: list[Answer | Exception]
            try:
                answers = await self._planner.rehearse([input for input, _ in batch])
            except Exception as error:
                answers = [error] * len(batch)
            for (_, answered), answer in zip(batch, answers, strict=True):
                if answered.done():  # the client may have gone
                    continue
                if isinstance(answer, Exception):
                    answered.set_exception(answer)
                else:
                    answered.set_result(answer)
