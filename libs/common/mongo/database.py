"""How do we talk to one service's database?"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from typing import Any, Final, Self, TypeVar

from motor.motor_asyncio import AsyncIOMotorClient
from pymongo import ReadPreference, WriteConcern
from pymongo.errors import PyMongoError
from pymongo.read_concern import ReadConcern

from libs.common import envelope
from libs.common.cipher import Cipher
from libs.common.decision import Document
from libs.common.mongo.bucket import Bucket
from libs.common.mongo.calls import ONE_ROUND_TRIP, SOCKET_SECONDS, awaited, call, translated
from libs.common.mongo.collection import Collection, CollectionSpec
from libs.common.mongo.documents import CODEC, Row
from libs.common.mongo.errors import Unavailable
from libs.common.mongo.listener import Listener, Spans
from libs.common.mongo.transaction import Transaction, transaction
from libs.common.settings import Settings

#: How long a call waits for a primary, such as a new one after the old has gone.
SELECTION_SECONDS: Final = 3

D = TypeVar("D", bound=Document)


class Sink:
    """Appends rows that nobody changes (the audit trail)."""

    def __init__(self, raw: Any, there: Callable[[], Awaitable[None]]) -> None:
        self._raw = raw
        self._there = there

    async def insert_many(self, rows: Sequence[Mapping[str, Any]]) -> None:
        await self._there()
        await call(self._raw.insert_many([dict(r) for r in rows], ordered=False))


class Database:
    """One service's database: collections by name, transactions, change streams."""

    def __init__(
        self,
        url: str,
        name: str,
        *,
        spans: Spans | None = None,
        driver: type[Any] | None = None,
        cipher: Cipher | None = None,
        credentials: Mapping[str, Any] | None = None,
    ) -> None:
        self.cipher = cipher
        self._client: Any = (driver or AsyncIOMotorClient)(
            url,
            **(credentials or {}),
            serverSelectionTimeoutMS=SELECTION_SECONDS * 1000,
            connectTimeoutMS=3_000,
            socketTimeoutMS=SOCKET_SECONDS * 1000,
            retryWrites=True,
            event_listeners=[Listener(spans)],
        )
        self._db: Any = self._client.get_database(
            name,
            codec_options=CODEC,
            read_preference=ReadPreference.PRIMARY,
            read_concern=ReadConcern("majority"),  # nothing that a failover could roll back
            write_concern=WriteConcern("majority"),
        )

        self._met = False

    @classmethod
    def of(cls, settings: Settings, service: str, *, spans: Spans | None = None) -> Self:
        """The one that the settings name, or else the service's own name."""
        return cls(
            settings.mongo_url,
            settings.mongo_database or f"lianxin_{service}",
            spans=spans,
            cipher=envelope.of(settings),
            credentials=settings.mongo_credentials,
        )

    async def there(self) -> None:
        """Wait until a primary is known, as the driver would, but outside of it.

        There each call would keep one of a few threads waiting, so that the requests that
        come while the database is away would stand in line, each behind all before it.
        """
        for _ in range(SELECTION_SECONDS * 20):
            if await awaited(self._client.primary) is not None:
                self._met = True
            elif self._met:
                await asyncio.sleep(0.05)
                continue
            return  # or the driver has not looked for one yet
        raise Unavailable("no primary")

    @property
    def name(self) -> str:
        return str(self._db.name)

    def raw(self, name: str) -> Any:
        return self._db[name]

    def collection(self, spec: CollectionSpec[D]) -> Collection[D]:
        return Collection(spec, self._db[spec.model.COLLECTION], self.cipher, self.there)

    def bucket(self, name: str) -> Bucket:
        return Bucket(self._db, name, self.there)

    def sink(self, name: str) -> Sink:
        return Sink(self._db[name], self.there)

    async def ping(self) -> None:
        await call(self._db.command("ping"))

    async def find_rows(
        self,
        raw: Any,
        query: Row,
        *,
        sort: Sequence[tuple[str, int]] = (),
        limit: int = 0,
        fields: Sequence[str] = (),
    ) -> list[Row]:
        """Rows as they are: of the runtime's own collections, or a work list of all hospitals.

        With ``fields`` no more than these are read, and ``_id``.
        """
        await self.there()
        cursor = raw.find(query, list(fields) or None).batch_size(limit or ONE_ROUND_TRIP)
        if sort:
            cursor = cursor.sort(list(sort))
        rows: list[Row] = await call(cursor.limit(limit).to_list(limit or None))
        return rows

    async def size(self, raw: Any) -> int:
        """How many rows a collection holds, by its metadata: no scan."""
        await self.there()
        return int(await call(raw.estimated_document_count()))

    async def count_rows(self, raw: Any, query: Row, *, limit: int | None = None) -> int:
        """Of all hospitals, counting no further than ``limit``; ``query`` needs an index."""
        await self.there()
        most = {} if limit is None else {"limit": limit}
        return int(await call(raw.count_documents(query, **most)))

    async def update_row(self, raw: Any, query: Row, change: Row, *, upsert: bool = False) -> bool:
        """One guarded update outside a transaction; whether it matched (or inserted)."""
        await self.there()
        done = await call(raw.update_one(query, change, upsert=upsert))
        return bool(done.matched_count or done.upserted_id is not None)

    async def delete_rows(self, raw: Any, ids: Sequence[str]) -> None:
        await self.there()
        await call(raw.delete_many({"_id": {"$in": list(ids)}}))

    async def ask(self, command: str, *, admin: bool = True, **options: Any) -> Row:
        """What the server answers to a command about itself, or with ``admin=False`` about this
        database, such as ``hello``."""
        whose = self._client.admin if admin else self._db
        answer: Row = await call(whose.command(command, **options))
        return answer

    async def is_embedded(self) -> bool:
        return bool((await self.ask("hello")).get("setName") == "secantus")

    async def collection_names(self) -> set[str]:
        return set(await call(self._db.list_collection_names()))

    async def ensure(self, name: str) -> None:
        if name not in await self.collection_names():
            await call(self._db.create_collection(name))

    async def ensure_index(
        self, name: str, keys: Sequence[tuple[str, int]], **options: Any
    ) -> None:
        """Make an index, or make it anew if only the time to live in it is another."""
        life = "expireAfterSeconds"
        if life in options:
            await self.drop_index(name, keys, lambda index: index.get(life) != options[life])
        await call(self._db[name].create_index(list(keys), **options))

    async def drop_index(
        self,
        name: str,
        keys: Sequence[tuple[str, int]],
        when: Callable[[Row], bool] = lambda _: True,
    ) -> None:
        """Drop an index, if it is there and ``when`` says so of it."""
        for index in await self.indexes(name):
            if list(index["key"].items()) == list(keys) and when(index):
                await call(self._db[name].drop_index(index["name"]))

    async def indexes(self, name: str) -> list[Row]:
        """What the server says of each: ``key`` and its options."""
        cursor = await awaited(self._db[name].list_indexes())
        found: list[Row] = await call(cursor.to_list(None))
        return found

    async def drop(self) -> None:
        await call(self._client.drop_database(self._db.name))

    def transaction(self) -> AbstractAsyncContextManager[Transaction]:
        """Commits at the end of the block, aborts when it raises."""
        return transaction(self._client, self.there)

    async def changes(
        self, name: str, operations: Sequence[str]
    ) -> AsyncGenerator[Row | None, None]:
        """The rows that are written from now on, as they are; it ends by an error only.

        First comes ``None``: from here on nothing is missed, so look at what came before.
        """
        pipeline = [{"$match": {"operationType": {"$in": list(operations)}}}]
        try:
            watch = self._db[name].watch(pipeline, full_document="updateLookup")
            async with await awaited(watch) as stream:
                change = await stream.try_next()  # Motor opens it with the first of these
                yield None
                while stream.alive:
                    if change is not None:
                        yield change.get("fullDocument") or {}
                    change = await stream.try_next()
        except PyMongoError as error:
            raise translated(error) from error
        raise Unavailable("the change stream has ended")

    async def close(self) -> None:
        await awaited(self._client.close())
