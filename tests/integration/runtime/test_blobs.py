"""Is a large content stored once, through the cipher, and read back as it was?"""

from __future__ import annotations

import asyncio
import os
from hashlib import sha256
from typing import Any

import pytest
from motor.motor_asyncio import AsyncIOMotorClient
from pymongo import AsyncMongoClient

from libs.common.blobs import BUCKET, StoredBlobs
from libs.common.mongo import Database
from tests.integration.runtime.test_cipher import Backwards
from tests.support.toy import HOSPITAL, Toy

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
    assert not await bucket.has(f"{HOSPITAL}/{NAME}")
    await asyncio.gather(*(blobs.put(HOSPITAL, {NAME: content}) for _ in range(4)))
    assert await blobs.whole(HOSPITAL, NAME) == content
    files = toy.database.raw(f"{BUCKET}.files")
    before = await toy.database.size(files)
    await blobs.put(HOSPITAL, {NAME: content})
    assert await toy.database.size(files) == before
