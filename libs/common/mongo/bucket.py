"""How are files kept in the database, and when may one go?"""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from contextlib import suppress
from datetime import datetime, timedelta
from typing import Any, Final

from gridfs import AsyncGridFSBucket, NoFile
from motor.motor_asyncio import AsyncIOMotorDatabase, AsyncIOMotorGridFSBucket
from pymongo.errors import PyMongoError

from libs.common.mongo.calls import awaited, call, translated
from libs.common.mongo.documents import Row

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

    def __init__(self, database: Any, name: str, there: Callable[[], Awaitable[None]]) -> None:
        motor = isinstance(database, AsyncIOMotorDatabase)
        self._raw = (AsyncIOMotorGridFSBucket if motor else AsyncGridFSBucket)(database, name)
        self._files, self._chunks = database[f"{name}.files"], database[f"{name}.chunks"]
        self._there = there

    async def has(self, name: str, now: datetime) -> bool:
        """Whether there is such a file. It then counts as wanted within the last day."""
        await self._there()
        newest = {"sort": [("uploadDate", -1)], "projection": {"uploadDate": 1}}
        while found := await call(self._files.find_one({"filename": name}, **newest)):
            if found["uploadDate"] > now - _WANTED:
                return True
            # Guarded, as it may be removed just now; then there is none.
            await call(self._files.update_one(found, {"$set": {"uploadDate": now}}))
        return False

    async def page(self, after: Any, limit: int) -> list[Row]:
        """``limit`` files behind the one with the id ``after``, None at the beginning."""
        await self._there()
        query = {} if after is None else {"_id": {"$gt": after}}
        found = self._files.find(query, {"filename": 1, "uploadDate": 1})
        rows: list[Row] = await call(found.sort([("_id", 1)]).limit(limit).to_list(limit))
        return rows

    async def newest(self, name: str) -> Any:
        """The id of the file that is read by that name."""
        newest = {"sort": [("uploadDate", -1)], "projection": {"_id": 1}}
        file = await call(self._files.find_one({"filename": name}, **newest))
        return None if file is None else file["_id"]

    async def beginning(self, file: Row) -> bytes:
        first = await call(self._chunks.find_one({"files_id": file["_id"], "n": 0}))
        return b"" if first is None else bytes(first["data"])

    async def unwanted(self, before: datetime, limit: int) -> list[Row]:
        """Those that were last wanted before that, the oldest first, for :meth:`want` or
        :meth:`remove`; ``filename`` is the name."""
        await self._there()
        query = self._files.find({"uploadDate": {"$lte": before}}, {"filename": 1, "uploadDate": 1})
        found: list[Row] = await call(query.sort([("uploadDate", 1)]).limit(limit).to_list(limit))
        return found

    async def want(self, file: Row, now: datetime) -> None:
        await call(self._files.update_one(_as_found(file), {"$set": {"uploadDate": now}}))

    async def remove(self, file: Row) -> bool:
        """Remove it, unless somebody has wanted it since it was found."""
        gone = await call(self._files.delete_one(_as_found(file)))
        if gone.deleted_count:
            await call(self._chunks.delete_many({"files_id": file["_id"]}))
        return bool(gone.deleted_count)

    async def write(self, name: str, pieces: Iterable[bytes]) -> None:
        await self._there()
        file = self._raw.open_upload_stream(name)
        try:
            for piece in pieces:
                await call(file.write(piece))
            await call(file.close())
        except Exception:
            with suppress(PyMongoError):  # parts without a file are seen by nobody
                await file.abort()
            raise

    async def read(self, name: str) -> AsyncIterator[bytes]:
        """``KeyError`` if there is no such file."""
        await self._there()
        try:
            file = await awaited(self._raw.open_download_stream_by_name(name))
            while piece := await file.readchunk():
                yield piece
        except NoFile:
            raise KeyError(name) from None
        except PyMongoError as error:
            raise translated(error) from error
