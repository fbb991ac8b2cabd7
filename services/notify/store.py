"""How are notify's documents stored, and which lists are read from them?"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from datetime import datetime, timedelta

from libs.common.events import Channel
from libs.common.mongo.collection import CollectionSpec, Index
from libs.common.mongo.database import Database
from libs.common.mongo.documents import Row
from services.notify.domain.channels import CALLED
from services.notify.domain.delivery import Delivery
from services.notify.domain.dying import Discharge
from services.notify.domain.inbox import InboxMessage
from services.notify.domain.notification import Notification, Told
from services.notify.domain.people import Link, Person
from services.notify.ports import Due, Outgoing

PEOPLE = CollectionSpec(Person)
DISCHARGES = CollectionSpec(Discharge)
LINKS = CollectionSpec(Link, (Index(("person_id",)),))
NOTIFICATIONS = CollectionSpec(Notification, (Index(("waiting_for",)),))
TOLD = CollectionSpec(Told)
INBOX = CollectionSpec(
    InboxMessage,
    (Index(("person_id", "at", "id")), Index(("person_id", "number"))),
)
DELIVERIES = CollectionSpec(
    Delivery,
    # The sending loop's work list: one loop for each channel serves all hospitals.
    (Index(("channel", "next_attempt_at"), all_hospitals=True),),
)
COLLECTIONS: tuple[CollectionSpec, ...] = (  # type: ignore[type-arg]
    PEOPLE,
    DISCHARGES,
    LINKS,
    NOTIFICATIONS,
    TOLD,
    INBOX,
    DELIVERIES,
)


class InboxReader:
    """The inbox of one person, who may have several ids."""

    def __init__(self, database: Database) -> None:
        self._people = database.collection(PEOPLE)
        self._messages = database.collection(INBOX)

    async def person(self, hospital: str, id: str) -> Person:
        """Who ``id`` is now; somebody of whom nothing is known has no fields."""
        person = await self._people.get(hospital, id)
        if person is not None and person.survivor_id is not None:
            person = await self._people.get(hospital, person.survivor_id)
        return person or Person(id=id, hospital=hospital)

    async def page(
        self,
        person: Person,
        *,
        before: tuple[datetime, str] | None,
        limit: int,
    ) -> list[InboxMessage]:
        """The latest messages first, those that come after ``before`` (at, id) in that order."""
        where: Row = {"person_id": _one_of(person)}
        if before is not None:
            at, id = before
            where["at"] = {"$lte": at}
            where["$or"] = [{"at": {"$lt": at}}, {"id": {"$lt": id}}]
        return await self._messages.find(
            person.hospital, where, sort=(("at", -1), ("id", -1)), limit=limit
        )

    async def after(self, person: Person, number: int, limit: int) -> list[InboxMessage]:
        """The messages after ``number``, the oldest first."""
        where: Row = {"person_id": _one_of(person), "number": {"$gt": number}}
        return await self._messages.find(
            person.hospital, where, sort=(("number", 1), ("id", 1)), limit=limit
        )


def _one_of(person: Person) -> Row | str:
    return {"$in": [person.id, *person.aliases]} if person.aliases else person.id


class NotificationReader:
    """What became of one notification."""

    def __init__(self, database: Database) -> None:
        self._notifications = database.collection(NOTIFICATIONS)
        self._deliveries = database.collection(DELIVERIES)
        self._messages = database.collection(INBOX)

    async def read(
        self, hospital: str, id: str
    ) -> tuple[Notification, InboxMessage | None, list[Delivery]] | None:
        notification = await self._notifications.get(hospital, id)
        if notification is None:
            return None
        message, deliveries = await asyncio.gather(
            self._messages.get(hospital, id),
            self._deliveries.load("id", [(hospital, Delivery.id_of(id, c)) for c in CALLED]),
        )
        return notification, message, sorted(deliveries, key=lambda d: d.channel)


class DeliveryWork:
    """The deliveries that a sending loop works on (``ports.WorkList``)."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._deliveries = database.collection(DELIVERIES)
        self._messages = database.collection(INBOX)

    async def due(self, channel: Channel, now: datetime, grace: timedelta, limit: int) -> list[Due]:
        """What has been due for ``grace``, the oldest first, of all hospitals."""
        rows = await self._database.find_rows(
            self._deliveries.raw,
            {"channel": channel.value, "next_attempt_at": {"$lte": now - grace}},
            sort=(("next_attempt_at", 1),),
            limit=limit,
        )
        return [
            Due(
                row["hospital"],
                row["notification_id"],
                channel,
                row["correlation_id"],
                row["traceparent"],
            )
            for row in rows
        ]

    async def outgoing(self, dues: Sequence[Due]) -> dict[tuple[str, str, Channel], Outgoing]:
        """What to send for each of ``dues``, by its key."""
        pairs = [(d.hospital, d.notification_id) for d in dues]
        ids = [(d.hospital, Delivery.id_of(d.notification_id, d.channel)) for d in dues]
        deliveries, messages = await asyncio.gather(
            self._deliveries.load("id", ids), self._messages.load("id", pairs)
        )
        message_of = {(m.hospital, m.id): m for m in messages}
        found = {}
        for delivery in deliveries:
            message = message_of.get((delivery.hospital, delivery.notification_id))
            if message is not None:
                found[(message.hospital, message.id, delivery.channel)] = outgoing(
                    delivery, message
                )
        return found


def outgoing(delivery: Delivery, message: InboxMessage) -> Outgoing:
    """What to send for ``delivery``: the same at every attempt."""
    text = message.texts[delivery.language]
    return Outgoing(
        key=delivery.key,
        address=delivery.address,
        hospital=delivery.hospital,
        notification_id=delivery.notification_id,
        recipient_id=message.recipient_id,
        patient_id=message.patient_id,
        template=message.template,
        urgency=message.urgency,
        language=delivery.language,
        title=text.title,
        body=text.body,
        link=message.link,
        event_time=message.event_time,
        created_at=message.at,
    )
