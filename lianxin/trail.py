"""How does what operators do at the command line get into a service's audit trail?

Before it is done, so that nothing is done which is not there. Only what a restore brings back into
an empty database is noted there afterwards.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from libs.common import audit
from libs.common.clock import Ports
from libs.common.mongo.database import Database

#: What is done to all hospitals of a service at once.
EVERY_HOSPITAL = ""


async def record(
    ports: Ports,
    database: Database,
    *,
    entities: Mapping[str, Sequence[str]],
    run: str = "",
    **said: Any,
) -> str:
    """A record for each hospital of ``entities`` in that service's trail; what else is ``said``
    of them stands in :func:`libs.common.audit.operation`. The run by which the trail knows them."""
    run = run or ports.ids.new()
    rows = [
        audit.operation(ports, hospital=hospital, entities=what, run=run, **said)
        for hospital, what in entities.items()
    ]
    await database.sink(audit.COLLECTION).insert_many(rows)
    return run
