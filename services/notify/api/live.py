"""How does an open inbox learn of a new message at once?

One listener for each process, not for each client: it wakes the streams of the persons
concerned, by what this process has committed itself and, through the database's change
stream, by what others have. A wake says only "look"; what there is the stream reads by
number, so nothing is missed and nothing comes twice.
"""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import AsyncGenerator, Iterable, Iterator
from contextlib import contextmanager, suppress
from typing import Any, Final

import structlog

from libs.common.clock import Ports
from libs.common.mongo import Conflict, Database, Unavailable, Unstorable
from services.notify.domain.inbox import InboxMessage
from services.notify.domain.people import Person
from services.notify.store import InboxReader

log = structlog.get_logger()

#: A stream looks by itself after so many seconds, should a wake be lost.
LOOK: Final = 10.0
#: Seconds before the change stream is opened again.
REOPEN: Final = 2.0
PAGE: Final = 100


class Wakes:
    """Who waits for messages of whom, in this process."""

    def __init__(self) -> None:
        self._waiting: defaultdict[tuple[str, str], set[asyncio.Event]] = defaultdict(set)

    def wake(self, hospital: str, person_id: str) -> None:
        for event in self._waiting.get((hospital, person_id), ()):
            event.set()

    @contextmanager
    def waiting(self, hospital: str, person_ids: Iterable[str]) -> Iterator[asyncio.Event]:
        event = asyncio.Event()
        keys = [(hospital, id) for id in person_ids]
        for key in keys:
            self._waiting[key].add(event)
        try:
            yield event
        finally:
            for key in keys:
                self._waiting[key].discard(event)
                if not self._waiting[key]:
                    del self._waiting[key]

    async def listen(self, database: Database, ports: Ports) -> None:
        """Wake by what other replicas commit. Runs until cancelled."""
        while True:
            try:
                async with database.changes(InboxMessage.COLLECTION, ("insert",)) as stream:
                    while True:
                        change: dict[str, Any] = await stream.next()
                        row = change.get("fullDocument") or {}
                        self.wake(row.get("hospital", ""), row.get("person_id", ""))
            except (Unavailable, Conflict, Unstorable, StopAsyncIteration) as error:
                log.info("inbox_listens_again", why=str(error))
                await ports.clock.sleep(REOPEN)


async def messages_after(
    number: int, person: Person, *, inbox: InboxReader, wakes: Wakes
) -> AsyncGenerator[InboxMessage, None]:
    """The messages of ``person`` after ``number`` as they come, without an end."""
    with wakes.waiting(person.hospital, (person.id, *person.aliases)) as woken:
        while True:
            woken.clear()
            found = await inbox.after(person, number, PAGE)
            for message in found:
                yield message
                number = message.number
            if len(found) < PAGE:
                with suppress(TimeoutError):
                    async with asyncio.timeout(LOOK):
                        await woken.wait()
