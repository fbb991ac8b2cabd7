"""Which collections and indexes does a service need?

Made by one idempotent command before a service of this version starts; services only
check. ``python -m libs.common.migrate enrollment messaging …``
"""

from __future__ import annotations

import asyncio
import importlib
import sys
from collections.abc import Sequence
from typing import Any

from libs.common import audit
from libs.common.lease import LEASES
from libs.common.mongo import CollectionSpec, Database
from libs.common.relay import WAKE
from libs.common.rows import INBOX, OUTBOX, TIMERS

#: Topic retention (14 days) plus the horizon of a replay (30 days), with a margin.
INBOX_DAYS = 60

RUNTIME = (INBOX, OUTBOX, TIMERS, LEASES, WAKE, audit.COLLECTION)


async def migrate(database: Database, collections: Sequence[CollectionSpec[Any]]) -> None:
    """Make what is missing; change nothing that exists."""
    embedded = await database.is_embedded()
    for name in (*RUNTIME, *(c.model.COLLECTION for c in collections)):
        await database.ensure(name)
    await database.ensure_index(INBOX, [("at", 1)], expireAfterSeconds=INBOX_DAYS * 86_400)
    await database.ensure_index(OUTBOX, [("stream", 1), ("sequence", 1)])
    await database.ensure_index(OUTBOX, [("at", 1)])
    await database.ensure_index(TIMERS, [("next", 1)])
    by_patient = [("hospital", 1), ("patient", 1), ("recorded", 1)]
    await database.ensure_index(audit.COLLECTION, by_patient)
    for spec in collections:
        for index in spec.indexes:
            options: dict[str, Any] = {"unique": True} if index.unique else {}
            if index.partial is not None:
                options["partialFilterExpression"] = dict(index.partial)
            fields = index.fields if index.all_hospitals else ("hospital", *index.fields)
            keys = [(field, 1) for field in fields]
            await database.ensure_index(spec.model.COLLECTION, keys, **options)
        if embedded:
            # The embedded server plans a guarded write by a compound index only; a real
            # MongoDB is served by _id alone.
            await database.ensure_index(spec.model.COLLECTION, [("_id", 1), ("version", 1)])
    if embedded:
        await database.ensure_index(INBOX, [("_id", 1), ("fate", 1)])
        await database.ensure_index(LEASES, [("_id", 1), ("owner", 1), ("beat", 1)])


async def missing(database: Database, collections: Sequence[CollectionSpec[Any]]) -> list[str]:
    """Collections that ``migrate`` has not made yet."""
    wanted = {*RUNTIME, *(c.model.COLLECTION for c in collections)}
    return sorted(wanted - await database.collection_names())


async def _main(services: Sequence[str]) -> None:
    for name in services:
        spec = importlib.import_module(f"services.{name}.main").SPEC
        settings = spec.settings()
        database = Database(settings.mongo_url, settings.mongo_database or f"lianxin_{name}")
        await migrate(database, spec.collections)
        await database.close()
        print(f"{name}: collections and indexes are in place", flush=True)


if __name__ == "__main__":
    asyncio.run(_main(sys.argv[1:]))
