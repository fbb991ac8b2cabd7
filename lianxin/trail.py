"""How does what operators do at the command line get into a service's audit trail?

Before it is done, so that nothing is done which is not there, and afterwards by how it ended: two
records of one run, as nobody changes a record. A run without an end was cut off, or is the backup
in which it stands. Only what a restore brings back into an empty database is noted there
afterwards alone.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import Any

from lianxin.output import console
from libs.common import audit
from libs.common.audit import Outcome
from libs.common.clock import Ports
from libs.common.mongo.database import Database
from libs.common.mongo.errors import Conflict, Unavailable, Unstorable

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


@asynccontextmanager
async def ended(
    ports: Ports, database: Database, *, run: str, **said: Any
) -> AsyncIterator[list[str]]:
    """Record how what is done inside ended: well; with what is in the list that it gives, which
    was left undone; or by which exception. If that can't be recorded it is said, and no more: what
    was done is done, and whoever did it hears of it (a password, what stays)."""

    async def note(outcome: Outcome, why: str) -> None:
        try:
            await record(ports, database, run=run, outcome=outcome, why=why, **said)
        except (Unavailable, Unstorable, Conflict) as error:
            sentence = f"How this ended could not be recorded in the audit trail ({error})."
            console(stderr=True).print(sentence, markup=False, soft_wrap=True)

    undone: list[str] = []
    try:
        yield undone
    except BaseException as error:  # Ctrl-C is one
        await note(Outcome.SERIOUS_FAILURE, type(error).__name__)
        raise
    await note(Outcome.MINOR_FAILURE if undone else Outcome.SUCCESS, "; ".join(undone))


@asynccontextmanager
async def recorded(ports: Ports, database: Database, **said: Any) -> AsyncIterator[list[str]]:
    """What is done inside stands in the trail: that it begins, and how it ended."""
    run = await record(ports, database, **said)
    async with ended(ports, database, run=run, **said) as undone:
        yield undone
