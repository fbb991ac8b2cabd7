"""How do we talk to the database?

The only module that imports the driver (Motor 3.7, see docs/adr/0004). It offers typed
collections, one kind of transaction, and three kinds of failure that the callers tell
apart: :class:`Conflict` (load again), :class:`Unavailable` (wait and try again) and
:class:`Unstorable` (this will never work).

Every ``_id`` is ``<hospital>/<id>`` and every declared index begins with the hospital,
so no query can cross tenants by forgetting one.
"""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import (
    AsyncGenerator,
    AsyncIterator,
    Awaitable,
    Callable,
    Iterable,
    Mapping,
    Sequence,
)
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from typing import Any, Final, Generic, Protocol, Self, TypeVar

import bson
from bson.codec_options import CodecOptions, TypeRegistry
from bson.errors import BSONError
from gridfs import AsyncGridFSBucket, NoFile
from motor.motor_asyncio import AsyncIOMotorClient, AsyncIOMotorGridFSBucket
from pymongo import ReadPreference, ReplaceOne, WriteConcern
from pymongo.errors import (
    ConnectionFailure,
    DocumentTooLarge,
    DuplicateKeyError,
    ExecutionTimeout,
    OperationFailure,
    PyMongoError,
)
from pymongo.monitoring import CommandListener
from pymongo.read_concern import ReadConcern

from libs.common import envelope, metrics
from libs.common.cipher import CantOpen, Cipher, KeyMissing, Place, asked_for, sealed_fields
from libs.common.decision import Document
from libs.common.settings import Settings

#: How long a call waits for a primary, such as a new one after the old has gone.
SELECTION_SECONDS: Final = 3
#: An answer that takes longer is given up, and its connection with it.
SOCKET_SECONDS: Final = 10
#: After this a transaction begins no further step; the server would end it after 60
#: (MongoDB's transactionLifetimeLimitSeconds).
TRANSACTION_SECONDS: Final = 10
#: The server sends 101 documents first and the others only when asked again; the batches
#: that we read are bounded by what we ask for, so let them come at once (16 MB at most).
ONE_ROUND_TRIP: Final = 10_000

D = TypeVar("D", bound=Document)
Row = dict[str, Any]


class Conflict(Exception):
    """Somebody else wrote what we had read. Load again and decide again."""


class Duplicate(Conflict):
    """A unique key is taken. Mostly a race that a new load settles; if not, a rule's bug."""


class Unavailable(Exception):
    """The database can't be reached or can't answer now. Wait and try again."""


class Unstorable(Exception):
    """The server or the driver refuses this write for what it is."""


#: Server codes that blame what was sent: BadValue, FailedToParse, TypeMismatch, InvalidBSON,
#: DollarPrefixedFieldName, InvalidIdField, DocumentValidationFailure, BSONObjectTooLarge.
#: Any other code may pass: full disks, elections, authentication not set up yet, …
#: Source: mongodb/mongo src/mongo/base/error_codes.yml
_BLAMES_THE_WRITE = frozenset({2, 9, 14, 22, 52, 53, 121, 10334, 17280, 17419, 17420})
_DUPLICATE_KEY = 11000
_WRITE_CONFLICT = 112


def _meaning(error: PyMongoError) -> Exception:
    name = type(error).__name__
    if error.has_error_label("UnknownTransactionCommitResult"):
        return Unavailable(f"{name}: it is unknown whether the commit took place")
    if isinstance(error, ConnectionFailure | ExecutionTimeout):
        return Unavailable(name)
    if isinstance(error, DuplicateKeyError):
        return Duplicate("duplicate key")
    if isinstance(error, DocumentTooLarge):
        return Unstorable(name)
    if isinstance(error, OperationFailure):
        found = (error.details or {}).get("writeErrors", ())
        codes = {e.get("code") for e in found} or {error.code}
        if _DUPLICATE_KEY in codes:
            return Duplicate("duplicate key")
        if error.has_error_label("TransientTransactionError") or _WRITE_CONFLICT in codes:
            return Conflict(f"server codes {codes}")
        if codes <= _BLAMES_THE_WRITE:
            return Unstorable(f"server codes {codes}")
        return Unavailable(f"server codes {codes}")
    return Unavailable(name)


def translated(error: Exception) -> Exception:
    """A driver's error as one of ours; any other error as it is."""
    if isinstance(error, PyMongoError):
        return _meaning(error)
    if isinstance(error, BSONError | OverflowError | UnicodeEncodeError):
        return Unstorable(type(error).__name__)  # what can't become BSON, such as 2**64
    return error


def _fallback(value: Any) -> Any:
    if isinstance(value, date):
        return value.isoformat()
    if isinstance(value, set | frozenset):
        return sorted(value)
    return value


_CODEC: CodecOptions[Row] = CodecOptions(
    tz_aware=True, tzinfo=UTC, type_registry=TypeRegistry(fallback_encoder=_fallback)
)


@dataclass(frozen=True, slots=True)
class Index:
    """An index on ``fields`` after the hospital. ``partial`` is a filter expression.

    ``all_hospitals`` leaves the hospital out, for a work list that a service's own loop
    drains for all of them together, as the runtime does with timers; never for people.
    """

    fields: tuple[str, ...]
    unique: bool = False
    partial: Mapping[str, Any] | None = None
    all_hospitals: bool = False


@dataclass(frozen=True, slots=True)
class CollectionSpec(Generic[D]):
    """How documents of ``model`` are stored.

    ``upcast(row)`` turns a row of schema N-1 into N; rows of N never pass through it.
    """

    model: type[D]
    indexes: tuple[Index, ...] = ()
    upcast: Callable[[Row], Row] | None = None


def sealed(value: Any, place: Place, cipher: Cipher | None) -> Any:
    """``value`` as it is stored: as bytes that only ``cipher`` can open, if there is one."""
    if cipher is None or value is None:
        return value
    return cipher.seal(place, bson.encode({"v": value}, codec_options=_CODEC))


def opened(value: Any, place: Place, cipher: Cipher | None) -> Any:
    """``value`` as it was. Raises :class:`Unavailable` while its key is missing."""
    if cipher is None or value is None:
        return value
    if not isinstance(value, bytes):
        if cipher.takes_plain:
            return value
        raise CantOpen("it is not sealed")
    return bson.decode(unsealed(value, place, cipher), codec_options=_CODEC)["v"]


def unsealed(value: bytes, place: Place, cipher: Cipher) -> bytes:
    """The bytes that were sealed."""
    try:
        return cipher.open(place, value)
    except KeyMissing as error:  # somebody has to put it there; until then nothing is lost
        raise Unavailable(str(error)) from error


def row_of(doc: Document, cipher: Cipher | None = None) -> Row:
    row: Row = type(doc).__pydantic_serializer__.to_python(doc)  # model_dump at half its cost
    row["_id"] = f"{doc.hospital}/{doc.id}"
    if doc.unknown is not None:
        row |= doc.unknown
    if cipher is not None:
        for name in sealed_fields(type(doc)):
            row[name] = sealed(row[name], Place(doc.COLLECTION, row["_id"], name), cipher)
    return row


class Collection(Generic[D]):
    """Typed access to one collection of aggregates."""

    def __init__(
        self,
        spec: CollectionSpec[D],
        raw: Any,
        cipher: Cipher | None,
        there: Callable[[], Awaitable[None]],
    ) -> None:
        self.spec = spec
        self.raw = raw
        self.cipher = cipher
        self._there = there
        model: type[Document] = spec.model
        self._sealed = sealed_fields(model)
        self._known = model.model_fields.keys() | {"_id"}

    def _refuse_sealed(self, *names: str) -> None:
        """Nothing is found by what is sealed: the same value looks different each time."""
        for name in self._sealed.intersection(names):
            raise ValueError(f"{self.spec.model.COLLECTION}.{name} is sealed, no query finds it")

    def opened(self, row: Row) -> Row:
        """A row of it as it was before it was sealed."""
        if self.cipher is None:
            return row
        name, id = self.spec.model.COLLECTION, row["_id"]
        return row | {
            field: opened(row[field], Place(name, id, field), self.cipher)
            for field in sealed_fields(self.spec.model) & row.keys()
        }

    def document(self, row: Row) -> D:
        row = self.opened(row)
        if self.spec.upcast is not None and row["schema_number"] < self.spec.model.SCHEMA:
            row = {**self.spec.upcast(row), "schema_number": self.spec.model.SCHEMA}
        if not row.keys() <= self._known:
            row["unknown"] = {name: row[name] for name in row.keys() - self._known}
        return self.spec.model.model_validate(row)

    async def load(self, field: str, wanted: Iterable[tuple[str, str]]) -> list[D]:
        """All documents whose ``field`` is one of the (hospital, value) pairs; one query.

        For whoever will save them: raises :class:`Unavailable` for one that a newer release has
        stored in a form of its own, until a replica of that release takes the work over.
        """
        self._refuse_sealed(field.partition(".")[0])
        pairs = set(wanted)
        if field == "id":
            query: Row = {"_id": {"$in": [f"{h}/{v}" for h, v in pairs]}}
        else:
            hospitals = sorted({h for h, _ in pairs})
            # Of one hospital as an equality: two lists have the embedded server read everything.
            whose = hospitals[0] if len(hospitals) == 1 else {"$in": hospitals}
            query = {"hospital": whose, field: {"$in": sorted({v for _, v in pairs})}}
        await self._there()
        cursor = self.raw.find(query).batch_size(ONE_ROUND_TRIP)
        rows = await _call(cursor.to_list(None))
        if field != "id":
            # hospitals x values may match more than the pairs that were asked for
            rows = [r for r in rows if (r["hospital"], r[field]) in pairs]
        if any(r["schema_number"] > self.spec.model.SCHEMA for r in rows):
            raise Unavailable(f"{self.spec.model.COLLECTION}: stored by a newer release")
        return [self.document(r) for r in rows]

    async def get(self, hospital: str, id: str) -> D | None:
        await self._there()
        row = await _call(self.raw.find_one({"_id": f"{hospital}/{id}"}))
        return None if row is None else self.document(row)

    async def find(
        self,
        hospital: str,
        where: Row | None = None,
        *,
        sort: Sequence[tuple[str, int]] = (("id", 1),),
        limit: int = 50,
    ) -> list[D]:
        """Documents of one hospital; ``where`` and ``sort`` need an index of the spec."""
        query = {"hospital": hospital, **(where or {})}
        self._refuse_sealed(*asked_for(query), *(name for name, _ in sort))
        await self._there()
        cursor = self.raw.find(query).sort(list(sort)).limit(limit).batch_size(limit)
        return [self.document(r) for r in await _call(cursor.to_list(limit))]

    async def find_fields(
        self,
        hospital: str,
        where: Row,
        fields: Sequence[str],
        *,
        sort: Sequence[tuple[str, int]],
        limit: int,
    ) -> list[Row]:
        """The same, but only ``fields`` of each: a long list of large documents stays light.

        Rows, not documents, and of a document's older form as they are.
        """
        query = {"hospital": hospital, **where}
        self._refuse_sealed(*asked_for(query), *(name for name, _ in sort))
        await self._there()
        cursor = self.raw.find(query, ["hospital", *fields]).sort(list(sort)).limit(limit)
        rows = await _call(cursor.batch_size(limit).to_list(limit))
        return [self.opened(row) for row in rows]

    async def count(self, hospital: str, where: Row | None = None) -> int:
        query = {"hospital": hospital, **(where or {})}
        self._refuse_sealed(*asked_for(query))
        await self._there()
        return int(await _call(self.raw.count_documents(query)))


async def _call(awaitable: Any) -> Any:
    try:
        return await awaitable
    except Exception as error:
        meaning = translated(error)
        if meaning is error:
            raise
        raise meaning from error


async def _now(value: Any) -> Any:
    """``value``, awaited where the driver wants it: Motor and PyMongo's own differ here."""
    if inspect.isawaitable(value) and not hasattr(value, "__aenter__"):
        return await value
    return value


async def _to_its_end(call: Awaitable[Any]) -> Any:
    """``call`` within a session, which is over when this is.

    Cancelled, it would go on in the driver's thread with the session that its caller ends.
    """
    running = asyncio.ensure_future(call)
    try:
        return await asyncio.shield(running)
    except asyncio.CancelledError:
        await asyncio.wait([running], timeout=SOCKET_SECONDS)
        if running.done() and not running.cancelled():
            running.exception()  # looked at: nobody else will
        raise


class Transaction:
    """Writes that happen together or not at all. After any error it is aborted."""

    def __init__(self, session: Any) -> None:
        self._session = session
        self._until = asyncio.get_running_loop().time() + TRANSACTION_SECONDS

    def in_time(self) -> None:
        """Looked at before every step: the locks of a long one keep others waiting."""
        if asyncio.get_running_loop().time() > self._until:
            raise Unavailable(f"a transaction took over {TRANSACTION_SECONDS} s")

    async def insert(self, raw: Any, rows: Sequence[Row]) -> None:
        if rows:
            self.in_time()
            call = raw.insert_many(rows, ordered=False, session=self._session)
            await _call(_to_its_end(call))

    async def replace(self, raw: Any, pairs: Sequence[tuple[Row, Row]], *, upsert: bool) -> None:
        """Replace by (filter, row). Every filter must match, or be inserted if ``upsert``."""
        if not pairs:
            return
        self.in_time()
        ops = [ReplaceOne(f, r, upsert=upsert) for f, r in pairs]
        call = raw.bulk_write(ops, ordered=False, session=self._session)
        done = await _call(_to_its_end(call))
        if done.matched_count + done.upserted_count != len(ops):
            raise Conflict("version")

    async def delete(self, raw: Any, ids: Sequence[str]) -> int:
        self.in_time()
        call = raw.delete_many({"_id": {"$in": list(ids)}}, session=self._session)
        done = await _call(_to_its_end(call))
        return int(done.deleted_count)


class Spans(Protocol):
    """Who is told of each command that is sent (``libs.common.telemetry.MongoSpans``)."""

    def command_started(self, name: str, collection: str | None, request_id: int) -> None: ...
    def command_succeeded(self, request_id: int) -> None: ...
    def command_failed(self, request_id: int, error_type: str) -> None: ...


class _Listener(CommandListener):
    def __init__(self, spans: Spans | None) -> None:
        self._spans = spans

    def started(self, event: Any) -> None:
        metrics.MONGO_COMMANDS.labels(command=event.command_name).inc()
        if self._spans is not None:
            named = event.command.get(event.command_name)
            collection = named if isinstance(named, str) else None
            self._spans.command_started(event.command_name, collection, event.request_id)

    def succeeded(self, event: Any) -> None:
        self._ended(event, "succeeded")
        if self._spans is not None:
            self._spans.command_succeeded(event.request_id)

    def failed(self, event: Any) -> None:
        self._ended(event, "failed")
        if self._spans is not None:
            self._spans.command_failed(event.request_id, "command_failed")

    @staticmethod
    def _ended(event: Any, outcome: str) -> None:
        metrics.MONGO_SECONDS.labels(command=event.command_name, outcome=outcome).observe(
            event.duration_micros / 1e6
        )


class Sink:
    """Appends rows that nobody changes (the audit trail)."""

    def __init__(self, raw: Any, there: Callable[[], Awaitable[None]]) -> None:
        self._raw = raw
        self._there = there

    async def insert_many(self, rows: Sequence[Mapping[str, Any]]) -> None:
        await self._there()
        await _call(self._raw.insert_many([dict(r) for r in rows], ordered=False))


#: A file that was wanted less long ago is not marked again.
_WANTED: Final = timedelta(days=1)


def _as_found(file: Row) -> Row:
    return {"_id": file["_id"], "uploadDate": file["uploadDate"]}


class Bucket:
    """Files by name, in parts (GridFS). A name given twice is two files; the newest is read.

    Each file has an id of its own, so that a write that was cut off, or two at a time under
    one name, never spoil another. ``migrate`` makes the indexes. When a file was last wanted
    stands in its ``uploadDate``: what nobody wants for long may be removed.
    """

    def __init__(
        self, raw: Any, files: Any, chunks: Any, there: Callable[[], Awaitable[None]]
    ) -> None:
        self._raw, self._files, self._chunks, self._there = raw, files, chunks, there

    async def has(self, name: str, now: datetime) -> bool:
        """Whether there is such a file. It then counts as wanted within the last day."""
        await self._there()
        newest = {"sort": [("uploadDate", -1)], "projection": {"uploadDate": 1}}
        while found := await _call(self._files.find_one({"filename": name}, **newest)):
            if found["uploadDate"] > now - _WANTED:
                return True
            # Guarded, as it may be removed just now; then there is none.
            await _call(self._files.update_one(found, {"$set": {"uploadDate": now}}))
        return False

    async def page(self, after: Any, limit: int) -> list[Row]:
        """``limit`` files behind the one with the id ``after``, None at the beginning."""
        await self._there()
        query = {} if after is None else {"_id": {"$gt": after}}
        found = self._files.find(query, {"filename": 1, "uploadDate": 1})
        rows: list[Row] = await _call(found.sort([("_id", 1)]).limit(limit).to_list(limit))
        return rows

    async def newest(self, name: str) -> Any:
        """The id of the file that is read by that name."""
        newest = {"sort": [("uploadDate", -1)], "projection": {"_id": 1}}
        file = await _call(self._files.find_one({"filename": name}, **newest))
        return None if file is None else file["_id"]

    async def beginning(self, file: Row) -> bytes:
        first = await _call(self._chunks.find_one({"files_id": file["_id"], "n": 0}))
        return b"" if first is None else bytes(first["data"])

    async def unwanted(self, before: datetime, limit: int) -> list[Row]:
        """Those that were last wanted before that, the oldest first, for :meth:`want` or
        :meth:`remove`; ``filename`` is the name."""
        await self._there()
        query = self._files.find({"uploadDate": {"$lte": before}}, {"filename": 1, "uploadDate": 1})
        found: list[Row] = await _call(query.sort([("uploadDate", 1)]).limit(limit).to_list(limit))
        return found

    async def want(self, file: Row, now: datetime) -> None:
        await _call(self._files.update_one(_as_found(file), {"$set": {"uploadDate": now}}))

    async def remove(self, file: Row) -> bool:
        """Remove it, unless somebody has wanted it since it was found."""
        gone = await _call(self._files.delete_one(_as_found(file)))
        if gone.deleted_count:
            await _call(self._chunks.delete_many({"files_id": file["_id"]}))
        return bool(gone.deleted_count)

    async def write(self, name: str, pieces: Iterable[bytes]) -> None:
        await self._there()
        file = self._raw.open_upload_stream(name)
        try:
            for piece in pieces:
                await _call(file.write(piece))
            await _call(file.close())
        except Exception:
            with suppress(PyMongoError):  # parts without a file are seen by nobody
                await file.abort()
            raise

    async def read(self, name: str) -> AsyncIterator[bytes]:
        """``KeyError`` if there is no such file."""
        await self._there()
        try:
            file = await _now(self._raw.open_download_stream_by_name(name))
            while piece := await file.readchunk():
                yield piece
        except NoFile:
            raise KeyError(name) from None
        except PyMongoError as error:
            raise _meaning(error) from error


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
            event_listeners=[_Listener(spans)],
        )
        self._db: Any = self._client.get_database(
            name,
            codec_options=_CODEC,
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
            if await _now(self._client.primary) is not None:
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
        motor = isinstance(self._client, AsyncIOMotorClient)
        files = (AsyncIOMotorGridFSBucket if motor else AsyncGridFSBucket)(self._db, name)
        return Bucket(files, self._db[f"{name}.files"], self._db[f"{name}.chunks"], self.there)

    def sink(self, name: str) -> Sink:
        return Sink(self._db[name], self.there)

    async def ping(self) -> None:
        await _call(self._db.command("ping"))

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
        rows: list[Row] = await _call(cursor.limit(limit).to_list(limit or None))
        return rows

    async def size(self, raw: Any) -> int:
        """How many rows a collection holds, by its metadata: no scan."""
        await self.there()
        return int(await _call(raw.estimated_document_count()))

    async def count_rows(self, raw: Any, query: Row, *, limit: int | None = None) -> int:
        """Of all hospitals, counting no further than ``limit``; ``query`` needs an index."""
        await self.there()
        most = {} if limit is None else {"limit": limit}
        return int(await _call(raw.count_documents(query, **most)))

    async def update_row(self, raw: Any, query: Row, change: Row, *, upsert: bool = False) -> bool:
        """One guarded update outside a transaction; whether it matched (or inserted)."""
        await self.there()
        done = await _call(raw.update_one(query, change, upsert=upsert))
        return bool(done.matched_count or done.upserted_id is not None)

    async def delete_rows(self, raw: Any, ids: Sequence[str]) -> None:
        await self.there()
        await _call(raw.delete_many({"_id": {"$in": list(ids)}}))

    async def ask(self, command: str, *, admin: bool = True, **options: Any) -> Row:
        """What the server answers to a command about itself, or with ``admin=False`` about this
        database, such as ``hello``."""
        whose = self._client.admin if admin else self._db
        answer: Row = await _call(whose.command(command, **options))
        return answer

    async def is_embedded(self) -> bool:
        return bool((await self.ask("hello")).get("setName") == "secantus")

    async def collection_names(self) -> set[str]:
        return set(await _call(self._db.list_collection_names()))

    async def ensure(self, name: str) -> None:
        if name not in await self.collection_names():
            await _call(self._db.create_collection(name))

    async def ensure_index(
        self, name: str, keys: Sequence[tuple[str, int]], **options: Any
    ) -> None:
        """Make an index, or make it anew if only the time to live in it is another."""
        life = "expireAfterSeconds"
        if life in options:
            await self.drop_index(name, keys, lambda index: index.get(life) != options[life])
        await _call(self._db[name].create_index(list(keys), **options))

    async def drop_index(
        self,
        name: str,
        keys: Sequence[tuple[str, int]],
        when: Callable[[Row], bool] = lambda _: True,
    ) -> None:
        """Drop an index, if it is there and ``when`` says so of it."""
        for index in await self.indexes(name):
            if list(index["key"].items()) == list(keys) and when(index):
                await _call(self._db[name].drop_index(index["name"]))

    async def indexes(self, name: str) -> list[Row]:
        """What the server says of each: ``key`` and its options."""
        cursor = await _now(self._db[name].list_indexes())
        found: list[Row] = await _call(cursor.to_list(None))
        return found

    async def drop(self) -> None:
        await _call(self._client.drop_database(self._db.name))

    @asynccontextmanager
    async def transaction(self) -> AsyncIterator[Transaction]:
        """Commits at the end of the block, aborts when it raises."""
        await self.there()
        session = None
        try:
            session = await _now(self._client.start_session())
            await _now(
                session.start_transaction(
                    read_concern=ReadConcern("snapshot"), write_concern=WriteConcern("majority")
                )
            )
            transaction = Transaction(session)
            yield transaction
            transaction.in_time()
            await self._commit(session)
        except Exception as error:
            meaning = translated(error)
            if meaning is error:
                raise
            raise meaning from error
        finally:
            if session is not None:
                # Not by ``async with``: Motor's aborts on the loop, and that is a round trip.
                await _to_its_end(session.end_session())

    async def _commit(self, session: Any) -> None:
        for attempt in (1, 2, 3):
            try:
                await _to_its_end(session.commit_transaction())
                return
            except PyMongoError as error:
                unknown = error.has_error_label("UnknownTransactionCommitResult")
                if not unknown or attempt == 3:
                    # Still unknown: the caller begins again and its inbox tells what happened.
                    raise

    async def changes(
        self, name: str, operations: Sequence[str]
    ) -> AsyncGenerator[Row | None, None]:
        """The rows that are written from now on, as they are; it ends by an error only.

        First comes ``None``: from here on nothing is missed, so look at what came before.
        """
        pipeline = [{"$match": {"operationType": {"$in": list(operations)}}}]
        try:
            watch = self._db[name].watch(pipeline, full_document="updateLookup")
            async with await _now(watch) as stream:
                change = await stream.try_next()  # Motor opens it with the first of these
                yield None
                while stream.alive:
                    if change is not None:
                        yield change.get("fullDocument") or {}
                    change = await stream.try_next()
        except PyMongoError as error:
            raise _meaning(error) from error
        raise Unavailable("the change stream has ended")

    async def close(self) -> None:
        await _now(self._client.close())
