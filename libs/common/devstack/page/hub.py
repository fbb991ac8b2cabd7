"""How do open browser pages hear of what is new?"""

from __future__ import annotations

import asyncio
import secrets
from collections import deque
from collections.abc import AsyncIterator
from typing import Any, NamedTuple

REMEMBERED = 2_000
WAITING = 1_000


class News(NamedTuple):
    """``kind`` says what ``item`` is: a timeline entry, a person's key, the services' health."""

    number: int
    kind: str
    item: Any


class Hub:
    """Numbers what is new and hands it to every listener; remembers the latest for those
    who come back. A ``position`` names a place in the row, in this run of the page only."""

    def __init__(self) -> None:
        self._run = secrets.token_hex(8)
        self._number = 0
        self._latest: deque[News] = deque(maxlen=REMEMBERED)
        self._listeners: set[asyncio.Queue[News]] = set()

    def position(self, number: int | None = None) -> str:
        return f"{self._run}-{self._number if number is None else number}"

    def publish(self, kind: str, item: Any) -> None:
        self._number += 1
        news = News(self._number, kind, item)
        self._latest.append(news)
        for queue in self._listeners:
            if queue.qsize() < WAITING:  # a browser that slow shall load anew
                queue.put_nowait(news)

    async def listen(self, position: str | None) -> AsyncIterator[News | None]:
        """What came after ``position``; first ``None`` if that can't be told any more."""
        run, _, number = (position or "").rpartition("-")
        known = run == self._run and number.isdigit()
        after = int(number) if known else self._number
        oldest = self._latest[0].number if self._latest else self._number + 1
        missed = bool(position) and (not known or after + 1 < oldest)
        queue: asyncio.Queue[News] = asyncio.Queue()
        for news in self._latest:
            if news.number > after and not missed:
                queue.put_nowait(news)
        self._listeners.add(queue)
        try:
            if missed:
                yield None
            while True:
                yield await queue.get()
        finally:
            self._listeners.discard(queue)
