"""How are received messages kept, and what can be asked of them?"""

from __future__ import annotations

import asyncio
from collections.abc import Collection, Sequence
from datetime import datetime
from typing import Any

from libs.common.migrate import Life
from libs.common.mongo import CollectionSpec, Database, Index
from services.interop.domain.document import StoredDocument
from services.interop.domain.kept import Kept
from services.interop.domain.patient import Patient
from services.interop.domain.receipt import Body, Control, Receipt, Standing
from services.interop.domain.stay import Stay
from services.interop.settings import Settings

RECEIPTS = CollectionSpec(
    Receipt,
    indexes=(
        Index(("standing", "received_at", "id")),
        Index(("received_at", "id")),
    ),
)
BODIES = CollectionSpec(Body)
DOCUMENTS = CollectionSpec(StoredDocument)
RESOURCES = CollectionSpec(Kept, indexes=(Index(("names",)),))
COLLECTIONS: tuple[CollectionSpec[Any], ...] = (
    RECEIPTS,
    BODIES,
    CollectionSpec(Control),
    CollectionSpec(Patient),
    CollectionSpec(Stay),
    DOCUMENTS,
    RESOURCES,
)


def lives(settings: Settings) -> Sequence[Life]:
    """A message's receipt, by which a repetition is known, goes first, so that whoever sees it
    finds its content; and the database deletes at leisure."""
    days = settings.message_retention_days
    return (
        Life(Receipt, "received_at", days),
        Life(Control, "received_at", days),
        Life(Body, "received_at", days and days + 1),
    )


#: Resources found by name for one request; many more than have one identifier in common.
MOST_BY_NAME = 10_001
#: The sort values of a message in a list.
Keyset = tuple[datetime, str]


def keyset(receipt: Receipt) -> tuple[Any, ...]:
    return (receipt.received_at, receipt.id)


class Store:
    """The questions that the API asks."""

    def __init__(self, database: Database) -> None:
        self._receipts = database.collection(RECEIPTS)
        self._bodies = database.collection(BODIES)
        self._documents = database.collection(DOCUMENTS)
        self._resources = database.collection(RESOURCES)

    async def receipt(self, hospital: str, id: str) -> Receipt | None:
        return await self._receipts.get(hospital, id)

    async def body(self, receipt: Receipt) -> Body:
        body = await self._bodies.get(receipt.hospital, receipt.id)
        assert body is not None  # written in the receipt's own transaction
        return body

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
