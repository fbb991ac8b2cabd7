"""Does one service read a stretch of a topic again, safely, while it runs?"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest

from libs.common.audit import Outcome
from tests.integration.lianxin.conftest import World
from tests.integration.lianxin.test_trace import DISCHARGED, discharge, handled, new_id
from tests.support.running import Running
from tests.support.toy import eventually

#: Each command is a process that imports six services.
pytestmark = pytest.mark.timeout(300)

TOPIC = "hospital.encounters"


async def forget(of: Running) -> None:
    """As after a restored backup of before: what was handled since is not known any more."""
    for name in await of.database.collection_names() - {"leases", "relay_wake", "audit"}:
        raw = of.database.raw(name)
        rows = await of.database.find_rows(raw, {}, fields=("_id",))
        await of.database.delete_rows(raw, [row["_id"] for row in rows])


async def test_what_a_restored_database_lacks_is_handled_again_and_the_rest_left_out(
    world: World,
) -> None:
    begun = datetime.now(UTC).isoformat()
    ids = [new_id() for _ in range(3)]
    stretch = ("replay", TOPIC, "--into", "enrollment", "--from", begun)
    mine = (*stretch, "--hospital", world.hospital, "--json")
    async with world.service("enrollment") as service:
        await world.publish(*((id, discharge(n)) for n, id in enumerate(ids)))
        for id in ids:
            await handled(world, service, id)
        dry = await world.lianxin(*mine)
        assert dry.facts["would_send"] == 0 and dry.facts["counts"] == {"settled already": 3}

        await forget(service)
        dry = await world.lianxin(*mine)
        assert dry.code == 0 and not dry.facts["applied"]
        assert dry.facts["counts"] == {"new": 3} and dry.facts["types"] == {DISCHARGED: 3}
        assert await service.rows("invitations") == []

        done = await world.lianxin(*mine, "--apply")
        assert done.facts["sent"]["records"] == 3 and done.facts["sent"]["read"]
        assert done.facts["sent"]["fates"] == {"done": 3}
        assert len(await service.rows("invitations")) == 3

        again = await world.lianxin(*mine, "--apply")
        assert again.facts["would_send"] == 0 and not again.facts["applied"]
    row, end = sorted(await world.audit("enrollment"), key=lambda row: row["recorded"])
    assert row["source"]["site"] == "replay" and len(row["entity"]["what"]) == 3
    assert (row["outcome"], end["outcome"]) == (None, Outcome.SUCCESS)


async def test_while_the_service_is_down_they_wait_for_it_and_that_is_said(world: World) -> None:
    id, begun = new_id(), datetime.now(UTC).isoformat()
    stretch = ("replay", TOPIC, "--into", "enrollment", "--from", begun)
    async with world.service("enrollment") as service:
        await world.publish((id, discharge()))
        await handled(world, service, id)
        await forget(service)
    mine = (*stretch, "--hospital", world.hospital, "--apply")
    done = await world.lianxin(*mine)
    assert done.code == 1 and "has not read them all yet" in done.out
    async with world.service("enrollment") as service:

        async def served() -> Any:
            return len(await service.rows("invitations")) == 1

        await eventually(served, world.patience)
