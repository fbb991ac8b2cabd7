"""How are received messages, subscriptions and deliveries kept, and what can be asked of them?"""

from __future__ import annotations

import asyncio
from collections.abc import Collection, Sequence
from datetime import datetime
from typing import Any, Final

from libs.common.migrate import Life
from libs.common.mongo.collection import CollectionSpec, Index
from libs.common.mongo.database import Database
from services.interop.domain.delivery import Agenda, Delivery, DeliveryStatus
from services.interop.domain.document import StoredDocument
from services.interop.domain.exam import Exam
from services.interop.domain.kept import Kept
from services.interop.domain.partners import Retired
from services.interop.domain.patient import Patient
from services.interop.domain.receipt import Body, Control, Receipt, Standing
from services.interop.domain.stay import Stay
from services.interop.domain.subscription import LIVE, RETIRED, Subscription
from services.interop.ports import Key, Look
from services.interop.settings import Settings

RECEIPTS = CollectionSpec(
    Receipt,
    indexes=(
        Index(("standing", "received_at", "id")),
        Index(("received_at", "id")),
    ),
)
BODIES = CollectionSpec(Body, indexes=(Index(("cuts.sha256",)),))
DOCUMENTS = CollectionSpec(StoredDocument, indexes=(Index(("sha256",)),))
RESOURCES = CollectionSpec(Kept, indexes=(Index(("names",)),))
SUBSCRIPTIONS = CollectionSpec(
    Subscription, indexes=(Index(("status",)), Index(("client", "id")), Index(("id",)))
)
AGENDAS = CollectionSpec(Agenda, indexes=(Index(("due_at",), all_hospitals=True),))
DELIVERIES = CollectionSpec(
    Delivery,
    indexes=(
        Index(("subscription_id", "number"), unique=True),
        Index(("subscription_id", "status", "number")),
        Index(("status", "at"), all_hospitals=True),
    ),
)
COLLECTIONS: tuple[CollectionSpec[Any], ...] = (
    RECEIPTS,
    BODIES,
    CollectionSpec(Control),
    CollectionSpec(Patient),
    CollectionSpec(Stay),
    CollectionSpec(Exam),
    DOCUMENTS,
    RESOURCES,
    CollectionSpec(Retired),
    SUBSCRIPTIONS,
    AGENDAS,
    DELIVERIES,
)

#: Deliveries looked at together; each may have 64 KiB.
WINDOW: Final = 64
#: Lanes of one subscription that wait after a failure; with more, only they are tried.
WAITING: Final = 64
_UNDELIVERED: Final = (
    DeliveryStatus.PENDING.value,
    DeliveryStatus.RETRYING.value,
)


def lives(settings: Settings) -> Sequence[Life]:
    """A message's receipt, by which a repetition is known, goes first, so that whoever sees it
    finds its content; and the database deletes at leisure."""
    days = settings.message_retention_days
    return (
        Life(Receipt, "received_at", days),
        Life(Control, "received_at", days),
        Life(Body, "received_at", days and days + 1),
        Life(Delivery, "ended_at", settings.webhook_keep_days),
    )


#: Resources found by name for one request; many more than have one identifier in common.
MOST_BY_NAME = 10_001
#: The sort values of a message in a list.
Keyset = tuple[datetime, str]


def keyset(receipt: Receipt) -> tuple[Any, ...]:
    return (receipt.received_at, receipt.id)


class Store:
    """The questions that the API asks, and whoever removes what nothing names."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._receipts = database.collection(RECEIPTS)
        self._bodies = database.collection(BODIES)
        self._documents = database.collection(DOCUMENTS)
        self._resources = database.collection(RESOURCES)

    async def receipt(self, hospital: str, id: str) -> Receipt | None:
        return await self._receipts.get(hospital, id)

    async def receipts_by_id(self, hospital: str, ids: Collection[str]) -> list[Receipt]:
        return await self._receipts.load("id", [(hospital, id) for id in sorted(ids)])

    async def body(self, receipt: Receipt) -> Body:
        body = await self._bodies.get(receipt.hospital, receipt.id)
        assert body is not None  # written in the receipt's own transaction
        return body

    async def names(self, hospital: str, sha256: str) -> bool:
        """Whether a message or a document has a part with that SHA-256 kept elsewhere."""
        places = ((self._documents.raw, "sha256"), (self._bodies.raw, "cuts.sha256"))
        for raw, field in places:
            query = {"hospital": hospital, field: sha256}
            if await self._database.find_rows(raw, query, limit=1, fields=("id",)):
                return True
        return False

    async def document(self, hospital: str, id: str) -> StoredDocument | None:
        return await self._documents.get(hospital, id)

    async def resources(
        self, hospital: str, ids: Collection[str], names: Collection[str]
    ) -> list[Kept]:
        """Resources by their ids, and by what else they are found under: two queries at most."""
        queries = []
        if ids:
            queries.append(self._resources.load("id", [(hospital, id) for id in ids]))
        if names:
            found = self._resources.find(
                hospital, {"names": {"$in": sorted(names)}}, limit=MOST_BY_NAME
            )
            queries.append(found)
        return [kept for found in await asyncio.gather(*queries) for kept in found]

    async def receipts(
        self, hospital: str, standing: Standing | None, *, after: Keyset | None, limit: int
    ) -> list[Receipt]:
        """Messages, the newest first; all of them, or those of one standing."""
        where: dict[str, Any] = {} if standing is None else {"standing": standing}
        if after is not None:
            at, id = after
            where["received_at"] = {"$lte": at}
            where["$or"] = [{"received_at": {"$lt": at}}, {"id": {"$lt": id}}]
        sort = (("received_at", -1), ("id", -1))
        return await self._receipts.find(hospital, where, sort=sort, limit=limit)


class Subscriptions:
    """The questions that the API asks about subscriptions."""

    def __init__(self, database: Database) -> None:
        self._subscriptions = database.collection(SUBSCRIPTIONS)
        self._agendas = database.collection(AGENDAS)
        self._deliveries = database.collection(DELIVERIES)

    async def one(self, hospital: str, id: str) -> tuple[Subscription, Agenda] | None:
        subscription, agenda = await asyncio.gather(
            self._subscriptions.get(hospital, id), self._agendas.get(hospital, id)
        )
        if subscription is None or agenda is None or subscription.status not in LIVE:
            return None
        return subscription, agenda

    async def page(
        self, hospital: str, client: str | None, *, after: str | None, limit: int
    ) -> list[Subscription]:
        """Those that exist for one partner, or all."""
        where: dict[str, Any] = {"status": {"$in": list(LIVE)}}
        if client is not None:
            where |= {"client": client, "reason": {"$ne": RETIRED}}
        if after is not None:
            where["id"] = {"$gt": after}
        return await self._subscriptions.find(hospital, where, limit=limit)

    async def events(
        self,
        subscription: Subscription,
        *,
        since: int,
        until: int | None = None,
        status: DeliveryStatus | None = None,
        limit: int,
    ) -> list[Delivery]:
        """Deliveries with a number above ``since``, in order."""
        number: dict[str, int] = {"$gt": since} if until is None else {"$gt": since, "$lte": until}
        where: dict[str, Any] = {"subscription_id": subscription.id, "number": number}
        if status is not None:
            where["status"] = status
        return await self._deliveries.find(
            subscription.hospital, where, sort=(("number", 1),), limit=limit
        )

    async def count(self, subscription: Subscription, *statuses: DeliveryStatus) -> int:
        where = {"subscription_id": subscription.id, "status": {"$in": list(statuses)}}
        return await self._deliveries.count(subscription.hospital, where)

    async def oldest(self, subscription: Subscription) -> datetime | None:
        """Since when the first waits that is still tried."""
        where = {"subscription_id": subscription.id}
        found = [
            await self._deliveries.find(
                subscription.hospital,
                {**where, "status": status},
                sort=(("number", 1),),
                limit=1,
            )
            for status in _UNDELIVERED
        ]
        return min((d.at for rows in found for d in rows), default=None)


class DeliveryWork:
    """What the sending loop works on (``ports.WorkList``)."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._subscriptions = database.collection(SUBSCRIPTIONS)
        self._agendas = database.collection(AGENDAS)
        self._deliveries = database.collection(DELIVERIES)

    async def due(self, now: datetime, busy: Sequence[Key], limit: int) -> list[Key]:
        query = {
            "due_at": {"$lte": now},
            "_id": {"$nin": [f"{hospital}/{id}" for hospital, id in busy]},
        }
        rows = await self._database.find_rows(
            self._agendas.raw, query, sort=(("due_at", 1),), limit=limit, fields=("hospital", "id")
        )
        return [(row["hospital"], row["id"]) for row in rows]

    async def look(self, key: Key, now: datetime) -> Look | None:
        hospital, id = key
        of_it = {"hospital": hospital, "subscription_id": id}
        # The agenda before what is pending: what comes in between is then seen twice, not never.
        subscription, agenda, failed = await asyncio.gather(
            self._subscriptions.get(hospital, id),
            self._agendas.get(hospital, id),
            self._database.find_rows(
                self._deliveries.raw,
                {**of_it, "status": DeliveryStatus.RETRYING.value},
                sort=(("number", 1),),
                limit=WAITING,
                fields=("id", "lane", "next_attempt_at"),
            ),
        )
        if subscription is None or agenda is None:
            return None
        due = [row["id"] for row in failed if row["next_attempt_at"] <= now][:WINDOW]
        later = [row["next_attempt_at"] for row in failed if row["next_attempt_at"] > now]
        again, fresh = await asyncio.gather(
            self._deliveries.load("id", [(hospital, d) for d in due]),
            self._pending(hospital, id, [row["lane"] for row in failed]),
        )
        return Look(
            subscription,
            agenda,
            ready=sorted([*again, *fresh], key=lambda d: d.number),
            more=len(fresh) == WINDOW or len(due) == WINDOW,
            next_at=min(later, default=None),
        )

    async def _pending(self, hospital: str, id: str, lanes: Sequence[str]) -> list[Delivery]:
        if len(lanes) >= WAITING:
            return []
        where: dict[str, Any] = {"subscription_id": id, "status": DeliveryStatus.PENDING.value}
        if lanes:
            where["lane"] = {"$nin": sorted(set(lanes))}
        return await self._deliveries.find(hospital, where, sort=(("number", 1),), limit=WINDOW)

    async def undelivered(self, key: Key, limit: int) -> list[tuple[str, datetime]]:
        hospital, id = key
        found = [
            await self._database.find_rows(
                self._deliveries.raw,
                {"hospital": hospital, "subscription_id": id, "status": status},
                sort=(("number", 1),),
                limit=limit,
                fields=("id", "number", "at"),
            )
            for status in (*_UNDELIVERED, DeliveryStatus.PARKED.value)
        ]
        rows = sorted((row for rows in found for row in rows), key=lambda row: row["number"])
        return [(row["id"], row["at"]) for row in rows[:limit]]

    async def oldest(self) -> datetime | None:
        found = [
            await self._database.find_rows(
                self._deliveries.raw,
                {"status": status},
                sort=(("at", 1),),
                limit=1,
                fields=("at",),
            )
            for status in _UNDELIVERED
        ]
        return min((row["at"] for rows in found for row in rows), default=None)

    async def parked(self) -> int:
        return await self._database.count_rows(
            self._deliveries.raw, {"status": DeliveryStatus.PARKED.value}
        )
