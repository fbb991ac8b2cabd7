"""Is a large content stored once, through the cipher, and read back as it was?"""

from __future__ import annotations

import asyncio
import os
from datetime import datetime, timedelta
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest
from motor.motor_asyncio import AsyncIOMotorClient
from pymongo import AsyncMongoClient

from libs.common.blobs import BUCKET, REST, StoredBlobs
from libs.common.cipher import CantOpen
from libs.common.clock import SystemClock
from libs.common.envelope import Envelope, KeyFolder
from libs.common.mongo.database import Database
from libs.common.reseal import keys_in_use, reseal
from tests.integration.runtime.test_cipher import Backwards
from tests.support.toy import HOSPITAL, Toy, eventually
from tests.unit.common.test_envelope import key

LARGE = os.urandom(30 * 1024 * 1024)
NAME = sha256(LARGE).hexdigest()


@pytest.mark.parametrize("driver", [AsyncIOMotorClient, AsyncMongoClient])
@pytest.mark.parametrize("cipher", [None, Backwards()])
async def test_thirty_megabytes_come_back(
    toy: Toy, driver: type[Any], cipher: Backwards | None
) -> None:
    database = Database(toy.mongo_url, toy.name, driver=driver, cipher=cipher)
    toy.databases.append(database)
    blobs = StoredBlobs(database)
    await blobs.put(HOSPITAL, {NAME: LARGE, "none": b""})
    assert await blobs.whole(HOSPITAL, NAME) == LARGE
    assert await blobs.whole(HOSPITAL, "none") == b""
    with pytest.raises(KeyError):
        await blobs.whole("another", NAME)
    rows = await database.find_rows(database.raw(f"{BUCKET}.chunks"), {"n": 0}, limit=1)
    assert rows[0]["data"].startswith(LARGE[:32]) is (cipher is None)


async def test_what_is_stored_twice_or_at_once_or_was_cut_off_is_whole(toy: Toy) -> None:
    blobs, content = StoredBlobs(toy.database), LARGE[: 3 * 1024 * 1024]
    bucket = toy.database.bucket(BUCKET)

    def broken() -> Any:
        yield content[:600_000]
        raise OSError("the sender's disk")

    with pytest.raises(OSError):
        await bucket.write(f"{HOSPITAL}/{NAME}", broken())
    assert not await bucket.has(f"{HOSPITAL}/{NAME}", SystemClock().now())
    await asyncio.gather(*(blobs.put(HOSPITAL, {NAME: content}) for _ in range(4)))
    assert await blobs.whole(HOSPITAL, NAME) == content
    files = toy.database.raw(f"{BUCKET}.files")
    before = await toy.database.size(files)
    await blobs.put(HOSPITAL, {NAME: content})
    assert await toy.database.size(files) == before


async def test_files_are_stored_anew_with_a_new_key_while_they_are_read(
    toy: Toy, tmp_path: Path
) -> None:
    plain = StoredBlobs(toy.database)
    await plain.put(HOSPITAL, {"before": LARGE[:400_000], "none": b""})
    key(tmp_path, "k1")
    databases = [
        Database(toy.mongo_url, toy.name, cipher=Envelope(KeyFolder(tmp_path), takes_plain=takes))
        for takes in (True, False)
    ]
    toy.databases += databases
    begun, strict = databases
    blobs = StoredBlobs(begun)
    assert await blobs.whole(HOSPITAL, "before") == LARGE[:400_000]
    with pytest.raises(CantOpen):
        await StoredBlobs(strict).whole(HOSPITAL, "before")
    await blobs.put(HOSPITAL, {NAME: LARGE[:700_000]})
    key(tmp_path, "k2")
    fresh = Database(
        toy.mongo_url, toy.name, cipher=Envelope(KeyFolder(tmp_path), takes_plain=True)
    )
    toy.databases.append(fresh)
    reading = blobs.read(HOSPITAL, NAME)
    read = await anext(reading)
    assert await keys_in_use(fresh, [], [BUCKET]) == {"": 1, "k1": 1}
    assert (await keys_in_use(fresh, [], [BUCKET], most=1)).total() == 1
    resealing = asyncio.create_task(reseal(fresh, [], [BUCKET], read_out=1.0))
    files = toy.database.raw(f"{BUCKET}.files")

    async def both() -> bool:
        return await toy.database.size(files) == 5

    await eventually(both)
    assert read + b"".join([piece async for piece in reading]) == LARGE[:700_000]
    assert await resealing == 2
    assert await toy.database.size(files) == 3, "the older ones are gone"
    assert await reseal(fresh, [], [BUCKET], read_out=0) == 0
    assert await keys_in_use(fresh, [], [BUCKET]) == {"k2": 2}
    (tmp_path / "k1.key").unlink()
    last = Database(toy.mongo_url, toy.name, cipher=Envelope(KeyFolder(tmp_path)))
    toy.databases.append(last)
    assert await StoredBlobs(last).whole(HOSPITAL, NAME) == LARGE[:700_000]
    assert await StoredBlobs(last).whole(HOSPITAL, "before") == LARGE[:400_000]
    chunks = await last.find_rows(last.raw(f"{BUCKET}.chunks"), {"n": 0})
    assert len(chunks) == 2 and all(b"k2" in row["data"][:16] for row in chunks)


async def test_a_file_that_was_cut_off_or_copied_from_another_does_not_open(
    toy: Toy, tmp_path: Path
) -> None:
    key(tmp_path, "k1")
    database = Database(toy.mongo_url, toy.name, cipher=Envelope(KeyFolder(tmp_path)))
    toy.databases.append(database)
    blobs = StoredBlobs(database)
    await blobs.put(HOSPITAL, {"a": LARGE[:5_000], "b": LARGE[5_000:10_000]})
    files, chunks = (database.raw(f"{BUCKET}.{part}") for part in ("files", "chunks"))
    a, b = [(await files.find_one({"filename": f"{HOSPITAL}/{n}"}))["_id"] for n in "ab"]
    (first,) = await database.find_rows(chunks, {"files_id": a})
    await chunks.update_one({"files_id": b}, {"$set": {"data": first["data"]}})
    with pytest.raises(CantOpen, match="another place"):
        await blobs.whole(HOSPITAL, "b")
    await chunks.update_one({"files_id": a}, {"$set": {"data": first["data"][:4_000]}})
    await files.update_one({"_id": a}, {"$set": {"length": 4_000}})
    with pytest.raises(CantOpen, match="cut off"):
        await blobs.whole(HOSPITAL, "a")


class Later(SystemClock):
    """So much later than it is."""

    def __init__(self) -> None:
        self.by = timedelta()

    def now(self) -> datetime:
        return super().now() + self.by


async def test_what_nothing_names_goes_once_it_has_rested_and_not_before(toy: Toy) -> None:
    clock, asked = Later(), list[str]()
    blobs = StoredBlobs(toy.database, clock)
    await blobs.put(HOSPITAL, {"named": LARGE[:600_000], "left": LARGE[:700_000]})
    await blobs.put("h2", {"named": b"another hospital's"})

    async def is_named(hospital: str, sha256: str) -> bool:
        asked.append(sha256)
        return (hospital, sha256) == (HOSPITAL, "named")

    assert await blobs.sweep(is_named) == (0, 0)
    clock.by = REST + timedelta(minutes=1)
    assert await blobs.sweep(is_named) == (3, 2)
    assert await blobs.whole(HOSPITAL, "named") == LARGE[:600_000]
    for hospital, gone in ((HOSPITAL, "left"), ("h2", "named")):
        with pytest.raises(KeyError):
            await blobs.whole(hospital, gone)
    chunks = await toy.database.find_rows(toy.database.raw(f"{BUCKET}.chunks"), {}, fields=("n",))
    assert len(chunks) == 3, "those of the one that is left"
    assert await blobs.sweep(is_named) == (0, 0), "the named one rests again"
    assert sorted(asked) == ["left", "named", "named"]


async def test_what_is_wanted_again_while_it_is_looked_at_stays(toy: Toy) -> None:
    clock = Later()
    blobs = StoredBlobs(toy.database, clock)
    await blobs.put(HOSPITAL, {NAME: b"a scan"})
    clock.by = REST + timedelta(minutes=1)

    async def sent_again_just_now(hospital: str, sha256: str) -> bool:
        await blobs.put(hospital, {sha256: b"a scan"})
        return False

    assert await blobs.sweep(sent_again_just_now) == (1, 0)
    assert await blobs.whole(HOSPITAL, NAME) == b"a scan"
    assert await blobs.sweep(sent_again_just_now) == (0, 0)
