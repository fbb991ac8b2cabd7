"""Does the doctor see what a developer's machine may have and an installation may not?"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from lianxin.checks import (
    Deployment,
    Finding,
    Findings,
    Verdict,
    certificates,
    clocks,
    database,
    settings,
)
from lianxin.installation import SERVICES, Installation
from lianxin.output import Failed
from lianxin.topics import Figures
from libs.common.mongo.errors import Unavailable
from libs.common.settings import Settings

#: As an installation has them.
SOUND = {
    "ENVIRONMENT": "production",
    "KAFKA_BOOTSTRAP_SERVERS": "lianxin-kafka-kafka-bootstrap:9093",
    "KAFKA_SECURITY_PROTOCOL": "SASL_SSL",
    "KAFKA_USERNAME": "a-service",
    "KAFKA_PASSWORD": "0123456789abcdef-kafka",
    "MONGO_URL": "mongodb://lianxin-mongodb-0:27017/?replicaSet=lianxin",
    "MONGO_USERNAME": "a-service",
    "MONGO_PASSWORD": "0123456789abcdef-mongo",
    "MONGO_TLS": "on",
    "OIDC_ISSUER": "https://id.hospital.example",
    "OIDC_JWKS_URL": "https://id.hospital.example/keys",
    "PUBLIC_BASE_URL": "https://patients.hospital.example",
    "PRESCRIPTIONS_PUBLIC_URL": "https://patients.hospital.example",
    "INTEROP_PUBLIC_URL": "https://interop.hospital.example",
    "MLLP_PORT": "0",
}


def written(folder: Path, keys: Path, **changes: Mapping[str, str]) -> Path:
    """The services' variables, those of one of them changed."""
    folder.mkdir(exist_ok=True)
    for name in SERVICES:
        given = {**SOUND, "CIPHER_KEYS_DIR": str(keys), **changes.get(name, {})}
        lines = [f"{key}={value}" for key, value in given.items() if value != "-"]
        (folder / f"{name}.env").write_text("\n".join(lines))
    return folder


def examined(folder: Path) -> list[Finding]:
    installation = Installation.of_environment(
        {"MONGO_URL": "mongodb://away/?replicaSet=rs0", "KAFKA_BOOTSTRAP_SERVERS": "away:9093"}
    )
    services, unreadable = settings.read(installation, folder)
    of = Deployment(installation, services, Figures(3, 2), own=True)
    return [*unreadable, *settings.examine(of)]


def faults(found: list[Finding]) -> Iterator[tuple[str, Verdict, str]]:
    return ((f.of, f.verdict, f.found) for f in found if f.verdict is not Verdict.OK)


@pytest.fixture(autouse=True)
def elsewhere(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in SOUND:
        monkeypatch.delenv(name, raising=False)


def test_what_is_each_service_s_own_is_not_guessed_at_from_the_operators_pod(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is told what all share (deploy/k8s/components/cli)."""
    own = ("PUBLIC_BASE_URL", "PRESCRIPTIONS_PUBLIC_URL", "INTEROP_PUBLIC_URL", "MLLP_PORT")
    shared = {name: value for name, value in SOUND.items() if name not in own}
    shared |= {"CIPHER_KEYS_DIR": str(tmp_path)}
    for name, value in shared.items():
        monkeypatch.setenv(name, value)
    installation = Installation.of_environment()
    services, unreadable = settings.read(installation, None)
    of = Deployment(installation, services, Figures(3, 2), own=False)
    assert list(faults([*unreadable, *settings.examine(of)])) == []


def test_those_of_an_installation_are_sound(tmp_path: Path) -> None:
    assert list(faults(examined(written(tmp_path / "env", tmp_path)))) == []


@pytest.mark.parametrize(
    ("change", "verdict", "says"),
    [
        ({"KAFKA_SECURITY_PROTOCOL": "SASL_PLAINTEXT"}, Verdict.WRONG, "KAFKA_SECURITY_PROTOCOL"),
        ({"MONGO_TLS": "off"}, Verdict.WRONG, "MONGO_TLS=off"),
        ({"MONGO_USERNAME": "-", "MONGO_PASSWORD": "-"}, Verdict.WRONG, "without a user"),
        ({"MONGO_URL": "mongodb://u:secret@db/?replicaSet=a"}, Verdict.WRONG, "holds a password"),
        ({"MONGO_URL": "mongodb://db"}, Verdict.WARNING, "names no replica set"),
        ({"MONGO_URL": "-"}, Verdict.WRONG, "MONGO_URL is mongodb://127.0.0.1"),
        ({"KAFKA_BOOTSTRAP_SERVERS": "-"}, Verdict.WRONG, "KAFKA_BOOTSTRAP_SERVERS is 127.0.0.1"),
        ({"PUBLIC_BASE_URL": "-"}, Verdict.WRONG, "PUBLIC_BASE_URL is http://127.0.0.1"),
        ({"KAFKA_PASSWORD": "changeme"}, Verdict.WRONG, "KAFKA_PASSWORD can be guessed"),
        ({"MONGO_PASSWORD": "a-service"}, Verdict.WRONG, "MONGO_PASSWORD can be guessed"),
        ({"OIDC_ISSUER": "-"}, Verdict.WRONG, "OIDC_ISSUER must be an https URL"),
        ({"OIDC_JWKS_URL": "https://x/dev-issuer/jwks.json"}, Verdict.WRONG, "development issuer"),
        ({"KAFKA_IDEMPOTENCE": "off"}, Verdict.WRONG, "KAFKA_IDEMPOTENCE=off"),
        ({"CIPHER_KEYS_DIR": "-"}, Verdict.WARNING, "CIPHER_KEYS_DIR is not set"),
        ({"CIPHER_TAKES_PLAIN": "on"}, Verdict.WARNING, "CIPHER_TAKES_PLAIN=on"),
        ({"ENVIRONMENT": "development"}, Verdict.WARNING, "ENVIRONMENT=development"),
        ({"KAFKA_PASSWORD": "-"}, Verdict.WRONG, "KAFKA_USERNAME and KAFKA_PASSWORD"),
        ({"GROUP_LIMIT": "many"}, Verdict.WRONG, "GROUP_LIMIT: Input should be a valid integer"),
    ],
)
def test_each_thing_that_may_not_be_is_seen(
    tmp_path: Path, change: dict[str, str], verdict: Verdict, says: str
) -> None:
    found = list(faults(examined(written(tmp_path / "env", tmp_path, enrollment=change))))
    assert [(of, v) for of, v, said in found if says in said] == [("enrollment", verdict)], found


def test_hl7_in_clear_is_seen(tmp_path: Path) -> None:
    folder = written(tmp_path / "env", tmp_path, interop={"MLLP_PORT": "2575"})
    (only,) = faults(examined(folder))
    assert only[:2] == ("interop", Verdict.WARNING) and "MLLP without TLS" in only[2]


def test_services_that_do_not_agree_are_seen(tmp_path: Path) -> None:
    folder = written(tmp_path / "env", tmp_path, notify={"HOSPITAL_TIME_ZONE": "Asia/Urumqi"})
    (only,) = faults(examined(folder))
    assert only[:2] == ("all", Verdict.WRONG)
    assert "HOSPITAL_TIME_ZONE is not the same" in only[2] and "(notify)" in only[2]


def test_an_address_is_told_without_the_password_in_it(tmp_path: Path) -> None:
    url = "mongodb://notify:not-to-be-told@localhost/?replicaSet=a"
    found = examined(written(tmp_path / "env", tmp_path, notify={"MONGO_URL": url}))
    told = [f.found for f in found if "mongodb://" in f.found]
    assert len(told) == 2  # it is this machine's, and another than the others'
    assert all("…@localhost/?replicaSet=a" in each for each in told)
    assert "not-to-be-told" not in str(found)


def test_a_broker_without_a_port_is_asked_at_kafkas_own() -> None:
    told = Settings(kafka_security_protocol="SSL", kafka_bootstrap_servers="a, b:9093")
    assert [at[:2] for at in certificates._served(told)] == [("a", 9092), ("b", 9093)]


def test_a_service_without_its_file_is_asked_for(tmp_path: Path) -> None:
    folder = written(tmp_path / "env", tmp_path)
    (folder / "notify.env").unlink()
    with pytest.raises(Failed, match=r"notify\.env is missing"):
        examined(folder)


@pytest.mark.parametrize(
    ("apart", "verdict"),
    [(0.5, Verdict.OK), (-1.9, Verdict.OK), (4, Verdict.WARNING), (-40, Verdict.WRONG)],
)
def test_clocks_that_are_apart_are_seen(apart: float, verdict: Verdict) -> None:
    now, found = datetime(2026, 1, 1, tzinfo=UTC), Findings("clocks")
    clocks.compare(found, "notify", now, now + timedelta(seconds=apart), now)
    assert [f.verdict for f in found.all] == [verdict]


def test_an_answer_that_took_long_is_no_proof_of_a_wrong_clock() -> None:
    now, found = datetime(2026, 1, 1, tzinfo=UTC), Findings("clocks")
    clocks.compare(found, "notify", now, now + timedelta(seconds=9), now + timedelta(seconds=10))
    assert [f.verdict for f in found.all] == [Verdict.OK]


def on(db: str | None, *actions: str) -> dict[str, object]:
    resource = {"cluster": True} if db is None else {"db": db, "collection": ""}
    return {"resource": resource, "actions": list(actions)}


OWN = on("lianxin_notify", "find", "insert", "update", "remove", "changeStream", "createIndex")


@pytest.mark.parametrize(
    ("users", "privileges", "verdict", "says"),
    [
        (["notify"], [OWN], Verdict.OK, "may write lianxin_notify, and nothing else"),
        (["notify"], [], Verdict.WRONG, "may not changeStream, find, insert, remove, update in"),
        (["notify"], [on("lianxin_notify", "find")], Verdict.WRONG, "may not changeStream, insert"),
        (["notify"], [OWN, on("lianxin_reports", "find")], Verdict.WRONG, "find … on lianxin_rep"),
        (["root"], [OWN, on("", "find")], Verdict.WRONG, "find … on every database"),
        (["root"], [OWN, on(None, "shutdown")], Verdict.WRONG, "shutdown … on the cluster"),
        ([], [], Verdict.WRONG, "asks nobody for a password"),
    ],
)
def test_what_the_databases_user_may_is_judged(
    users: list[str], privileges: list[object], verdict: Verdict, says: str
) -> None:
    found, named = Findings("database"), [{"user": user, "db": "admin"} for user in users]
    info = {"authenticatedUsers": named, "authenticatedUserPrivileges": privileges}
    database.judge_user(found, "notify", "lianxin_notify", info, production=True)
    (only,) = found.all
    assert only.verdict is verdict and says in only.found


async def test_a_disk_that_this_user_may_not_see_is_a_warning() -> None:
    """MongoDB refuses dbStats to whoever has a service's rights (code 13)."""

    class Refuses:
        async def ask(self, command: str, *, admin: bool = True) -> dict[str, object]:
            raise Unavailable(f"not authorized to execute command {command}")

    found = Findings("database")
    refuses: Any = Refuses()
    assert await database._space(found, refuses) == {}
    (only,) = found.all
    assert only.verdict is Verdict.WARNING and "clusterMonitor" in only.remedy
