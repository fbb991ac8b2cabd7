"""How is the driver called, and what do its errors mean to us?

The driver is Motor 3.7 or PyMongo's own (docs/adr/0004); what differs between their calls is
bridged by :func:`awaited`.
"""

from __future__ import annotations

import inspect
from typing import Any, Final

from bson.errors import BSONError
from pymongo.errors import (
    ConnectionFailure,
    DocumentTooLarge,
    DuplicateKeyError,
    ExecutionTimeout,
    OperationFailure,
    PyMongoError,
)

from libs.common.mongo.errors import Conflict, Duplicate, Unavailable, Unstorable

#: An answer that takes longer is given up, and its connection with it.
SOCKET_SECONDS: Final = 10
#: The server sends 101 documents first and the others only when asked again; the batches
#: that we read are bounded by what we ask for, so let them come at once (16 MB at most).
ONE_ROUND_TRIP: Final = 10_000

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


async def call(awaitable: Any) -> Any:
    """What the driver answers, or its error as one of ours."""
    try:
        return await awaitable
    except Exception as error:
        meaning = translated(error)
        if meaning is error:
            raise
        raise meaning from error


async def awaited(value: Any) -> Any:
    """``value``, awaited where the driver wants it: Motor and PyMongo's own differ here."""
    if inspect.isawaitable(value) and not hasattr(value, "__aenter__"):
        return await value
    return value
