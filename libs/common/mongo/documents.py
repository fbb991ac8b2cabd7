"""In which form is a document stored, and how are its sensitive fields sealed in it?

As a row whose ``_id`` is ``<hospital>/<id>``; a sealed field is bytes that hold its value as BSON.
"""

from __future__ import annotations

from datetime import UTC, date
from typing import Any

import bson
from bson.codec_options import CodecOptions, TypeRegistry

from libs.common.cipher import CantOpen, Cipher, KeyMissing, Place, sealed_fields
from libs.common.decision import Document
from libs.common.mongo.errors import Unavailable

Row = dict[str, Any]


def _fallback(value: Any) -> Any:
    if isinstance(value, date):
        return value.isoformat()
    if isinstance(value, set | frozenset):
        return sorted(value)
    return value


CODEC: CodecOptions[Row] = CodecOptions(
    tz_aware=True, tzinfo=UTC, type_registry=TypeRegistry(fallback_encoder=_fallback)
)


def sealed(value: Any, place: Place, cipher: Cipher | None) -> Any:
    """``value`` as it is stored: as bytes that only ``cipher`` can open, if there is one."""
    if cipher is None or value is None:
        return value
    return cipher.seal(place, bson.encode({"v": value}, codec_options=CODEC))


def opened(value: Any, place: Place, cipher: Cipher | None) -> Any:
    """``value`` as it was. Raises :class:`Unavailable` while its key is missing."""
    if cipher is None or value is None:
        return value
    if not isinstance(value, bytes):
        if cipher.takes_plain:
            return value
        raise CantOpen("it is not sealed")
    return bson.decode(unsealed(value, place, cipher), codec_options=CODEC)["v"]


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
