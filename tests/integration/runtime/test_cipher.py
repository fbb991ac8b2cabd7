"""Does personal data pass the cipher on its way into the database and out of it?"""

from __future__ import annotations

import asyncio
import shutil
from collections import Counter
from pathlib import Path

import pytest

from libs.common import envelope
from libs.common import reseal as resealing
from libs.common.cipher import CantOpen, Place, sealed_fields
from libs.common.envelope import Envelope, KeyFolder
from libs.common.events import EncounterDischarged
from libs.common.fates import Fate
from libs.common.mongo.database import Database
from libs.common.mongo.documents import sealed
from libs.common.reseal import keys_in_use, reseal
from tests.support.toy import HOSPITAL, SPEC, Replica, Tally, Toy, tick_command
from tests.unit.common.test_envelope import key


class Backwards:
    """No cipher, but one can see that it was at work, and for which hospital."""

    takes_plain = False

    def is_sealed(self, value: bytes) -> bool:
        return b":" in value

    def seal(self, place: Place, plain: bytes) -> bytes:
        return place.hospital.encode() + b":" + plain[::-1]

    def open(self, place: Place, sealed: bytes) -> bytes:
        assert sealed.startswith(place.hospital.encode() + b":")
        return sealed[len(place.hospital) + 1 :][::-1]


async def test_marked_fields_and_waiting_events_are_sealed_at_rest_and_whole_outside(
    toy: Toy,
) -> None:
    database = Database(toy.mongo_url, toy.name, cipher=Backwards())
    toy.databases.append(database)
    replica = Replica(toy, database)
    async with replica.running("commands"):
        await replica.commands.submit(tick_command(toy, "a", 1, id="k"))
        await replica.commands.submit(tick_command(toy, "a", 2, id="l", then="later"))
        (row,) = await toy.rows("tallies")
        assert row["remark"].startswith(b"h1:")
        assert b"remark 2" not in row["remark"]
        assert row["count"] == 2
        assert all(b'"name"' not in r["value"] for r in await toy.rows("outbox"))
        tally = await database.collection(SPEC).get(HOSPITAL, "a")
        assert isinstance(tally, Tally)
        assert tally.remark == "remark 2"
        assert all(r["result"].startswith(b"h1:") for r in await toy.rows("inbox"))
        assert [r["data"][:3] for r in await toy.rows("timers")] == [b"h1:"]
        again = await replica.commands.submit(tick_command(toy, "a", 1, id="k"))
        assert (again.fate, again.result) == (Fate.DUPLICATE, {"count": 1})
        replica.start("lease", "relay", "timers")
        events = await toy.published(lambda found: len(found) == 3)
    assert [e.sequence for e in events] == [1, 2, 3]


def test_personal_data_is_found_in_nested_models_too() -> None:
    assert {"patient", "guardians"} <= sealed_fields(EncounterDischarged)
    assert "encounter_id" not in sealed_fields(EncounterDischarged)


def cipher_of(folder: Path, *, takes_plain: bool = False) -> Envelope:
    return Envelope(KeyFolder(folder), takes_plain=takes_plain)


async def test_a_key_is_replaced_under_load_and_nobody_notices(
    toy: Toy, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(envelope, "_LOOK", 0.05)
    key(tmp_path, "k1")
    databases = [Database(toy.mongo_url, toy.name, cipher=cipher_of(tmp_path)) for _ in range(3)]
    toy.databases += databases
    first, second = Replica(toy, databases[0]), Replica(toy, databases[1])
    stop = asyncio.Event()
    asked: Counter[str] = Counter()

    async def load(replica: Replica, who: str) -> None:
        while not stop.is_set():
            for name in ("a", "b", "c"):
                id = f"{who}-{name}-{asked[name]}"
                asked[name] += 1
                await replica.commands.submit(tick_command(toy, name, 1, id=id))

    async with first.running("commands"), second.running("commands"), asyncio.TaskGroup() as group:
        group.create_task(load(first, "first"))
        group.create_task(load(second, "second"))
        await asyncio.sleep(0.5)
        key(tmp_path, "k2", active=False)
        (tmp_path / "active").write_text("k2")
        await asyncio.sleep(0.3)
        assert await reseal(databases[2], [SPEC]) > 0
        await asyncio.sleep(0.3)
        stop.set()
    (tmp_path / "k1.key").unlink()
    rows = [*await toy.rows("tallies"), *await toy.rows("outbox"), *await toy.rows("inbox")]
    values = [row.get("remark") or row.get("value") or row["result"] for row in rows]
    assert {value[4:6] for value in values} == {b"k2"}
    fresh = Database(toy.mongo_url, toy.name, cipher=cipher_of(tmp_path))
    toy.databases.append(fresh)
    tallies = await fresh.collection(SPEC).find(HOSPITAL)
    assert {t.id: t.count for t in tallies} == asked
    assert {t.remark for t in tallies} == {"remark 1"}


async def test_a_replica_whose_mount_is_behind_is_seen_by_what_is_left(
    toy: Toy, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(envelope, "_LOOK", 0.0)
    ours, theirs = tmp_path / "ours", tmp_path / "theirs"
    ours.mkdir()
    key(ours, "k1")
    key(ours, "k2", active=False)
    shutil.copytree(ours, theirs)
    (ours / "active").write_text("k2")
    here, behind = (
        Database(toy.mongo_url, toy.name, cipher=cipher_of(folder)) for folder in (ours, theirs)
    )
    toy.databases += [here, behind]
    replica = Replica(toy, behind)
    async with replica.running("commands"):
        await replica.commands.submit(tick_command(toy, "a", 1, id="k", then="later"))
        assert await reseal(here, [SPEC]) == 4
        assert await keys_in_use(here, [SPEC]) == {"k2": 4}
        await replica.commands.submit(tick_command(toy, "b", 1, id="l"))
        assert await keys_in_use(here, [SPEC]) == {"k2": 4, "k1": 3}
        (theirs / "active").write_text("k2")
        await replica.commands.submit(tick_command(toy, "c", 1, id="m"))
    assert await reseal(here, [SPEC]) == 3
    assert await keys_in_use(here, [SPEC]) == {"k2": 10}


async def test_the_command_refuses_another_key_than_the_active_and_fails_while_any_is_needed(
    toy: Toy, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    key(tmp_path, "k1")
    for name, value in {
        "ENVIRONMENT": "development",
        "MONGO_URL": toy.mongo_url,
        "MONGO_DATABASE": toy.name,
        "CIPHER_KEYS_DIR": str(tmp_path),
    }.items():
        monkeypatch.setenv(name, value)
    place = Place("inbox", "h1|s|1", "result")
    row = {"_id": place.id, "result": sealed({"count": 1}, place, cipher_of(tmp_path))}
    await toy.database.update_row(
        toy.database.raw("inbox"), {"_id": place.id}, {"$set": row}, upsert=True
    )
    key(tmp_path, "k2", active=False)
    with pytest.raises(SystemExit, match="k1 is active here and not k2"):
        await resealing._main(["--to", "k2", "reports"])
    (tmp_path / "active").write_text("k2")
    with monkeypatch.context() as behind:  # as if a replica had written all of it afterwards
        behind.setattr(resealing, "reseal", lambda *_: asyncio.sleep(0, 0))
        assert await resealing._main(["--to", "k2", "reports"]) == 1
        assert "reports: 0 values were sealed anew with k2; left: 1 under k1" in _said(capsys)
    assert await resealing._main(["--to", "k2", "reports"]) == 0
    assert "1 values were sealed anew with k2; nothing is left" in _said(capsys)


def _said(capsys: pytest.CaptureFixture[str]) -> str:
    return capsys.readouterr().out


async def test_a_value_that_was_copied_to_another_record_is_no_answer(
    toy: Toy, tmp_path: Path
) -> None:
    key(tmp_path, "k1")
    database = Database(toy.mongo_url, toy.name, cipher=cipher_of(tmp_path))
    toy.databases.append(database)
    replica = Replica(toy, database)
    async with replica.running():
        await toy.publish([toy.event("a", 1), toy.event("b", 1)])
        await toy.published(lambda found: len(found) == 2)
        mine, other = await toy.rows("tallies")
        change = {"$set": {"remark": other["remark"]}}
        await toy.database.update_row(toy.database.raw("tallies"), {"_id": mine["_id"]}, change)
        with pytest.raises(CantOpen):
            await database.collection(SPEC).get(HOSPITAL, mine["id"])
        await toy.publish([toy.event(mine["id"], 2), toy.event(other["id"], 2)])
        (letter,) = await toy.letters(1)
        assert letter["dlq_reason"] == "rule_failed"
        found = await toy.published(lambda found: len(found) == 3)
    assert {e.subject for e in found[-1:]} <= {"a", "b"}
    assert await toy.tallies() == {mine["id"]: 1, other["id"]: 2}


async def test_what_was_stored_before_is_sealed_beside_the_running_services(
    toy: Toy, tmp_path: Path
) -> None:
    key(tmp_path, "k1")
    replica = Replica(toy, toy.database)
    async with replica.running("commands"):
        await replica.commands.submit(tick_command(toy, "a", 1, id="k", then="later"))
    begun, strict = (
        Database(toy.mongo_url, toy.name, cipher=cipher_of(tmp_path, takes_plain=plain))
        for plain in (True, False)
    )
    toy.databases += [begun, strict]
    with pytest.raises(CantOpen, match="not sealed"):
        await strict.collection(SPEC).get(HOSPITAL, "a")
    assert await keys_in_use(begun, [SPEC]) == {"": 4}
    assert await reseal(begun, [SPEC]) == 4  # a document, an answer, a timer, an event
    assert await reseal(begun, [SPEC]) == 0
    tally = await strict.collection(SPEC).get(HOSPITAL, "a")
    assert isinstance(tally, Tally)
    assert tally.remark == "remark 1"
    replica = Replica(toy, strict)
    async with replica.running("commands", "lease", "relay", "timers"):
        events = await toy.published(lambda found: len(found) == 2)
    assert [e.sequence for e in events] == [1, 2]


async def test_a_key_that_is_not_there_yet_loses_nothing(toy: Toy, tmp_path: Path) -> None:
    ours, theirs = tmp_path / "ours", tmp_path / "theirs"
    for folder in (ours, theirs):
        folder.mkdir()
    key(ours, "k1")
    key(theirs, "k2")
    toy.databases += (database := Database(toy.mongo_url, toy.name, cipher=cipher_of(ours)),)
    toy.databases += (behind := Database(toy.mongo_url, toy.name, cipher=cipher_of(theirs)),)
    async with (replica := Replica(toy, database)).running("commands"):
        await replica.commands.submit(tick_command(toy, "a", 1, id="k"))
    async with Replica(toy, behind).running():
        await toy.publish([toy.event("a", 2)])
        await asyncio.sleep(1.5)
        assert await toy.tallies() == {"a": 1}
        shutil.copy(ours / "k1.key", theirs)
        await toy.published(lambda found: len(found) == 2)
    assert await toy.tallies() == {"a": 2}
