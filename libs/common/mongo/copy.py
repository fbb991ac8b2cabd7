"""How is a service's database copied out as it stood at one moment, and back?

Documents pass as the bytes that the server keeps (BSON), so that nothing is understood anew and
what is sealed stays sealed. A copy is read in a snapshot session, whose moment the server holds
for ``minSnapshotHistoryWindowInSeconds`` (300 by default): one that takes longer fails, and says
so. The embedded server has no such sessions; there it is a transaction.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Any, Final

from bson.codec_options import CodecOptions
from bson.raw_bson import RawBSONDocument
from pymongo import WriteConcern
from pymongo.errors import OperationFailure, PyMongoError
from pymongo.read_concern import ReadConcern

from libs.common.mongo.calls import translated
from libs.common.mongo.database import Database

_RAW: Final[CodecOptions[RawBSONDocument]] = CodecOptions(document_class=RawBSONDocument)
#: Documents of one round trip.
PAGE: Final = 1_000
#: SnapshotTooOld, SnapshotUnavailable (mongodb/mongo src/mongo/base/error_codes.yml).
_TOO_LATE: Final = frozenset({239, 246})


class TookTooLong(Exception):
    """The moment that was being read is not kept any more."""


class Copy:
    """What a database holds; in a session, as it stood at one moment."""

    def __init__(self, database: Database, session: Any = None) -> None:
        self._database, self._session = database, session

    async def documents(self, name: str) -> AsyncIterator[bytes]:
        """Each document's BSON, in the order of their ids. ``TookTooLong`` after the window."""
        raw = self._database.raw(name).with_options(codec_options=_RAW)
        try:
            found = raw.find({}, session=self._session, batch_size=PAGE).sort([("_id", 1)])
            async for document in found:
                yield document.raw
        except OperationFailure as error:
            if error.code in _TOO_LATE:
                raise TookTooLong(str(error.code)) from error
            raise translated(error) from error
        except PyMongoError as error:
            raise translated(error) from error


@asynccontextmanager
async def as_it_stands(database: Database) -> AsyncIterator[Copy]:
    """All that is read of it in the block is of one moment, at or after the block's beginning."""
    client = database.raw("-").database.client
    embedded = await database.is_embedded()
    session = await client.start_session(snapshot=not embedded)
    try:
        if embedded:
            session.start_transaction(read_concern=ReadConcern("snapshot"))
        yield Copy(database, session)
    finally:
        await session.end_session()


async def put(database: Database, name: str, documents: Sequence[bytes]) -> None:
    """Write them as they are; a majority has them when it returns."""
    raw = database.raw(name).with_options(
        codec_options=_RAW, write_concern=WriteConcern("majority")
    )
    try:
        await raw.insert_many([RawBSONDocument(d, _RAW) for d in documents], ordered=True)
    except PyMongoError as error:
        raise translated(error) from error


def size_of(head: bytes) -> int:
    """How long the document is that begins with these four bytes."""
    return int.from_bytes(head, "little")
