"""Where is what is too large for a document of the database or for an event?

In files beside the documents (GridFS, as far as MongoDB is the store), by the SHA-256 of their
content: stored twice they are one, and one that nothing names any more is removed. Another
store, such as one of objects, plugs in here.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping
from datetime import timedelta
from typing import Final, Protocol

import structlog

from libs.common.cipher import CantOpen, Cipher, Place
from libs.common.clock import Clock, SystemClock
from libs.common.envelope import Envelope, key_of
from libs.common.mongo.bucket import Bucket
from libs.common.mongo.database import Database
from libs.common.mongo.documents import unsealed
from libs.common.mongo.errors import Conflict, Unavailable

log = structlog.get_logger()

BUCKET: Final = "blobs"
#: What passes the cipher at a time.
_PIECE: Final = 256 * 1024
_LENGTH: Final = 4
#: How long a content rests after it was wanted, before it is looked at whether anything names it.
REST: Final = timedelta(days=7)
#: Contents that are looked at together, and seconds before the next ones and before the next look.
_AT_A_TIME: Final = 100
_BETWEEN: Final = 1.0
_PAUSE: Final = 600.0
#: Seconds in which who has begun to read a file has read it.
READ_OUT: Final = 60.0
_SYSTEM: Final = SystemClock()

#: Whether anything of a hospital's names the content with that SHA-256.
IsNamed = Callable[[str, str], Awaitable[bool]]


class Blobs(Protocol):
    """Contents by hospital and SHA-256."""

    async def put(self, hospital: str, contents: Mapping[str, bytes]) -> None:
        """Store those that are not there yet; durable when it returns."""

    def read(self, hospital: str, sha256: str) -> AsyncIterator[bytes]:
        """The content piece by piece; ``KeyError`` if there is none."""


class StoredBlobs:
    """The same in the database's own bucket, through its cipher."""

    def __init__(self, database: Database, clock: Clock = _SYSTEM) -> None:
        self._bucket: Bucket = database.bucket(BUCKET)
        self._cipher, self._clock = database.cipher, clock

    async def put(self, hospital: str, contents: Mapping[str, bytes]) -> None:
        for sha256, content in contents.items():
            name = f"{hospital}/{sha256}"
            if not await self._bucket.has(name, self._clock.now()):
                await self._bucket.write(name, _pieces(hospital, sha256, content, self._cipher))

    async def read(self, hospital: str, sha256: str) -> AsyncIterator[bytes]:
        stored = self._bucket.read(f"{hospital}/{sha256}")
        if self._cipher is None:
            async for piece in stored:
                yield piece
            return
        waiting, place = b"", 0
        before: bool | None = None  # whether it is of before anything was sealed
        async for piece in stored:
            if before is None:
                sealed = self._cipher.is_sealed(piece[_LENGTH:])
                before = self._cipher.takes_plain and not sealed
            if before:
                yield piece
                continue
            waiting += piece
            while len(waiting) >= _LENGTH:
                end = _LENGTH + int.from_bytes(waiting[:_LENGTH], "big")
                if len(waiting) < end:
                    break
                yield unsealed(waiting[_LENGTH:end], _place(hospital, sha256, place), self._cipher)
                waiting, place = waiting[end:], place + _PIECE
        if waiting:
            raise CantOpen("it was cut off")

    async def reseal(self, cipher: Envelope, pause: float = READ_OUT) -> int:
        """Store anew what is not sealed with the key that is active: how many there were.

        The older file goes after a pause, when nobody reads it any more; or the next time,
        if somebody has found it wanted meanwhile.
        """
        after, older, done = None, [], 0
        while page := await self._bucket.page(after, _AT_A_TIME):
            for file in page:
                name = str(file["filename"])
                if file["_id"] != await self._bucket.newest(name):
                    older.append(file)
                    continue
                beginning = await self._bucket.beginning(file)
                if not beginning or key_of(beginning[_LENGTH:]) == cipher.active:
                    continue
                hospital, sha256 = name.rsplit("/", 1)
                content = await self.whole(hospital, sha256)
                await self._bucket.write(name, _pieces(hospital, sha256, content, cipher))
                older.append(file)
                done += 1
            after = page[-1]["_id"]
        if older:
            await self._clock.sleep(pause)
        for file in older:
            await self._bucket.remove(file)
        return done

    async def keys(self, most: int | None = None) -> Counter[str]:
        """How many files need which key, the newest and older ones; not more than ``most``."""
        found, after = Counter[str](), None
        while page := await self._bucket.page(after, min(_AT_A_TIME, most or _AT_A_TIME)):
            beginnings = [await self._bucket.beginning(file) for file in page]
            found.update(key_of(beginning[_LENGTH:]) for beginning in beginnings if beginning)
            after = page[-1]["_id"]
            if most is not None and found.total() >= most:
                break
        return found

    async def sweep(self, is_named: IsNamed) -> tuple[int, int]:
        """Remove what nothing names, of those that it is time to look at: how many were looked
        at, and removed. Whoever stores one, or finds it stored, has :data:`REST` to name it."""
        now, removed = self._clock.now(), 0
        found = await self._bucket.unwanted(now - REST, _AT_A_TIME)
        for file in found:
            hospital, sha256 = str(file["filename"]).rsplit("/", 1)
            if await is_named(hospital, sha256):
                await self._bucket.want(file, now)
            else:
                removed += await self._bucket.remove(file)
        return len(found), removed

    async def sweeping(self, is_named: IsNamed, owned: Callable[[], bool]) -> None:
        """Sweep until cancelled, while this replica is the one that may (``owned``)."""
        while True:
            looked = removed = 0
            try:
                if owned():
                    looked, removed = await self.sweep(is_named)
            except (Conflict, Unavailable) as error:
                log.warning("blobs_not_swept", why=str(error))
            if removed:
                log.info("blobs_removed", count=removed)
            await self._clock.sleep(_BETWEEN if looked == _AT_A_TIME else _PAUSE)

    async def whole(self, hospital: str, sha256: str) -> bytes:
        return b"".join([piece async for piece in self.read(hospital, sha256)])


def _place(hospital: str, sha256: str, at: int) -> Place:
    return Place(BUCKET, f"{hospital}/{sha256}", str(at))


def _pieces(hospital: str, sha256: str, content: bytes, cipher: Cipher | None) -> Iterator[bytes]:
    """In lengths that block nobody; sealed ones with their length before them."""
    for at in range(0, len(content), _PIECE):
        piece = content[at : at + _PIECE]
        if cipher is not None:
            sealed = cipher.seal(_place(hospital, sha256, at), piece)
            piece = len(sealed).to_bytes(_LENGTH, "big") + sealed
        yield piece
