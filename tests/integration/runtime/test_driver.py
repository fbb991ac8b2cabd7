"""Would the stores work on PyMongo's own asynchronous client, Motor's successor?

docs/adr/0004: the driver is changed in one module when its time has come. This keeps the
way open: the runtime's whole path on ``AsyncMongoClient``.
"""

from __future__ import annotations

import asyncio

from pymongo import AsyncMongoClient

from libs.common.mongo.database import Database
from libs.common.mongo.errors import Conflict
from tests.support.toy import Replica, Toy, eventually, tick_command


async def test_the_whole_path_runs_on_the_successor_of_the_driver(toy: Toy) -> None:
    database = Database(toy.mongo_url, toy.name, driver=AsyncMongoClient)
    replica = Replica(toy, database)
    await toy.publish([toy.event(f"p{i % 10}", i // 10 + 1) for i in range(100)])
    await toy.publish([toy.event("p0", 11, then="later")])
    async with replica.running():
        await asyncio.gather(
            *(replica.commands.submit(tick_command(toy, "q", i, id=f"k{i}")) for i in range(20))
        )

        async def settled() -> bool:
            tallies = await toy.tallies()
            return tallies.get("p0") == 12 and tallies.get("q") == 20 and len(tallies) == 11

        await eventually(settled)
        await toy.published(lambda found: len({e.id for e in found}) == 122)
    try:
        async with database.transaction() as tx:
            await tx.insert(database.raw("tallies"), [{"_id": "h1/q"}])
    except Conflict:
        pass
    else:
        raise AssertionError("a duplicate key must be a conflict on this driver, too")
    await database.close()
