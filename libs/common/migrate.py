"""Which collections and indexes does a service need?

Made by one idempotent command before a service of this version starts; services only
check. ``python -m libs.common.migrate enrollment messaging …``
"""

from __future__ import annotations

import asyncio
import importlib
import sys
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from libs.common import audit
from libs.common.decision import Document
from libs.common.lease import LEASES
from libs.common.mongo.collection import CollectionSpec
from libs.common.mongo.database import Database
from libs.common.relay import WAKE
from libs.common.rows import INBOX, OUTBOX, TIMERS

#: Longer than a topic keeps a record (30 days) and its dead letter may be replayed (30 more).
INBOX_DAYS = 75

RUNTIME = (INBOX, OUTBOX, TIMERS, LEASES, WAKE, audit.COLLECTION)


Keys = Sequence[tuple[str, int]]


class Life(NamedTuple):
    """Documents of ``model`` are deleted so many days after the time in ``field``; 0: never."""

    model: type[Document]
    field: str
    days: int


def _indexes(
    collections: Sequence[CollectionSpec[Any]], buckets: Sequence[str], *, embedded: bool
) -> Iterator[tuple[str, Keys, Mapping[str, Any]]]:
    """Every index that there must be: collection, keys, options."""
    yield INBOX, [("at", 1)], {"expireAfterSeconds": INBOX_DAYS * 86_400}
    yield OUTBOX, [("stream", 1), ("sequence", 1)], {}
    yield OUTBOX, [("at", 1)], {}
    yield TIMERS, [("next", 1)], {}
    yield audit.COLLECTION, [("hospital", 1), ("patient", 1), ("recorded", 1)], {}
    for spec in collections:
        for index in spec.indexes:
            options: dict[str, Any] = {"unique": True} if index.unique else {}
            if index.partial is not None:
                options["partialFilterExpression"] = dict(index.partial)
            fields = index.fields if index.all_hospitals else ("hospital", *index.fields)
            yield spec.model.COLLECTION, [(field, 1) for field in fields], options
        if embedded:
            # The embedded server plans a guarded write by a compound index only; a real
            # MongoDB is served by _id alone.
            yield spec.model.COLLECTION, [("_id", 1), ("version", 1)], {}
    for bucket in buckets:
        # As the driver makes them itself, but with the first file.
        yield f"{bucket}.chunks", [("files_id", 1), ("n", 1)], {"unique": True}
        yield f"{bucket}.files", [("filename", 1), ("uploadDate", 1)], {}
        yield f"{bucket}.files", [("uploadDate", 1)], {}
        if embedded:
            yield f"{bucket}.files", [("_id", 1), ("uploadDate", 1)], {}
    if embedded:
        yield INBOX, [("_id", 1), ("fate", 1)], {}
        yield LEASES, [("_id", 1), ("owner", 1), ("beat", 1)], {}


def _names(collections: Sequence[CollectionSpec[Any]], buckets: Sequence[str]) -> Iterator[str]:
    yield from RUNTIME
    yield from (spec.model.COLLECTION for spec in collections)
    for bucket in buckets:
        yield from (f"{bucket}.files", f"{bucket}.chunks")


async def migrate(
    database: Database,
    collections: Sequence[CollectionSpec[Any]],
    lives: Sequence[Life] = (),
    buckets: Sequence[str] = (),
) -> None:
    """Make what is missing; change nothing that exists but for how long documents live."""
    for name in _names(collections, buckets):
        await database.ensure(name)
    embedded = await database.is_embedded()
    for name, keys, options in _indexes(collections, buckets, embedded=embedded):
        await database.ensure_index(name, keys, **options)
    for model, field, days in lives:
        if days:
            life = {"expireAfterSeconds": days * 86_400}
            await database.ensure_index(model.COLLECTION, [(field, 1)], **life)
        else:
            await database.drop_index(model.COLLECTION, [(field, 1)])


async def missing(
    database: Database,
    collections: Sequence[CollectionSpec[Any]],
    buckets: Sequence[str] = (),
) -> list[str]:
    """Collections, and indexes as ``collection: field, field``, that ``migrate`` has not made.

    A unique index is a promise to the rules, so one that is there but not unique is missing.
    """
    wanted = set(_names(collections, buckets))
    names = await database.collection_names()
    found = {
        (name, tuple(index["key"].items()), bool(index.get("unique")))
        for name in wanted & names
        for index in await database.indexes(name)
    }
    embedded = await database.is_embedded()
    unmade = [
        f"{name}: {', '.join(field for field, _ in keys)}"
        for name, keys, options in _indexes(collections, buckets, embedded=embedded)
        if name in names and (name, tuple(keys), "unique" in options) not in found
    ]
    return sorted([*(wanted - names), *unmade])


async def _main(services: Sequence[str]) -> None:
    for name in services:
        spec = importlib.import_module(f"services.{name}.main").SPEC
        settings = spec.settings()
        database = Database.of(settings, name)
        await migrate(database, spec.collections, spec.lives(settings), spec.buckets)
        await database.close()
        print(f"{name}: collections and indexes are in place", flush=True)


if __name__ == "__main__":
    asyncio.run(_main(sys.argv[1:]))
