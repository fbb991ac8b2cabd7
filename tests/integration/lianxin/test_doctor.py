"""Does the doctor find each fault of a deployment that is planted, and nothing else?

On a broker and a database with TLS, passwords and rights, as an installation has them.
"""

from __future__ import annotations

import asyncio
import base64
import shutil
import ssl
import subprocess
import sys
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from lianxin import installation
from lianxin.checks import Deployment, Findings, certificates
from lianxin.installation import SERVICES
from lianxin.topics import Figures
from libs.common import envelope, topic_registry
from libs.common.cipher import Place
from libs.common.devstack.places import ROOT, free_ports
from libs.common.devstack.stack import Stack
from libs.common.kafka import access as kafka_access
from libs.common.kafka import rights as kafka_rights
from libs.common.kafka.cluster import Cluster, cluster
from libs.common.kafka.rights import Right
from libs.common.mongo.database import Database
from libs.common.mongo.documents import row_of, sealed
from services.interop.domain.document import StoredDocument
from services.interop.edge.tls import server_context
from tests.support import secured
from tests.support.command_line import Said, lianxin

REGISTRY = topic_registry.read(ROOT / topic_registry.FOLDER)


@dataclass(frozen=True)
class World:
    kafka: secured.SecuredBroker
    mongo: secured.SecuredDatabase
    passwords: Mapping[str, str]

    def operator(self) -> dict[str, str]:
        return {
            "ENVIRONMENT": "development",
            "KAFKA_BOOTSTRAP_SERVERS": self.kafka.inside,
            "MONGO_URL": self.mongo.url,
            "MONGO_USERNAME": self.mongo.username,
            "MONGO_PASSWORD": self.mongo.password,
            "MONGO_TLS": "on",
            "MONGO_CA": str(self.mongo.ca),
            "POLICIES_DIR": str(ROOT / "policies"),
        }

    def settings(self, folder: Path, **changes: Mapping[str, str]) -> Path:
        """The services' own variables; those of one of them changed."""
        for name in SERVICES:
            given = self.operator() | {
                "KAFKA_BOOTSTRAP_SERVERS": self.kafka.outside,
                "KAFKA_SECURITY_PROTOCOL": "SASL_SSL",
                "KAFKA_CA": str(self.kafka.ca),
                "KAFKA_USERNAME": name,
                "KAFKA_PASSWORD": self.passwords[name],
            }
            given |= changes.get(name, {})
            lines = [f"{key}={value}" for key, value in given.items()]
            (folder / f"{name}.env").write_text("\n".join(lines))
        return folder

    def asked(self, *arguments: str, folder: Path | None = None) -> tuple[Said, list[Any]]:
        """What is not OK."""
        where = ("--settings", str(folder)) if folder else ()
        said = lianxin("doctor", "--json", *where, *arguments, env=self.operator())
        return said, [f for f in said.facts if f["verdict"] != "OK"]


async def _admitted(kafka: secured.SecuredBroker) -> dict[str, str]:
    passwords = {name: f"{name}-0123456789abcdef" for name in SERVICES}
    async with cluster(kafka.inside) as at:
        for name, password in passwords.items():
            await kafka_access.admit(at, name, password, f"salt-of-{name}-16".encode())
            await kafka_access.allow(at, name, kafka_rights.of_service(name, REGISTRY))
    return passwords


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    folder = tmp_path_factory.mktemp("doctor")
    with secured.broker(folder / "kafka") as kafka, secured.mongo(folder / "mongo") as mongo:
        made = World(kafka, mongo, {})
        assert lianxin("topics", "apply", "--apply", env=made.operator()).code == 0
        yield World(kafka, mongo, asyncio.run(_admitted(kafka)))


def changed(world: World, change: Callable[[Cluster], Awaitable[object]]) -> None:
    async def run() -> None:
        async with cluster(world.kafka.inside) as at:
            await change(at)

    asyncio.run(run())


def rights(name: str, without: Sequence[Right] = (), more: Sequence[Right] = ()) -> list[Right]:
    return [*(r for r in kafka_rights.of_service(name, REGISTRY) if r not in without), *more]


def set_rights(world: World, name: str, wanted: list[Right]) -> None:
    async def change(at: Cluster) -> None:
        await kafka_access.deny(at, name)
        await kafka_access.allow(at, name, wanted)

    changed(world, change)


def found_of(faults: list[Any], of: str) -> str:
    (only,) = faults
    assert (only["of"], only["verdict"]) == (of, "wrong") and only["remedy"]
    return str(only["found"])


READS = Right("topic", "hospital.reports", "Read")


def test_a_sound_cluster_is_sound_whoever_asks(world: World, tmp_path: Path) -> None:
    for folder in (None, world.settings(tmp_path)):
        said, faults = world.asked("--only", "kafka", folder=folder)
        assert (said.code, faults) == (0, [])


@pytest.mark.parametrize("own", [True, False])
def test_a_right_that_is_missing_or_beyond_is_found(
    world: World, tmp_path: Path, own: bool
) -> None:
    folder = world.settings(tmp_path) if own else None
    who = "{0} as {0}" if own else "user {0}"
    try:
        set_rights(world, "reports", rights("reports", without=[READS]))
        said, faults = world.asked("--only", "kafka", folder=folder)
        assert said.code == 1
        assert "may not Read topic hospital.reports" in found_of(faults, who.format("reports"))

        set_rights(world, "reports", rights("reports"))
        secret = Right("topic", "notify.requests", "Read")
        set_rights(world, "messaging", rights("messaging", more=[secret]))
        said, faults = world.asked("--only", "kafka", folder=folder)
        found = found_of(faults, who.format("messaging"))
        assert found == "may also Read topic notify.requests"
    finally:
        for name in ("reports", "messaging"):
            set_rights(world, name, rights(name))


def test_whoever_else_may_something_is_found(world: World, tmp_path: Path) -> None:
    secret, other = Right("topic", "notify.requests", "Read"), Right("topic", "payroll", "Read")
    every = Right("topic", "reports.", "Read", prefixed=True)
    people = {"stranger": [secret], "by.name": [every], "payroll": [other], "lab-kafka": [READS]}
    shutil.copytree(ROOT / "policies", tmp_path / "policies")
    lab = "client: lab\nhospital: h1\nname: LIS\nkafka_user: lab-kafka\n"
    (tmp_path / "policies" / "partners" / "lab.yaml").write_text(lab)
    env = world.operator() | {"POLICIES_DIR": str(tmp_path / "policies")}
    try:
        for name, may in people.items():
            set_rights(world, name, may)
        said = lianxin("doctor", "--json", "--only", "kafka", env=env)
        found = found_of([f for f in said.facts if f["verdict"] != "OK"], "others")
        assert (said.code, found.split(": ")[1]) == (1, "by.name, stranger")
        _, faults = world.asked("--only", "kafka", folder=world.settings(tmp_path))
        assert found_of(faults, "others").split(": ")[1] == "by.name, lab-kafka, stranger"
    finally:
        for name in people:
            set_rights(world, name, [])
    said = lianxin("doctor", "--json", "--only", "kafka", env=env)
    assert said.code == 0


def test_a_service_that_logs_in_as_another_is_found(world: World, tmp_path: Path) -> None:
    wrong = {"KAFKA_USERNAME": "notify", "KAFKA_PASSWORD": world.passwords["notify"]}
    _, faults = world.asked("--only", "kafka", folder=world.settings(tmp_path, reports=wrong))
    found = sorted(f["found"].split(" topic")[0] for f in faults)
    assert {f["of"] for f in faults} == {"reports as notify"}
    assert [text.split(" ")[1] for text in found] == ["also", "not"]


def test_a_wrong_password_and_a_wrong_authority_are_found(world: World, tmp_path: Path) -> None:
    wrong = {"KAFKA_PASSWORD": "guessed-0123456789"}
    _, faults = world.asked("--only", "kafka", folder=world.settings(tmp_path, notify=wrong))
    assert "is not let in" in found_of(faults, "notify as notify")
    other, _ = secured.certificate(tmp_path / "other")
    folder = world.settings(tmp_path, notify={"KAFKA_CA": str(other)})
    _, faults = world.asked("--only", "certificates", folder=folder)
    broken = [f for f in faults if f["verdict"] == "wrong"]
    assert "is not believed: self-signed certificate" in found_of(broken, world.kafka.outside)


def test_a_topic_that_would_lose_events_is_found(world: World) -> None:
    name = "hospital.reports"
    unsafe = {"unclean.leader.election.enable": "true", "min.insync.replicas": "2"}
    safe = {"unclean.leader.election.enable": "false", "min.insync.replicas": "1"}

    async def set_to(at: Cluster, config: dict[str, str]) -> None:
        await at.set_config(name, config)
        for _ in range(300):
            if config.items() <= (await at.topic_configs([name]))[name].items():
                return
            await asyncio.sleep(0.1)

    changed(world, lambda at: set_to(at, unsafe))
    try:
        said, faults = world.asked("--only", "kafka")
        assert said.code == 1
        assert {(f["of"], f["found"].split(":")[0]) for f in faults} == {
            (name, "unclean.leader.election.enable"),
            (name, "min.insync.replicas"),
        }
        assert {f["remedy"] for f in faults} == {"lianxin topics apply"}
    finally:
        changed(world, lambda at: set_to(at, safe))


def test_too_few_brokers_and_copies_are_found(world: World) -> None:
    said, faults = world.asked("--only", "kafka", "--replication", "3", "--min-insync", "2")
    assert said.code == 1
    assert "1 brokers for 3 copies" in {f["found"] for f in faults}
    copies = {f["of"] for f in faults if f["found"] == "copies: 1 instead of 3"}
    assert copies == set(REGISTRY)


def test_certificates_that_soon_run_out_are_told_in_time(world: World, tmp_path: Path) -> None:
    said, faults = world.asked("--only", "certificates", folder=world.settings(tmp_path))
    assert said.code == 0 and {f["verdict"] for f in faults} == {"warning"}
    [mllp] = [f for f in faults if f["of"].startswith("interop MLLP")]
    assert mllp["found"].startswith("can't be asked")  # it does not run here
    assert all("in 0 days" in f["found"] for f in faults if f is not mllp)
    served = {world.kafka.outside, world.mongo.url.split("/")[2]}
    assert served <= {f["of"] for f in faults}
    said, faults = world.asked("--only", "certificates", "--days", "0", folder=tmp_path)
    assert (said.code, faults) == (0, [mllp])


@pytest.mark.parametrize("lasts", [timedelta(days=90), timedelta(days=10), -timedelta(hours=1)])
async def test_what_a_server_shows_is_judged(tmp_path: Path, lasts: timedelta) -> None:
    ca, both = secured.certificate(tmp_path / "tls", lasts)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(both)
    server = await asyncio.start_server(lambda _r, writer: writer.close(), "127.0.0.1", ssl=context)
    found = Findings("certificates")
    async with server:
        port = server.sockets[0].getsockname()[1]
        await certificates._server(found, "127.0.0.1", port, ca, datetime.now(UTC), 30)
    (only,) = found.all
    expected = {90: ("OK", "until"), 10: ("warning", "runs out"), -1: ("wrong", "has expired")}
    verdict, says = expected[lasts.days]
    assert only.verdict == verdict and says in only.found


@pytest.mark.parametrize("tls", [True, False])
async def test_what_mllp_shows_is_judged_at_each_replica(
    tmp_path: Path, tls: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    _, both = secured.certificate(tmp_path / "tls", timedelta(days=10))
    context = server_context(certificate=both) if tls else None

    async def addresses(_host: str) -> list[str]:
        return ["127.0.0.1", "127.0.0.2"]

    monkeypatch.setattr(installation, "addresses", addresses)
    server = await asyncio.start_server(
        lambda _r, writer: writer.close(), ["127.0.0.1", "127.0.0.2"], free_ports(1)[0], ssl=context
    )
    here = installation.Installation(
        installation.CommandSettings(
            environment="development", kafka_bootstrap_servers="away:1", mongo_url="mongodb://away"
        )
    )
    async with server:
        port = server.sockets[0].getsockname()[1]
        for known in (None, both):
            common = here.settings.model_dump(include={"environment", "kafka_bootstrap_servers"})
            interop = here.spec("interop").settings(
                **common, mongo_url="mongodb://away", mllp_port=port, mllp_tls_cert=known
            )
            of = Deployment(here, {"interop": interop}, Figures(1, 1), own=known is not None)
            found = Findings("certificates")
            await certificates._mllp(found, of, datetime.now(UTC))
            verdicts = {f.of: (f.verdict, f.found.split(" (")[0][:8]) for f in found.all}
            names = [f"interop MLLP 127.0.0.{n}:{port}" for n in (1, 2)]
            if tls:
                assert verdicts == dict.fromkeys(names, ("warning", "runs out"))
            elif known:
                assert verdicts == dict.fromkeys(names, ("warning", "no TLS t"))
            else:
                assert verdicts == {}
    found = Findings("certificates")
    await certificates._mllp(found, of, datetime.now(UTC))
    assert {(f.verdict, f.found.split(" (")[0]) for f in found.all} == {
        ("warning", "can't be asked")
    }


def test_files_of_certificates_are_judged(tmp_path: Path) -> None:
    found, now = Findings("certificates"), datetime.now(UTC)
    old, both = secured.certificate(tmp_path / "old", -timedelta(hours=1))
    good, _ = secured.certificate(tmp_path / "good", timedelta(days=90))
    no_file = tmp_path / "none.pem"
    (tmp_path / "text.pem").write_text("no certificate")
    certificates._file(found, "expired", old, None, now, 30)
    certificates._file(found, "another's key", good, both, now, 30)
    certificates._file(found, "no certificate", tmp_path / "text.pem", None, now, 30)
    certificates._file(found, "missing", no_file, None, now, 30)
    certificates._file(found, "good", good, None, now, 30)
    certificates._file(found, "with its key", old, both, now - timedelta(days=1), 0)
    assert [f.verdict for f in found.all] == ["wrong", "wrong", "wrong", "wrong", "OK", "OK"]


def test_indexes_that_migrate_has_not_made_are_found(world: World) -> None:
    said, faults = world.asked("--only", "database")
    assert said.code == 1
    assert {f["of"] for f in faults} == set(SERVICES)
    assert all(f["found"].startswith("missing: ") and "migrate" in f["remedy"] for f in faults)

    migrate = [sys.executable, "-m", "libs.common.migrate", *SERVICES]
    env = world.operator() | {"PATH": "/usr/bin"}
    subprocess.run(migrate, env=env, cwd=ROOT, check=True, timeout=100, capture_output=True)
    said, faults = world.asked("--only", "database")
    assert (said.code, faults) == (0, [])


def test_a_database_or_a_broker_that_is_away_is_said(world: World) -> None:
    away = {
        **world.operator(),
        "KAFKA_BOOTSTRAP_SERVERS": "127.0.0.1:1",
        "MONGO_URL": "mongodb://127.0.0.1:1/?replicaSet=secantus",
    }
    said = lianxin("doctor", "--only", "kafka", "--only", "database", env=away)
    assert said.code == 1
    assert "127.0.0.1:1 does not answer" in said.out and "enrollment" in said.out


def keys(folder: Path, *names: str) -> Path:
    folder.mkdir(mode=0o700)
    for n, name in enumerate(names):
        key = folder / f"{name}.key"
        key.write_bytes(base64.b64encode(bytes([n + 1]) * 32))
        key.chmod(0o400)
        (folder / "active").write_text(name)
    return folder


async def _store_sealed(database: Database, cipher: envelope.Envelope) -> None:
    sha = "0" * 64
    document = StoredDocument(
        hospital="h1", id="d1", patient_id="p1", content_type="application/pdf", title="a title",
        size=1, sha256=sha,
    )  # fmt: skip
    row = row_of(document, cipher)
    raw = database.raw(StoredDocument.COLLECTION)
    await database.update_row(raw, {"_id": row["_id"]}, {"$set": row}, upsert=True)


async def _store_in_the_inbox(database: Database, cipher: envelope.Envelope) -> None:
    place = Place("inbox", "h1|s|1", "result")
    row = {"result": sealed({"count": 1}, place, cipher)}
    raw = database.raw(place.collection)
    await database.update_row(raw, {"_id": place.id}, {"$set": row}, upsert=True)


async def test_keys_are_judged_by_what_is_stored(stack: Stack, tmp_path: Path) -> None:
    ours = keys(tmp_path / "ours", "k1")
    env = {
        "ENVIRONMENT": "development",
        "KAFKA_BOOTSTRAP_SERVERS": stack.bootstrap,
        "MONGO_URL": stack.mongo_url,
        "LIANXIN_DATABASE": f"keys_{tmp_path.name}_{{service}}",
    }

    async def asked(folder: Path) -> list[Any]:
        call = ("doctor", "--only", "keys", "--json")
        said = await asyncio.to_thread(lianxin, *call, env=env | {"CIPHER_KEYS_DIR": str(folder)})
        return [f for f in said.facts if f["verdict"] != "OK"]

    cipher = envelope.Envelope(envelope.KeyFolder(ours))
    database = Database(stack.mongo_url, f"keys_{tmp_path.name}_interop", cipher=cipher)
    try:
        await _store_sealed(database, cipher)
        assert await asked(ours) == []

        other = await asked(keys(tmp_path / "other", "k2"))
        assert [(f["of"], f["verdict"]) for f in other] == [("interop", "wrong")] * 2
        assert "documents can't be opened: the key b'k1' is not there" in other[0]["found"]
        assert (
            "1 of 1 values in the first 500 rows of each collection need k1, which is not there"
            in other[1]["found"]
        )

        both = keys(tmp_path / "both", "k1", "k2")
        await _store_in_the_inbox(database, envelope.Envelope(envelope.KeyFolder(both)))
        (old,) = await asked(both)
        assert (old["of"], old["verdict"]) == ("interop", "warning")
        assert old["found"] == "1 of 2 values in the first 500 rows of each collection need k1"
        assert old["remedy"] == "keep it; python -m libs.common.reseal --to k2 interop"
        await database.delete_rows(database.raw("inbox"), ["h1|s|1"])

        (ours / "k1.key").chmod(0o444)
        assert {f["verdict"] for f in await asked(ours)} == {"warning"}
        (ours / "active").write_text("k7")
        broken = await asked(ours)
        assert {f["of"] for f in broken} == set(SERVICES)
        assert all("there is no key 'k7'" in f["found"] for f in broken)
    finally:
        await database.drop()
        await database.close()
