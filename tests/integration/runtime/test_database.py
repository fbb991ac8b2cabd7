"""Does the event loop stay free, and is a transaction over when its block is?"""

from __future__ import annotations

import asyncio
import threading
from contextlib import suppress

import pytest

from libs.common.migrate import Life, migrate, missing
from libs.common.mongo.database import Database
from libs.common.mongo.errors import Unavailable
from tests.support.toy import SPEC, Tally, Toy


class Threads:
    """Which thread sends which command."""

    def __init__(self) -> None:
        self.of: dict[str, list[int]] = {}

    def command_started(self, name: str, collection: str | None, request_id: int) -> None:
        self.of.setdefault(name, []).append(threading.get_ident())

    def command_succeeded(self, request_id: int) -> None: ...

    def command_failed(self, request_id: int, error_type: str) -> None: ...


@pytest.fixture
def threads() -> Threads:
    return Threads()


@pytest.fixture
def database(toy: Toy, threads: Threads) -> Database:
    found = Database(toy.mongo_url, toy.name, spans=threads)
    toy.databases.append(found)
    return found


async def test_a_transaction_is_aborted_beside_the_event_loop(
    database: Database, threads: Threads
) -> None:
    with suppress(ZeroDivisionError):
        async with database.transaction() as tx:
            await tx.insert(database.raw("tallies"), [{"_id": "h1/a"}])
            raise ZeroDivisionError
    assert len(threads.of["abortTransaction"]) == 1
    assert threading.get_ident() not in threads.of["abortTransaction"]
    assert await database.find_rows(database.raw("tallies"), {}) == []


async def test_a_cancelled_transaction_is_over_when_its_task_is(
    database: Database, threads: Threads
) -> None:
    async def write(n: int) -> None:
        async with database.transaction() as tx:
            await tx.insert(database.raw("tallies"), [{"_id": f"h1/{n}"}])
            await tx.insert(database.raw("tallies"), [{"_id": f"h1/{n}-more"}])

    for n in range(30):
        task = asyncio.create_task(write(n))
        await asyncio.sleep(n / 5_000)  # in whatever it is doing then
        task.cancel()
        await asyncio.wait([task])
        began = sum(map(len, threads.of.values()))
        rows = await database.find_rows(
            database.raw("tallies"), {"_id": {"$regex": f"^h1/{n}(-|$)"}}
        )
        assert len(rows) in (0, 2), "all or nothing"
        assert sum(map(len, threads.of.values())) == began + 1, "nothing goes on behind its back"


async def test_a_transaction_that_takes_too_long_begins_no_further_step(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("libs.common.mongo.transaction.TRANSACTION_SECONDS", 0.05)
    with pytest.raises(Unavailable, match="took over"):
        async with database.transaction() as tx:
            await tx.insert(database.raw("tallies"), [{"_id": "h1/a"}])
            await asyncio.sleep(0.1)
    assert await database.find_rows(database.raw("tallies"), {}) == []


async def test_a_service_sees_which_collections_and_indexes_it_lacks(toy: Toy) -> None:
    assert await missing(toy.database, [SPEC]) == []
    await toy.database.raw("tallies").drop_index("hospital_1_group_1")
    assert await missing(toy.database, [SPEC]) == ["tallies: hospital, group"]
    await toy.database.raw("tallies").drop()
    assert await missing(toy.database, [SPEC]) == ["tallies"]
    await migrate(toy.database, [SPEC])
    assert await missing(toy.database, [SPEC]) == []
    assert await missing(toy.database, [SPEC], ["scans"]) == ["scans.chunks", "scans.files"]
    await migrate(toy.database, [SPEC], buckets=["scans"])
    await toy.database.raw("scans.files").drop_index("uploadDate_1")
    assert await missing(toy.database, [SPEC], ["scans"]) == ["scans.files: uploadDate"]
    await migrate(toy.database, [SPEC], buckets=["scans"])
    assert await missing(toy.database, [SPEC], ["scans"]) == []


async def test_how_long_documents_live_is_set_changed_and_taken_back(toy: Toy) -> None:
    for days in (90, 30, 30, 0, 0, 1):
        await migrate(toy.database, [SPEC], [Life(Tally, "at", days)])
        lives = [i["expireAfterSeconds"] for i in await toy.database.indexes("tallies")
                 if "at" in i["key"]]  # fmt: skip
        assert lives == ([days * 86_400] if days else [])
        assert await missing(toy.database, [SPEC]) == []


async def test_a_time_to_live_can_be_changed_by_a_later_version(toy: Toy) -> None:
    for seconds in (60, 60, 90):
        await toy.database.ensure_index("tallies", [("at", 1)], expireAfterSeconds=seconds)
        (index,) = [i for i in await toy.database.indexes("tallies") if "at" in i["key"]]
        assert index["expireAfterSeconds"] == seconds
