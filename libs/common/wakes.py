"""How do open streams learn at once that there is something new to read?

One listener for each process, not for each client. It wakes whoever waits for a key, by
what this process has committed itself and, through the database's change stream, by what
other replicas have. A wake says only "look": what there is, a stream reads by number, so
nothing is missed and nothing comes twice.
"""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator
from contextlib import aclosing, contextmanager, suppress
from functools import partial
from typing import Final

import structlog

from libs.common.clock import Ports
from libs.common.mongo.database import Database
from libs.common.mongo.documents import Row
from libs.common.mongo.errors import Conflict, Unavailable, Unstorable

log = structlog.get_logger()

#: A stream looks by itself after so many seconds, should a wake be lost.
LOOK: Final = 10.0
#: Seconds before the change stream is opened again.
REOPEN: Final = 2.0

Key = tuple[str, str]  # the hospital, and what is waited for


class Wakes:
    """Who waits for what, in this process.

    ``keys`` are what a written row wakes: a field of it that names it, or a function of it.
    Rows are looked at when they are inserted, and, with ``changes``, when they are replaced.
    """

    def __init__(
        self, collection: str, keys: str | Callable[[Row], Iterable[str]], *, changes: bool = False
    ) -> None:
        self._collection = collection
        self._keys = keys if callable(keys) else partial(_one, keys)
        self._operations = ("insert", "replace", "update") if changes else ("insert",)
        self._waiting: defaultdict[Key, set[asyncio.Event]] = defaultdict(set)

    def wake(self, key: Key) -> None:
        for event in self._waiting.get(key, ()):
            event.set()

    @contextmanager
    def waiting(self, keys: Iterable[Key]) -> Iterator[asyncio.Event]:
        event = asyncio.Event()
        held = list(keys)
        for key in held:
            self._waiting[key].add(event)
        try:
            yield event
        finally:
            for key in held:
                self._waiting[key].discard(event)
                if not self._waiting[key]:
                    del self._waiting[key]

    async def listen(self, database: Database, ports: Ports) -> None:
        """Wake by what other replicas commit. Runs until cancelled."""
        while True:
            try:
                changes = database.changes(self._collection, self._operations)
                async with aclosing(changes):
                    async for row in changes:
                        for key in self._woken_by(row):
                            self.wake(key)
            except (Unavailable, Conflict, Unstorable) as error:
                log.info("listens_again", collection=self._collection, why=str(error))
                await ports.clock.sleep(REOPEN)

    def _woken_by(self, row: Row | None) -> list[Key]:
        if row is None:  # what was written while nobody listened has woken nobody
            return list(self._waiting)
        return [(row.get("hospital", ""), key) for key in self._keys(row)]


def _one(field: str, row: Row) -> Iterable[str]:
    return (row.get(field, ""),)


async def woken(event: asyncio.Event) -> None:
    """Wait for a wake, or until it is time to look by oneself."""
    with suppress(TimeoutError):
        async with asyncio.timeout(LOOK):
            await event.wait()
