"""Does ``lianxin outbox`` say what waits to be sent, and what keeps it?

While Kafka is away, and when nobody sends: see ``test_trace.py``.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from libs.common.clock import Ports
from libs.common.lease import Lease
from libs.common.mongo.database import Database
from tests.integration.lianxin.conftest import Done, World

#: Each command is a process that imports six services.
pytestmark = pytest.mark.timeout(300)


@pytest.fixture
async def owned(world: World) -> AsyncIterator[Database]:
    """Enrollment's database, whose lease somebody owns who sends nothing."""
    name = f"{world.prefix}-enrollment"
    world.databases.add(name)
    database = Database(world.stack.mongo_url, name)
    owner = asyncio.create_task(Lease(database, "owner", Ports()).run())
    yield database
    owner.cancel()
    await asyncio.wait([owner])
    await database.close()


async def wait(database: Database, id: str, topic: str, type: str, ago: timedelta) -> None:
    row = {"at": datetime.now(UTC) - ago, "topic": topic, "headers": {"ce_type": type.encode()}}
    await database.update_row(database.raw("outbox"), {"_id": id}, {"$set": row}, upsert=True)


async def asked(world: World) -> tuple[Done, dict[str, Any]]:
    done = await world.lianxin("outbox", "enrollment", "--json")
    (found,) = done.facts
    return done, found


async def test_an_empty_one_is_well(world: World, owned: Database) -> None:
    done, found = await asked(world)
    assert (done.code, found["rows"], found["why"]) == (0, 0, [])


async def test_what_is_on_its_way_is_counted_by_type_and_is_well(
    world: World, owned: Database
) -> None:
    for id, type in (("h1/1", "a.v1"), ("h1/2", "b.v1"), ("h1/3", "b.v1")):
        await wait(owned, id, "enrollment.events", type, timedelta(seconds=1))
    done, found = await asked(world)
    assert (done.code, found["rows"], found["why"]) == (0, 3, [])
    assert found["by_type"] == {"b.v1": 2, "a.v1": 1}


async def test_a_topic_that_is_not_there_is_named(world: World, owned: Database) -> None:
    await wait(owned, "h1/1", "enrollment.events", "a.v1", timedelta(seconds=1))
    await wait(owned, "h1/2", "no.such.topic", "a.v1", timedelta(seconds=1))
    done, found = await asked(world)
    assert done.code == 1
    assert found["why"] == [
        "no such topic in Kafka: no.such.topic; `lianxin topics apply` makes it"
    ]


async def test_what_waits_long_for_no_reason_that_is_seen_leads_to_the_log(
    world: World, owned: Database
) -> None:
    await wait(owned, "h1/1", "enrollment.events", "a.v1", timedelta(hours=2))
    done, found = await asked(world)
    assert done.code == 1
    (why,) = found["why"]
    assert "yet they wait for 2 h" in why and "its log says why" in why
