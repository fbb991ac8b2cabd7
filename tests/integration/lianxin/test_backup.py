"""Does a backup bring a service back, so that what came since is taken again and nothing twice?

The data is lost for good here: the database is dropped while its topics live on.
"""

from __future__ import annotations

import asyncio
import gzip
import json
import uuid
from collections.abc import Mapping
from datetime import timedelta
from pathlib import Path

import pytest

from libs.common.audit import Outcome
from libs.common.broker import Broker
from libs.common.cloudevents import decode
from libs.common.devstack.stack import Stack
from libs.common.events import EVENT_TYPES, EncounterDischarged, InvitationIssued
from libs.common.kafka.admin import Kafka
from libs.common.mongo.database import Database
from libs.common.mongo.documents import Row
from services.enrollment.main import SPEC
from tests.support.command_line import Said, lianxin
from tests.support.examples import cloud_event
from tests.support.running import Running, running
from tests.support.toy import eventually


async def run(*arguments: str, env: Mapping[str, str]) -> Said:
    return await asyncio.to_thread(lianxin, *arguments, env=env)


async def backed_up(into: Path, env: Mapping[str, str]) -> Path:
    asked = ("backup", "create", str(into), "--service", "enrollment", "--json")
    made = await run(*asked, env=env)
    assert made.code == 0, made
    return Path(made.facts["folder"]) / "enrollment"


async def discharge(service: Running, *patients: str) -> None:
    given = cloud_event("hospital.encounter.discharged.v1/adult").data
    assert isinstance(given, EncounterDischarged)
    at = service.now() - timedelta(hours=1)
    await service.publish(
        *(
            (
                f"discharge-{patient}",
                given.model_copy(
                    update={"encounter_id": f"e-{patient}", "patient_id": patient,
                            "discharged_at": at}
                ),
            )
            for patient in patients
        )
    )  # fmt: skip


async def invited(service: Running, count: int) -> list[str]:
    async def all_of_them() -> bool:
        return len(await service.rows("invitations")) >= count

    await eventually(all_of_them, 60)
    return sorted(row["patient_id"] for row in await service.rows("invitations"))


async def told(service: Running) -> dict[str, list[str]]:
    """Whose each told invitation is, as often as it was told, by the event's id."""
    kafka, found = Kafka(Broker(service.stack.bootstrap)), dict[str, list[str]]()
    try:
        spans = await kafka.ends(await kafka.places([InvitationIssued.TOPIC]))
        async for record in kafka.records(spans):
            headers = dict(record.headers)
            if headers["ce_hospital"] != service.hospital.encode():
                continue
            event = decode(record.headers, record.value, EVENT_TYPES)
            if isinstance(event.data, InvitationIssued):
                found.setdefault(event.id, []).append(event.data.patient_id)
    finally:
        await kafka.close()
    return found


def environment(stack: Stack, name: str) -> dict[str, str]:
    return {
        "ENVIRONMENT": "development",
        "KAFKA_BOOTSTRAP_SERVERS": stack.bootstrap,
        "MONGO_URL": stack.mongo_url,
        "LIANXIN_DATABASE": name,
        "LIANXIN_GROUP": name,
        "LIANXIN_OPERATOR": "w.chen",
    }


async def test_what_was_lost_is_brought_back_and_what_came_since_is_taken_again(
    stack: Stack, tmp_path: Path
) -> None:
    name = f"restored-{uuid.uuid4().hex[:8]}"
    env = environment(stack, name)
    async with running(stack, SPEC, name=name) as service:
        await discharge(service, "p1", "p2", "p3")
        assert await invited(service, 3) == ["p1", "p2", "p3"]
        before = await service.rows("invitations")

        folder = await backed_up(tmp_path, env)
        # It goes on while it is copied, and after.
        await discharge(service, "p4", "p5")
        assert await invited(service, 5) == ["p1", "p2", "p3", "p4", "p5"]

        busy = await run("backup", "rewind", str(folder), "--apply", env=env)
        assert busy.code == 2 and "stop enrollment first" in busy.err
        full = await run("backup", "restore", str(folder), "--into", name, "--apply", env=env)
        assert full.code == 2 and "is not empty" in full.err
    lost = Database(stack.mongo_url, name)
    await lost.drop()
    await lost.close()

    shown = await run("backup", "restore", str(folder), "--into", name, env=env)
    assert shown.code == 0 and "with --apply" in shown.out
    done = await run("backup", "restore", str(folder), "--into", name, "--apply", env=env)
    assert done.code == 0, done
    rewound = await run("backup", "rewind", str(folder), "--apply", env=env)
    assert rewound.code == 0, rewound

    hospital = service.hospital
    async with running(stack, SPEC, name=name) as again:
        again.hospital = hospital
        assert await invited(again, 5) == ["p1", "p2", "p3", "p4", "p5"]
        after = {row["_id"]: row for row in await again.rows("invitations")}
        for row in before:
            assert after[row["_id"]] == row
        trail = sorted(await again.rows("audit", hospital=""), key=lambda row: str(row["recorded"]))
        who = {r["agent"]["who"] for r in trail if r["source"]["observer"] == "/lianxin"}
        did = [as_told(r) for r in trail if r["source"]["observer"] == "/lianxin"]
        # How the backup ended can't be in it.
        restored = [("backup create", None), ("backup restore", Outcome.SUCCESS)]
        rewound_ = [("backup rewind", None), ("backup rewind", Outcome.SUCCESS)]
        assert (did, who) == (restored + rewound_, {"w.chen"})

        async def sent() -> bool:
            return not await again.rows("outbox")

        await eventually(sent, 30)
        # What is told again has the id that it had: who has heard it knows it.
        heard = sorted((len(whose), whose[0]) for whose in (await told(again)).values())
        assert heard == [(1, "p1"), (1, "p2"), (1, "p3"), (2, "p4"), (2, "p5")]


async def test_without_a_note_of_the_backup_a_group_goes_back_to_a_time(stack: Stack) -> None:
    """As after the cluster's own backup, whose name is when it began."""
    name = f"rewound-{uuid.uuid4().hex[:8]}"
    env, asked = environment(stack, name), ("backup", "rewind", "--service", "enrollment")
    async with running(stack, SPEC, name=name) as service:
        began = (service.now() - timedelta(minutes=5)).isoformat()
        await discharge(service, "p1", "p2")
        assert await invited(service, 2) == ["p1", "p2"]
        busy = await run(*asked, "--from", began, "--apply", env=env)
        assert busy.code == 2 and "stop enrollment first" in busy.err
    kafka = Kafka(Broker(stack.bootstrap))
    try:
        stood = await kafka.committed(name)
        shown = await run(*asked, "--from", began, env=env)
        assert shown.code == 0 and "Nothing was done" in shown.out
        assert await kafka.committed(name) == stood
        done = await run(*asked, "--from", began, "--apply", env=env)
        assert done.code == 0, done
        stands = await kafka.committed(name)
        assert all(offset <= stood[place] for place, offset in stands.items() if place in stood)
        assert sum(stood[place] - stands[place] for place in stood) >= 2
    finally:
        await kafka.close()
    nowhere = await run(*asked, "--from", began, env={**env, "LIANXIN_GROUP": f"{name}-other"})
    assert nowhere.code == 2 and "stands nowhere yet" in nowhere.err


async def small(stack: Stack) -> tuple[str, dict[str, str]]:
    """A database of enrollment's with a few documents."""
    name = f"kept-{uuid.uuid4().hex[:8]}"
    database = Database(stack.mongo_url, name)
    raw = database.raw("invitations")
    for n in range(5):
        row = {"hospital": "h", "id": str(n), "token_hash": str(n)}
        await database.update_row(raw, {"_id": f"h/{n}"}, {"$set": row}, upsert=True)
    await database.update_row(
        database.raw("leases"), {"_id": "owner"}, {"$set": {"beat": 1}}, upsert=True
    )
    await database.close()
    return name, environment(stack, name)


async def test_who_looks_at_a_copy_stands_in_the_services_own_trail(
    stack: Stack, tmp_path: Path
) -> None:
    name, env = await small(stack)
    folder = await backed_up(tmp_path, env)
    restore = ("backup", "restore", str(folder), "--into", f"{name}-2")
    own, copy = Database(stack.mongo_url, name), Database(stack.mongo_url, f"{name}-2")
    try:
        assert (await run(*restore, env=env)).code == 0
        created = [("backup create", None), ("backup create", Outcome.SUCCESS)]
        assert await trail_of(own) == created
        assert (await run(*restore, "--apply", env=env)).code == 0
        restored = ("backup restore", Outcome.SUCCESS)
        assert await trail_of(own) == [*created, ("backup restore", None), restored]
        assert await trail_of(copy) == [created[0], restored]
        # Where there is no service's database there is no trail, and it stays empty to restore to.
        await asyncio.gather(own.drop(), copy.drop())
        assert (await run(*restore, "--apply", env=env)).code == 0
        assert await own.collection_names() == set()
    finally:
        await copy.drop()
        await asyncio.gather(own.close(), copy.close())


async def trail_of(database: Database) -> list[tuple[str, str | None]]:
    rows = await database.find_rows(database.raw("audit"), {}, sort=(("recorded", 1),))
    return [as_told(row) for row in rows]


def as_told(row: Row) -> tuple[str, str | None]:
    """Of a record in the trail: by which command, and how it ended."""
    return row["source"]["site"], row["outcome"]


@pytest.mark.parametrize("harm", ["cut", "changed", "document", "manifest", "missing"])
async def test_a_damaged_backup_is_seen_and_not_restored(
    stack: Stack, tmp_path: Path, harm: str
) -> None:
    name, env = await small(stack)
    folder = await backed_up(tmp_path, env)
    whole = await run("backup", "verify", str(folder.parent), "--json", env=env)
    assert whole.code == 0
    assert list(whole.facts["services"][0]["collections"]) == ["audit", "invitations"]
    file = folder / "invitations.bson.gz"
    match harm:
        case "cut":
            file.write_bytes(file.read_bytes()[:-20])
        case "changed":
            content = gzip.decompress(file.read_bytes())
            file.write_bytes(gzip.compress(content.replace(b"h/3", b"h/9")))
        case "document":
            content = gzip.decompress(file.read_bytes())
            file.write_bytes(gzip.compress(content[: len(content) // 5 * 4]))
        case "manifest":
            (folder / "backup.json").write_text("{}")
        case _:
            file.unlink()
    seen = await run("backup", "verify", str(folder), env=env)
    assert seen.code == 1 and str(folder) in seen.err
    kept = await run("backup", "restore", str(folder), "--into", f"{name}-2", "--apply", env=env)
    assert kept.code == 1 and "Restore from another backup" in kept.err


async def test_a_backup_is_its_owners_alone_and_holds_no_who_is_running(
    stack: Stack, tmp_path: Path
) -> None:
    name, env = await small(stack)
    folder = await backed_up(tmp_path, env)
    files = {path.name for path in folder.iterdir()}
    assert files == {"audit.bson.gz", "invitations.bson.gz", "backup.json"}
    assert folder.stat().st_mode & 0o077 == 0
    assert (folder / "invitations.bson.gz").stat().st_mode & 0o077 == 0
    manifest = json.loads((folder / "backup.json").read_text())
    assert manifest["collections"]["invitations"]["documents"] == 5
    assert manifest["database"] == name
