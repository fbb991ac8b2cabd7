"""Which events wait to be sent, for how long, and what keeps them?

A row of an outbox is an event that was decided and not yet acknowledged by Kafka; the owner of the
service's lease sends them all by itself as soon as it can, so there is nothing to do here but to
find out what it lacks.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Annotated, Final

import typer
from rich.console import RenderableType
from rich.markup import escape

from lianxin.installation import SERVICES, Installation
from lianxin.output import LOOK, WELL, Answer, Json, command, duration, table
from lianxin.records import said
from lianxin.status import WAITS_LONG, owned
from libs.common.kafka.admin import Kafka
from libs.common.kafka.client import BusError
from libs.common.mongo.database import Database
from libs.common.rows import OUTBOX

#: Rows that are looked at one by one.
MOST: Final = 10_000


@dataclass
class Waiting:
    """``why`` is empty while they are just on their way."""

    service: str
    rows: int = 0
    oldest: datetime | None = None
    age: timedelta | None = None
    by_type: dict[str, int] = field(default_factory=dict)
    why: list[str] = field(default_factory=list)


@command
async def outbox(
    services: Annotated[list[str] | None, typer.Argument(help="All if none is named.")] = None,
    *,
    json: Json = False,
) -> Answer:
    """Events that wait to be sent to Kafka, and what keeps them."""
    installation = Installation.of_environment()
    names = [installation.service(name) for name in services or SERVICES]
    async with installation.open() as kafka:
        found = [await waiting(installation, kafka, name) for name in names]
    shown: list[RenderableType] = [
        table(
            "Outboxes",
            ("service", "#rows", "oldest", "for", "by type"),
            ((w.service, w.rows, w.oldest, w.age, _types(w)) for w in found),
        )
    ]
    shown += [f"[yellow]{w.service}[/]: {escape(why)}" for w in found for why in w.why]
    return Answer(found, shown, LOOK if any(w.why for w in found) else WELL)


async def waiting(installation: Installation, kafka: Kafka, service: str) -> Waiting:
    database, found = installation.database(service), Waiting(service)
    raw = database.raw(OUTBOX)
    found.rows = await database.size(raw)
    fields = ("at", "topic", "headers.ce_type")
    rows = await database.find_rows(raw, {}, sort=(("at", 1),), limit=MOST, fields=fields)
    if not rows:
        found.rows = 0
        return found
    types = Counter(said(row["headers"].get("ce_type")) or "?" for row in rows)
    found.by_type = dict(types.most_common())
    found.oldest = rows[0]["at"]
    found.age = installation.ports.clock.now() - rows[0]["at"]
    found.why = await _why(installation, kafka, database, {row["topic"] for row in rows}, found.age)
    return found


async def _why(
    installation: Installation, kafka: Kafka, database: Database, topics: set[str], age: timedelta
) -> list[str]:
    if not await owned(database, installation.ports.clock):
        return ["nobody owns the lease, so nobody sends: is the service running?"]
    try:
        there = await kafka.topics()
    except BusError as error:
        return [f"Kafka does not answer ({error}); they are sent once it does"]
    if missing := sorted(topics - there):
        names = ", ".join(missing)
        return [f"no such topic in Kafka: {names}; `lianxin topics apply` makes it"]
    if age > WAITS_LONG:
        return [
            f"Kafka answers here and the lease has an owner, and yet they wait for {duration(age)}:"
            " its log says why (relay_restarts), such as a right that it lacks"
        ]
    return []


def _types(found: Waiting) -> str:
    return escape(", ".join(f"{count} {type}" for type, count in found.by_type.items()))
