"""Where is what is too large for a document of the database or for an event?

In files beside the documents (GridFS, as far as MongoDB is the store), by the SHA-256 of their
content: stored twice they are one, and one that nothing names any more does no harm. Another
store, such as one of objects, plugs in here.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator, Mapping
from typing import Final, Protocol

from libs.common.cipher import Cipher
from libs.common.mongo import Bucket, Database

BUCKET: Final = "blobs"
#: What passes the cipher at a time.
_PIECE: Final = 256 * 1024
_LENGTH: Final = 4


class Blobs(Protocol):
    """Contents by hospital and SHA-256."""

    async def put(self, hospital: str, contents: Mapping[str, bytes]) -> None:
        """Store those that are not there yet; durable when it returns."""

    def read(self, hospital: str, sha256: str) -> AsyncIterator[bytes]:
        """The content piece by piece; ``KeyError`` if there is none."""


class StoredBlobs:
    """The same in the database's own bucket, through its cipher."""

    def __init__(self, database: Database) -> None:
        self._bucket: Bucket = database.bucket(BUCKET)
        self._cipher = database.cipher

    async def put(self, hospital: str, contents: Mapping[str, bytes]) -> None:
        for sha256, content in contents.items():
            name = f"{hospital}/{sha256}"
            if not await self._bucket.has(name):
                await self._bucket.write(name, _pieces(hospital, content, self._cipher))

    async def read(self, hospital: str, sha256: str) -> AsyncIterator[bytes]:
        stored = self._bucket.read(f"{hospital}/{sha256}")
        if self._cipher is None:
            async for piece in stored:
                yield piece
            return
        waiting = b""
        async for piece in stored:
            waiting += piece
            while len(waiting) >= _LENGTH:
                end = _LENGTH + int.from_bytes(waiting[:_LENGTH], "big")
                if len(waiting) < end:
                    break
                yield self._cipher.open(hospital, waiting[_LENGTH:end])
                waiting = waiting[end:]

    async def whole(self, hospital: str, sha256: str) -> bytes:
        return b"".join([piece async for piece in self.read(hospital, sha256)])


def _pieces(hospital: str, content: bytes, cipher: Cipher | None) -> Iterator[bytes]:
    """In lengths that block nobody; sealed ones with their length before them."""
    for at in range(0, len(content), _PIECE):
        piece = content[at : at + _PIECE]
        if cipher is not None:
            sealed = cipher.seal(hospital, piece)
            piece = len(sealed).to_bytes(_LENGTH, "big") + sealed
        yield piece
