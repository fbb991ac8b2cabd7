"""How does a backup lie on the disk, and how is it known to be whole?

A folder for each service: each collection's documents as mongodump writes them with ``--gzip``
(``mongorestore`` reads them, too), and beside them ``backup.json`` with their number, the SHA-256
of the bytes, and where the service's consumer group had got to before anything was read. It is
written under another name first: a folder that is named after its service is whole.
"""

from __future__ import annotations

import gzip
import hashlib
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from typing import Final, Literal

from pydantic import BaseModel, ConfigDict, ValidationError

from libs.common.mongo.copy import size_of

MANIFEST: Final = "backup.json"
#: MongoDB's limit for one document, and a little for what a server adds itself.
_LARGEST: Final = 16 * 1024 * 1024 + 16 * 1024


class Damaged(Exception):
    """A backup that can't be restored; the message names the file."""


class Collected(BaseModel):
    """One collection of a backup."""

    model_config = ConfigDict(extra="forbid")

    documents: int
    size: int
    sha256: str


class Offset(BaseModel):
    """The next record that the service had not noted as handled."""

    model_config = ConfigDict(extra="forbid")

    topic: str
    partition: int
    offset: int


class Manifest(BaseModel):
    """What a backup holds."""

    model_config = ConfigDict(extra="forbid")

    format: Literal[1] = 1
    service: str
    database: str
    group: str
    #: When reading began; what was committed before is in it.
    at: datetime
    collections: dict[str, Collected]
    offsets: list[Offset]


class Digest:
    """Counts documents and their bytes as they pass."""

    def __init__(self) -> None:
        self._hash = hashlib.sha256()
        self.documents = self.size = 0

    def add(self, document: bytes) -> None:
        self._hash.update(document)
        self.documents += 1
        self.size += len(document)

    def made(self) -> Collected:
        return Collected(documents=self.documents, size=self.size, sha256=self._hash.hexdigest())


def file_of(folder: Path, collection: str) -> Path:
    return folder / f"{collection}.bson.gz"


def manifest_of(folder: Path) -> Manifest:
    try:
        return Manifest.model_validate_json((folder / MANIFEST).read_bytes())
    except OSError as error:
        raise Damaged(f"{folder / MANIFEST}: {error.strerror}") from None
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        field = ".".join(map(str, first["loc"]))
        raise Damaged(f"{folder / MANIFEST}: {field}: {first['msg']}") from None


def documents(file: Path) -> Iterator[bytes]:
    """Each document's bytes. Raises :class:`Damaged`."""
    try:
        with gzip.open(file, "rb") as stream:
            yield from _documents(file, stream)
    except (OSError, EOFError) as error:  # gzip's own checksum among it
        raise Damaged(f"{file}: {error}") from None


def _documents(file: Path, stream: gzip.GzipFile) -> Iterator[bytes]:
    while head := stream.read(4):
        size = size_of(head)
        if not 5 <= size <= _LARGEST:
            raise Damaged(f"{file}: no document begins where one should")
        rest = stream.read(size - 4)
        if len(rest) != size - 4:
            raise Damaged(f"{file}: it ends within a document")
        yield head + rest


def verify(folder: Path) -> Manifest:
    """Read all of it again. Raises :class:`Damaged` where it is not what was written."""
    manifest = manifest_of(folder)
    for name, wanted in manifest.collections.items():
        digest = Digest()
        for document in documents(file_of(folder, name)):
            digest.add(document)
        if digest.made() != wanted:
            raise Damaged(
                f"{file_of(folder, name)}: {digest.documents} documents instead of"
                f" {wanted.documents}, or others than were written"
            )
    return manifest
