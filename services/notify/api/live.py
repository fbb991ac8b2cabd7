"""Which messages does an open inbox show, as they come?"""

from __future__ import annotations

from collections.abc import AsyncGenerator
from typing import Final

from libs.common.wakes import Wakes, woken
from services.notify.domain.inbox import InboxMessage
from services.notify.domain.people import Person
from services.notify.store import InboxReader

PAGE: Final = 100


def new_wakes() -> Wakes:
    """Those that wait for messages, by the hospital and the person."""
    return Wakes(InboxMessage.COLLECTION, "person_id")


async def messages_after(
    number: int, person: Person, *, inbox: InboxReader, wakes: Wakes
) -> AsyncGenerator[InboxMessage, None]:
    """The messages of ``person`` after ``number`` as they come, without an end."""
    keys = [(person.hospital, id) for id in (person.id, *person.aliases)]
    with wakes.waiting(keys) as event:
        while True:
            event.clear()
            found = await inbox.after(person, number, PAGE)
            for message in found:
                yield message
                number = message.number
            if len(found) < PAGE:
                await woken(event)
