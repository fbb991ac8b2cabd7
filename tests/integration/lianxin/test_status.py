"""Does ``lianxin status`` say OK of what is well, and what is wrong of what is not?"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from libs.common.devstack.places import free_ports
from tests.integration.lianxin.conftest import World
from tests.integration.lianxin.test_trace import discharge, handled, new_id

#: Each command is a process that imports six services.
pytestmark = pytest.mark.timeout(300)


def of(facts: dict[str, Any], service: str) -> dict[str, Any]:
    (found,) = (s for s in facts["services"] if s["service"] == service)
    return dict(found)


async def test_a_service_that_is_well_has_nothing_to_look_at(world: World) -> None:
    async with world.service("enrollment") as service:
        await world.publish((id := new_id(), discharge()))
        await handled(world, service, id)
        done = await world.lianxin("status", "--json")
    well = of(done.facts, "enrollment")
    assert well["look"] == []
    assert (well["serves"], well["owned"], well["members"]) == ("ready", True, 1)
    assert (well["lag"], well["dead_letters"], well["consumer_stopped"]) == ({}, 0, False)
    # The others were never started, and each part that they lack is named.
    lacks = " ".join(of(done.facts, "messaging")["look"])
    assert "HTTP does not answer" in lacks and "nobody owns its lease" in lacks
    assert "has no member" in lacks
    assert done.code == 1 and not done.facts["well"]


async def test_what_waits_is_late_or_was_set_aside_is_named(world: World) -> None:
    async with world.service("enrollment") as service:
        row = world.copy_of(discharge("3"), new_id())
        await world.send(row._replace(value=b"not json"))
        await world.publish((id := new_id(), discharge()))
        await handled(world, service, id)
    long_ago = datetime.now(UTC) - timedelta(hours=2)
    database = service.stack.database(f"{world.prefix}-enrollment")
    raw = database.raw("timers")
    await database.update_row(raw, {"_id": "late"}, {"$set": {"next": long_ago}}, upsert=True)
    raw = database.raw("outbox")
    await database.update_row(raw, {"_id": "left"}, {"$set": {"at": long_ago}}, upsert=True)
    await database.close()
    await world.publish((new_id(), discharge("4")))
    found = of((await world.lianxin("status", "--json")).facts, "enrollment")
    said = " ".join(found["look"])
    assert "1 events wait in its outbox, the oldest for 2 h" in said
    assert "1 timers are late, by up to 2 h" in said
    assert "a dead letter came" in said and found["dead_letters"] == 1
    assert "nobody reads its topics" in said and sum(found["lag"].values()) >= 1


async def test_a_broker_or_a_database_that_is_away_hides_nothing_of_the_rest(
    world: World,
) -> None:
    kafka, mongo = free_ports(2)
    async with world.service("enrollment"):
        blind = await world.lianxin(
            "status", "--json", KAFKA_BOOTSTRAP_SERVERS=f"127.0.0.1:{kafka}"
        )
        assert of(blind.facts, "enrollment")["owned"] is True
        assert "Kafka does not answer" in " ".join(of(blind.facts, "enrollment")["look"])
        url = f"mongodb://127.0.0.1:{mongo}/?replicaSet=rs0"
        blind = await world.lianxin("status", "--json", MONGO_URL=url)
        found = of(blind.facts, "enrollment")
        assert (found["members"], found["owned"]) == (1, None)
        assert "the database does not answer" in " ".join(found["look"])
        shown = await world.lianxin("status", MONGO_URL=url)
        assert shown.code == 1 and "all: the database does not answer" in shown.out
