"""Do the commands that change an installation do what they show, and only that?

On a broker with TLS, passwords and ACLs, as an installation has it.
"""

from __future__ import annotations

import asyncio
import re
import shutil
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from lianxin.backup_files import MANIFEST, Manifest, Offset
from lianxin.installation import Installation
from lianxin.retire import suspend
from libs.common import audit, topic_registry
from libs.common.audit import Outcome
from libs.common.broker import Broker
from libs.common.devstack.places import ROOT
from libs.common.devstack.stack import Stack
from libs.common.kafka import access as kafka_access
from libs.common.kafka import rights as kafka_rights
from libs.common.kafka.client import BusError
from libs.common.kafka.cluster import cluster
from libs.common.kafka.rights import Right
from libs.common.mongo.database import Database
from services.interop.domain.partners import Retired
from services.interop.domain.subscription import RETIRED
from tests.support import secured
from tests.support.command_line import lianxin

REGISTRY = topic_registry.read(ROOT / topic_registry.FOLDER)
SUBSCRIPTIONS = "subscriptions"


@pytest.fixture(scope="module")
def kafka(tmp_path_factory: pytest.TempPathFactory) -> Iterator[secured.SecuredBroker]:
    with secured.broker(tmp_path_factory.mktemp("kafka")) as broker:
        yield broker


@pytest.fixture
def env(kafka: secured.SecuredBroker, stack: Stack, tmp_path: Path) -> Mapping[str, str]:
    """As the operator, with policies of one's own. One broker can't keep more than one copy."""
    shutil.copytree(ROOT / "policies", tmp_path / "policies")
    return {
        "ENVIRONMENT": "development",
        "KAFKA_BOOTSTRAP_SERVERS": kafka.inside,
        "MONGO_URL": stack.mongo_url,
        "POLICIES_DIR": str(tmp_path / "policies"),
        "LIANXIN_DATABASE": "partners_{service}",
        "LIANXIN_OPERATOR": "w.chen",
    }


async def _spoil(bootstrap: str) -> None:
    async with cluster(bootstrap) as at:
        name = "hospital.reports"
        await at.set_config(name, {"retention.ms": "1000", "segment.ms": "3600000"})
        for _ in range(300):  # until the broker has taken it up
            if (await at.topic_configs([name]))[name]["retention.ms"] == "1000":
                return
            await asyncio.sleep(0.1)
    raise AssertionError("never taken up")


async def _config(bootstrap: str, topic: str) -> dict[str, str]:
    async with cluster(bootstrap) as at:
        return (await at.topic_configs([topic]))[topic]


def test_topics_are_made_and_mended_and_nothing_else_is_touched(
    kafka: secured.SecuredBroker, stack: Stack, env: Mapping[str, str]
) -> None:
    before = lianxin("topics", "diff", "--json", env=env)
    assert before.code == 1
    assert {d["topic"] for d in before.facts} == set(REGISTRY)

    shown = lianxin("topics", "apply", env=env)
    assert shown.code == 1 and f"{len(REGISTRY)} would be mended" in shown.out
    assert lianxin("topics", "diff", "--json", env=env).facts == before.facts

    done = lianxin("topics", "apply", "--apply", env=env)
    assert done.code == 0, done
    assert lianxin("topics", "diff", env=env).code == 0

    asyncio.run(_spoil(kafka.inside))
    found = lianxin("topics", "diff", "--json", env=env).facts
    assert [(d["topic"], d["what"], d["found"]) for d in found] == [
        ("hospital.reports", "retention.ms", "1000")
    ]
    assert lianxin("topics", "apply", "--apply", env=env).code == 0
    mended = asyncio.run(_trail(stack.mongo_url, "hospital.reports retention.ms=2592000000"))
    assert mended == [
        ("topics apply", "U", "", None),
        ("topics apply", "U", "", Outcome.SUCCESS),
    ]
    config = asyncio.run(_config(kafka.inside, "hospital.reports"))
    # What the registry says nothing about was the operator's, and stays.
    assert (config["retention.ms"], config["segment.ms"]) == ("2592000000", "3600000")


def test_partitions_are_added_only_by_whom_keys_may_move_for(
    kafka: secured.SecuredBroker, env: Mapping[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    assert lianxin("topics", "apply", "--apply", env=env).code == 0
    more = REGISTRY["hospital.staff"].model_copy(update={"partitions": 8})
    wanted = {**REGISTRY, "hospital.staff": more}
    monkeypatch.setattr(topic_registry, "read", lambda _folder: wanted)

    refused = lianxin("topics", "apply", "--apply", env=env)
    assert refused.code == 1 and "keys move" in refused.out
    done = lianxin("topics", "apply", "--apply", "--move-keys", env=env)
    assert done.code == 0, done

    async def partitions() -> int:
        async with cluster(kafka.inside) as at:
            return (await at.topics(["hospital.staff"]))["hospital.staff"].partitions

    assert asyncio.run(partitions()) == 8


def test_copies_are_not_moved_but_told(
    env: Mapping[str, str],
) -> None:
    lianxin("topics", "apply", "--apply", env=env)
    asked = lianxin("topics", "apply", "--apply", "--replication", "3", "--json", env=env)
    assert asked.code == 1
    found = {(d["found"], d["action"]) for d in asked.facts if d["what"] == "copies"}
    assert found == {("1", None)}


ADD = (
    *("partner", "add", "lab", "--hospital", "h1", "--name", "检验科 LIS"),
    *("--source", "https://lab.hospital.example/", "--publish", "hospital.reports"),
    *("--subscribe", "reports.events", "--kafka", "cluster"),
)


async def _may(broker: Broker, topic: str) -> frozenset[str]:
    async with cluster(broker) as at:
        found = await at.topics([topic])
        return found[topic].may if topic in found else frozenset()


async def _subscriptions(url: str, rows: list[dict[str, Any]] | None) -> list[dict[str, Any]]:
    database = Database(url, "partners_interop")
    try:
        raw = database.raw(SUBSCRIPTIONS)
        for row in rows or ():
            await database.update_row(raw, {"_id": row["_id"]}, {"$set": row}, upsert=True)
        return await database.find_rows(raw, {}, sort=(("_id", 1),))
    finally:
        await database.close()


async def _trail(url: str, what: str) -> list[tuple[str, str, str, str | None]]:
    """Of what is so named, in their order: command, action, hospital, how it ended."""
    database = Database(url, "partners_interop")
    try:
        raw = database.raw(audit.COLLECTION)
        rows = await database.find_rows(raw, {"entity.what": what}, sort=(("recorded", 1),))
    finally:
        await database.close()
    assert {row["agent"]["who"] for row in rows} <= {"w.chen"}
    runs = list(dict.fromkeys(row["correlation_id"] for row in rows))
    assert [row["correlation_id"] for row in rows] == [run for run in runs for _ in range(2)]
    return [(r["source"]["site"], r["action"], r["hospital"], r["outcome"]) for r in rows]


async def _retired(url: str) -> set[str]:
    database = Database(url, "partners_interop")
    try:
        return {r["_id"] for r in await database.find_rows(database.raw(Retired.COLLECTION), {})}
    finally:
        await database.close()


def test_a_partner_comes_and_goes(
    kafka: secured.SecuredBroker, stack: Stack, env: Mapping[str, str]
) -> None:
    lianxin("topics", "apply", "--apply", env=env)
    file = Path(env["POLICIES_DIR"]) / "partners" / "lab.yaml"

    shown = lianxin(*ADD, env=env)
    assert shown.code == 0 and "Nothing was done yet" in shown.out and not file.exists()

    done = lianxin(*ADD, "--apply", env=env)
    assert done.code == 0, done
    assert file.exists() and "检验科 LIS" in file.read_text("utf-8")
    (password,) = re.findall(r"never again: (\S+)", done.out)
    lab = Broker(kafka.outside, "SASL_SSL", ca=kafka.ca, username="lab", password=password)
    assert asyncio.run(_may(lab, "hospital.reports")) == {"Write", "Describe"}
    assert asyncio.run(_may(lab, "reports.events")) == {"Read", "Describe"}
    assert asyncio.run(_may(lab, "notify.requests")) == frozenset()

    now = datetime.now(UTC)
    rows = [
        {"_id": f"h1/{id}", "hospital": "h1", "id": id, "client": client, "status": status,
         "version": 4, "changed_at": now, "reason": ""}
        for id, client, status in (
            ("a", "lab", "active"), ("b", "lab", "requested"), ("c", "lab", "deleted"),
            ("d", "sample-partner", "active"), ("e", "lab", "suspended"), ("f", "lab", "suspended"),
        )
    ]  # fmt: skip
    rows[4]["reason"], rows[5]["reason"] = "gone", RETIRED
    asyncio.run(_subscriptions(stack.mongo_url, rows))
    listed = {p["client"]: p for p in lianxin("partner", "list", "--json", env=env).facts}
    assert listed["lab"]["subscriptions"] == {"active": 1, "requested": 1, "suspended": 2}

    assert lianxin("partner", "retire", "lab", env=env).code == 0
    assert file.exists() and asyncio.run(_may(lab, "reports.events"))

    retired = lianxin("partner", "retire", "lab", "--apply", "--json", env=env)
    assert retired.code == 0, retired
    assert retired.facts["subscriptions"] == ["h1/a", "h1/b", "h1/e"]
    assert len(retired.facts["kafka_rights"]) == 5
    assert not file.exists() and file.with_name("lab.yaml.retired").exists()
    with pytest.raises(BusError):
        asyncio.run(_may(lab, "reports.events"))
    after = {str(r["id"]): r for r in asyncio.run(_subscriptions(stack.mongo_url, None))}
    assert [(id, r["status"], r["version"]) for id, r in after.items()] == [
        ("a", "suspended", 5), ("b", "suspended", 5), ("c", "deleted", 4), ("d", "active", 4),
        ("e", "suspended", 5), ("f", "suspended", 4),
    ]  # fmt: skip
    assert {id for id, r in after.items() if r["reason"] == RETIRED} == {"a", "b", "e", "f"}
    # Not since now: it was suspended before.
    assert after["e"]["changed_at"] == after["d"]["changed_at"] < after["a"]["changed_at"]
    assert asyncio.run(_trail(stack.mongo_url, "kafka/lab")) == [
        ("partner add", "C", "h1", None),
        ("partner add", "C", "h1", Outcome.SUCCESS),
        ("partner retire", "D", "h1", None),
        ("partner retire", "D", "h1", Outcome.SUCCESS),
    ]
    assert "h1/lab" in asyncio.run(_retired(stack.mongo_url))

    for more in ((), ("--apply",), ("--kafka-user", "lab", "--apply")):
        nobody = lianxin("partner", "retire", "lab", *more, env=env)
        assert nobody.code == 2 and "There is no partner lab" in nobody.err


AWAY = {"KAFKA_BOOTSTRAP_SERVERS": "127.0.0.1:1"}
WEB = ("partner", "add", "by-http", "--hospital", "h1", "--name", "By HTTP", "--apply")


def test_who_is_added_while_kafka_is_away_is_recorded_all_the_same(
    stack: Stack, env: Mapping[str, str]
) -> None:
    away = {**env, **AWAY}
    assert lianxin(*WEB, env=away).code == 0
    cluster = [*WEB]
    cluster[2] = "by-kafka"
    failed = lianxin(*cluster, "--kafka", "cluster", "--subscribe", "reports.events", env=away)
    assert failed.code == 3, failed
    folder = Path(env["POLICIES_DIR"]) / "partners"
    assert not (folder / "by-kafka.yaml").exists()
    for client, ended in (("by-http", Outcome.SUCCESS), ("by-kafka", Outcome.SERIOUS_FAILURE)):
        assert asyncio.run(_trail(stack.mongo_url, client)) == [
            ("partner add", "C", "h1", None),
            ("partner add", "C", "h1", ended),
        ]


def test_a_file_that_can_not_be_written_is_named(env: Mapping[str, str]) -> None:
    folder = Path(env["POLICIES_DIR"]) / "partners"
    shutil.rmtree(folder)
    add = [*WEB]
    add[2] = "nowhere"
    said = lianxin(*add, env=env)
    assert said.code == 2
    assert f"{folder}/nowhere.yaml: No such file or directory." in said.err


@pytest.mark.parametrize("from_the_beginning", [True, False])
def test_a_partner_is_retired_as_far_as_can_be_and_the_next_run_finishes(
    kafka: secured.SecuredBroker,
    stack: Stack,
    env: Mapping[str, str],
    monkeypatch: pytest.MonkeyPatch,
    from_the_beginning: bool,
) -> None:
    client = f"ward-{from_the_beginning}".lower()
    lianxin("topics", "apply", "--apply", env=env)
    add = ("partner", "add", client, "--hospital", "h1", "--name", "x", "--subscribe",
           "reports.events", "--kafka", "cluster", "--kafka-user", f"{client}-k")  # fmt: skip
    assert lianxin(*add, "--apply", env=env).code == 0
    row: dict[str, Any] = {"_id": f"h1/{client}", "hospital": "h1", "id": client, "reason": ""}
    row |= {"client": client, "status": "active", "version": 1, "changed_at": datetime.now(UTC)}
    asyncio.run(_subscriptions(stack.mongo_url, [row]))

    retire = ("partner", "retire", client, "--apply")
    with monkeypatch.context() as broken:
        broken.setattr(kafka_access, "deny", _breaks)
        if from_the_beginning:
            broken.setattr(kafka_access, "everybodys_rights", _breaks)
        first = lianxin(*retire, env=env)
    assert first.code == 3, first
    assert f"whatever the user {client}-k may there STAYS" in first.out
    assert f"partner retire {client} --kafka-user {client}-k --apply" in first.out
    (after,) = (r for r in asyncio.run(_subscriptions(stack.mongo_url, None)) if r["id"] == client)
    assert (after["status"], after["reason"]) == ("suspended", RETIRED)
    assert f"h1/{client}" in asyncio.run(_retired(stack.mongo_url))
    file = Path(env["POLICIES_DIR"]) / "partners" / f"{client}.yaml"
    assert not file.exists() and file.with_name(f"{client}.yaml.retired").exists()
    assert asyncio.run(_rights(kafka, f"{client}-k"))

    # Its user in Kafka, which the file that was set aside names, need not be said.
    assert lianxin(*retire, env=env).code == 0
    assert asyncio.run(_rights(kafka, f"{client}-k")) == set()
    assert lianxin(*retire, env=env).code == 2
    ends = [ended for *_, ended in asyncio.run(_trail(stack.mongo_url, client))]
    assert ends[3::2] == [Outcome.MINOR_FAILURE, Outcome.SUCCESS]

    assert lianxin(*add, "--apply", env=env).code == 0, "and may come again"
    assert f"h1/{client}" not in asyncio.run(_retired(stack.mongo_url))


async def _breaks(*_: object) -> None:
    raise ConnectionResetError("in the middle")


def test_who_is_retired_and_has_a_file_all_the_same_is_named(env: Mapping[str, str]) -> None:
    add = [*WEB]
    add[2] = "again"
    folder = Path(env["POLICIES_DIR"]) / "partners"
    assert lianxin(*add, env=env).code == 0
    assert lianxin("partner", "retire", "again", "--apply", "--json", env=env).facts["undone"] == []
    (folder / "again.yaml.retired").rename(folder / "again.yaml")
    listed = lianxin("partner", "list", env=env)
    assert listed.code == 1 and "again was retired, has a file all the same" in listed.out
    (folder / "again.yaml").unlink()
    assert lianxin(*add, env=env).code == 0
    assert "again was retired" not in lianxin("partner", "list", env=env).out


@pytest.mark.parametrize(("by_then", "reason"), [("suspended", RETIRED), ("deleted", "gone")])
async def test_what_interop_suspends_meanwhile_is_a_retired_partners_all_the_same(
    stack: Stack,
    env: Mapping[str, str],
    monkeypatch: pytest.MonkeyPatch,
    by_then: str,
    reason: str,
) -> None:
    for name, value in env.items():
        monkeypatch.setenv(name, value)
    row = {"_id": "h1/g", "hospital": "h1", "id": "g", "client": "his", "reason": "gone"}
    await _subscriptions(stack.mongo_url, [{**row, "status": by_then, "version": 5}])
    installation = Installation.of_environment()
    async with installation.open():
        await suspend(installation, {**row, "status": "active", "version": 4})
    (found,) = (r for r in await _subscriptions(stack.mongo_url, None) if r["id"] == "g")
    assert (found["status"], found["reason"]) == (by_then, reason)
    await _subscriptions(stack.mongo_url, [{**row, "status": "deleted"}])


async def _login(kafka: secured.SecuredBroker, user: str) -> Broker:
    """A user who may nothing."""
    async with cluster(kafka.inside) as at:
        await kafka_access.admit(at, user, "0123456789abcdef", b"salt-of-a-user-16")
    return Broker(
        kafka.outside, "SASL_SSL", ca=kafka.ca, username=user, password="0123456789abcdef"
    )


def test_a_user_who_has_no_rights_is_taken_away_with_the_file_or_by_its_name(
    kafka: secured.SecuredBroker, env: Mapping[str, str]
) -> None:
    lianxin("topics", "apply", "--apply", env=env)
    add = ("partner", "add", "pacs", "--hospital", "h1", "--name", "PACS", "--apply")
    for user, asked in (("pacs", ()), ("half-way", ("--kafka-user", "half-way"))):
        login = asyncio.run(_login(kafka, user))
        assert asyncio.run(_may(login, "reports.events")) == frozenset()
        if user == "pacs":
            assert lianxin(*add, env=env).code == 0
        else:  # a name alone may be another's
            assert lianxin("partner", "retire", user, "--apply", env=env).code == 2
            assert asyncio.run(_may(login, "reports.events")) == frozenset()
        retired = lianxin("partner", "retire", user, *asked, "--apply", "--json", env=env)
        assert retired.facts["kafka_user"] == user and not retired.facts["kafka_kept"], retired
        with pytest.raises(BusError):
            asyncio.run(_may(login, "reports.events"))


def test_who_may_not_dismiss_retires_a_partner_without_rights_all_the_same(
    kafka: secured.SecuredBroker, env: Mapping[str, str]
) -> None:
    lianxin("topics", "apply", "--apply", env=env)
    ours = {**env, **asyncio.run(_as_operator(kafka))}
    add = ("partner", "add", "web", "--hospital", "h1", "--name", "By HTTP", "--apply")
    assert lianxin(*add, env=ours).code == 0
    retired = lianxin("partner", "retire", "web", "--apply", "--json", env=ours)
    assert retired.facts["kafka_kept"] == "", retired


def test_the_user_of_another_name_is_not_forgotten(
    kafka: secured.SecuredBroker, env: Mapping[str, str]
) -> None:
    lianxin("topics", "apply", "--apply", env=env)
    add = ("partner", "add", "ris", "--hospital", "h1", "--name", "RIS", "--subscribe",
           "reports.events", "--kafka", "cluster", "--kafka-user", "ris-kafka")  # fmt: skip
    assert lianxin(*add, "--apply", env=env).code == 0
    file = Path(env["POLICIES_DIR"]) / "partners" / "ris.yaml"
    said = file.read_text("utf-8")
    assert "kafka_user: ris-kafka" in said

    file.write_text(said.replace("kafka_user: ris-kafka", ""))  # as files of before had it
    shown = lianxin("partner", "retire", "ris", "--json", env=env)
    assert (shown.code, shown.facts["kafka_rights"]) == (1, [])
    assert "ris-kafka" in shown.facts["kafka_unknown"]
    assert "--kafka-user" in lianxin("partner", "retire", "ris", env=env).out

    file.write_text(said)
    retired = lianxin("partner", "retire", "ris", "--apply", "--json", env=env)
    assert retired.code == 0, retired
    assert retired.facts["kafka_user"] == "ris-kafka" and retired.facts["kafka_rights"]
    assert asyncio.run(_rights(kafka, "ris-kafka")) == set()


async def _rights(kafka: secured.SecuredBroker, user: str) -> set[Right]:
    async with cluster(kafka.inside) as at:
        return await kafka_access.rights(at, user)


def test_who_is_there_already_is_not_added_again(env: Mapping[str, str]) -> None:
    again = [*ADD]
    again[2] = "sample-partner"
    said = lianxin(*again, env=env)
    assert said.code == 2 and "sample-partner is another partner's, too" in said.err


async def _as_operator(kafka: secured.SecuredBroker) -> dict[str, str]:
    """The command line's own user, where another keeps users and rights."""
    password = "cli-0123456789abcdef"
    async with cluster(kafka.inside) as at:
        await kafka_access.admit(at, "cli", password, b"salt-of-the-cli-16")
        await kafka_access.allow(at, "cli", kafka_rights.of_operators(REGISTRY))
        await kafka_access.allow(at, "app", [Right("topic", "reports.events", "Read")])
    return {
        "KAFKA_BOOTSTRAP_SERVERS": kafka.outside,
        "KAFKA_SECURITY_PROTOCOL": "SASL_SSL",
        "KAFKA_CA": str(kafka.ca),
        "KAFKA_USERNAME": "cli",
        "KAFKA_PASSWORD": password,
    }


def test_who_may_not_take_rights_away_says_so_and_does_the_rest(
    kafka: secured.SecuredBroker, env: Mapping[str, str]
) -> None:
    lianxin("topics", "apply", "--apply", env=env)
    ours = {**env, **asyncio.run(_as_operator(kafka))}
    app = ("partner", "add", "app", "--hospital", "h1", "--name", "An app")
    assert lianxin(*app, "--subscribe", "reports.events", "--apply", env=ours).code == 0
    retired = lianxin("partner", "retire", "app", "--apply", env=ours)
    assert retired.code == 1, retired
    assert "1 rights of the user app STAY" in retired.out
    assert "kubectl delete kafkauser app" in retired.out
    assert not (Path(env["POLICIES_DIR"]) / "partners" / "app.yaml").exists()


def test_a_group_is_rewound_by_operators_and_by_its_service_s_own_user_alone(
    kafka: secured.SecuredBroker, env: Mapping[str, str], tmp_path: Path
) -> None:
    lianxin("topics", "apply", "--apply", env=env)
    folder = tmp_path / "reports"
    folder.mkdir()
    noted = [Offset(topic="hospital.reports", partition=0, offset=0)]
    stood = Manifest(
        service="reports", database="d", group="lianxin.reports", at=datetime.now(UTC),
        collections={}, offsets=noted,
    )  # fmt: skip
    (folder / MANIFEST).write_text(stood.model_dump_json(), "utf-8")
    rewind = ("backup", "rewind", str(folder), "--apply")

    async def admitted(service: str) -> dict[str, str]:
        password = f"{service}-0123456789abcdef"
        async with cluster(kafka.inside) as at:
            await kafka_access.admit(at, service, password, f"salt-of-{service}-16".encode())
            await kafka_access.allow(at, service, kafka_rights.of_service(service, REGISTRY))
        return {"KAFKA_USERNAME": service, "KAFKA_PASSWORD": password}

    operator = {**env, **asyncio.run(_as_operator(kafka))}
    refused = lianxin(*rewind, env={**operator, **asyncio.run(admitted("messaging"))})
    assert refused.code == 3 and "whether this user may do that" in refused.err, refused
    for user in ({}, asyncio.run(admitted("reports"))):
        done = lianxin(*rewind, env={**operator, **user})
        assert done.code == 0, done
