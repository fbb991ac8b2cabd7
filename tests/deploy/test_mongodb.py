"""Has each service just its own database, and is there a backup that can be put back?"""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
import yaml

from libs.common.devstack.places import ROOT, SERVICES
from tests.support.components import COMPONENTS, pods, rendered, secrets_of
from tests.support.manifests import Manifest, Manifests
from tests.support.pod_security import refused

#: What a service does (libs/common/mongo) and what makes its indexes (libs/common/migrate.py).
ACTIONS = {"find", "insert", "update", "remove", "changeStream"}
ACTIONS |= {"createCollection", "createIndex", "dropIndex", "listCollections", "listIndexes"}


@pytest.fixture
def manifests() -> Manifests:
    return rendered("mongodb")


def database(manifests: Manifests) -> Manifest:
    found: Manifest = manifests.one("MongoDBCommunity", "lianxin-mongodb")["spec"]
    return found


def test_a_service_s_user_may_work_in_its_database_and_in_no_other(
    manifests: Manifests,
) -> None:
    spec = database(manifests)
    roles = {role["role"]: role for role in spec["security"]["roles"]}
    del roles["lianxin_restore"]
    assert roles.keys() == {f"lianxin_{service}" for service in SERVICES}
    for name, role in roles.items():
        (privilege,) = role["privileges"]
        assert privilege["resource"] == {"db": name, "collection": ""}
        assert set(privilege["actions"]) == ACTIONS
        assert role["roles"] == []
    users = {user["name"]: user for user in spec["users"]}
    for service in SERVICES:
        assert users[service]["roles"] == [{"name": f"lianxin_{service}", "db": "admin"}]
        assert users[service]["passwordSecretRef"]["name"] == f"{service}-mongodb"
    assert users.keys() - set(SERVICES) == {"backup", "restore", "cli"}
    assert users["backup"]["roles"] == [{"name": "backup", "db": "admin"}]
    # What the doctor asks, and what a service's own role does not have: dbStats, replSetGetStatus.
    assert {r["name"] for r in users["cli"]["roles"]} == {*roles, "clusterMonitor"}


def test_a_restore_may_replay_what_was_written_during_the_backup_and_nobody_else_may(
    manifests: Manifests,
) -> None:
    """MongoDB's manual, mongorestore: `restore` does not suffice for `--oplogReplay`."""
    spec = database(manifests)
    (role,) = (r for r in spec["security"]["roles"] if r["role"] == "lianxin_restore")
    assert role["privileges"] == [{"resource": {"anyResource": True}, "actions": ["anyAction"]}]
    assert [
        u["name"] for u in spec["users"] if {"name": role["role"], "db": "admin"} in u["roles"]
    ] == ["restore"]
    used = [name for name, pod in pods(manifests) if "restore-mongodb" in dict(secrets_of(pod))]
    assert used == ["mongodb-restore"]


#: What MongoDB's operator puts into each member's pod (MCK 1.10).
CONTAINERS = {"mongod", "mongodb-agent", "mongod-posthook", "mongodb-agent-readinessprobe"}


def test_a_namespace_that_enforces_restricted_takes_every_pod(manifests: Manifests) -> None:
    """Of containers the operator merges what we say into its own, of the pod it takes ours."""
    member = database(manifests)["statefulSet"]["spec"]["template"]["spec"]
    context = member["securityContext"]
    assert (context["runAsUser"], context["fsGroup"]) == (2000, 2000)  # as the operator's images
    made = [*member["initContainers"], *member["containers"]]
    assert {c["name"] for c in made} == CONTAINERS
    for pod in (member, *(pod for _, pod in pods(manifests))):
        containers = {c["name"]: c for c in (*pod.get("initContainers", ()), *pod["containers"])}
        assert list(refused(pod, containers)) == []


def test_three_members_that_answer_by_tls_and_to_passwords_alone(
    manifests: Manifests,
) -> None:
    spec = database(manifests)
    assert (spec["type"], spec["members"]) == ("ReplicaSet", 3)
    assert spec["security"]["authentication"]["modes"] == ["SCRAM"]
    assert spec["security"]["tls"]["enabled"] and not spec["security"]["tls"].get("optional")
    server = manifests.one("Certificate", "mongodb-server")["spec"]
    assert {"lianxin-mongodb-svc", "*.lianxin-mongodb-svc.lianxin.svc.cluster.local"} <= {
        *server["dnsNames"]
    }


def test_the_tools_of_the_backup_are_of_the_servers_version(manifests: Manifests) -> None:
    images = {c["image"] for _, pod in pods(manifests) for c in pod["containers"]}
    (image,) = images
    assert image.rpartition(":")[2] == f"{database(manifests)['version']}-ubi8"


def test_who_needs_the_authority_s_certificate_is_not_given_its_key(
    manifests: Manifests,
) -> None:
    for _, pod in pods(manifests):
        (ca,) = (v["secret"] for v in pod["volumes"] if v["name"] == "mongodb-ca")
        assert [item["key"] for item in ca["items"]] == ["ca.crt"]


def test_a_restore_never_runs_by_itself(manifests: Manifests) -> None:
    assert manifests.one("CronJob", "mongodb-restore")["spec"]["suspend"] is True
    assert "suspend" not in manifests.one("CronJob", "mongodb-backup")["spec"]


def test_no_backup_is_made_while_one_is_put_back(manifests: Manifests) -> None:
    """It would be the latest, and of what is being replaced."""
    runbook = (ROOT / "docs" / "runbook.md").read_text("utf-8").partition("\n**Restore.**")[2]
    steps = " ".join(runbook.partition("\n**Verify.**")[0].split())
    name = manifests.one("CronJob", "mongodb-backup")["metadata"]["name"]
    patch = f"`kubectl patch cronjob {name} -p " + '\'{"spec":{"suspend":%s}}\'`'
    order = [steps.index(word) for word in (patch % "true", "restore-now", patch % "false")]
    assert order == sorted(order)


# -- the scripts, with programs in place of mongodump and mongorestore -------------------

DUMP = """#!/bin/bash
for given in "$@"; do case $given in
  --out=*) out=${given#--out=};;
  --config=*) cp "${given#--config=}" "$SEEN/config";;
esac; done
echo "$@" > "$SEEN/dump"
mkdir -p "$out/admin" "$out/lianxin_notify"
echo users > "$out/admin/system.users.bson.gz"
echo letters > "$out/lianxin_notify/inbox.bson.gz"
[ -n "${BREAKS:-}" ] && exit 1
echo changes > "$out/oplog.bson"
"""
#: A volume of so many KiB, with nothing on it but the backups.
DF = """#!/bin/bash
for folder in "$@"; do :; done
echo Avail
echo $((VOLUME - $(du -sk "$folder" | cut -f1)))
"""
RESTORE = """#!/bin/bash
echo "$@" > "$SEEN/restore"
"""


class Tools:
    """The scripts' world: a folder of backups, and what the tools were called with."""

    def __init__(self, folder: Path) -> None:
        self.backups, self.seen = folder / "backups", folder / "seen"
        binaries = folder / "bin"
        for made in (self.backups, self.seen, binaries):
            made.mkdir()
        for name, text in (("mongodump", DUMP), ("mongorestore", RESTORE), ("df", DF)):
            (binaries / name).write_text(text)
            (binaries / name).chmod(0o755)
        self._env = {
            "PATH": f"{binaries}:{os.environ['PATH']}",
            "MONGO_URL": "mongodb://database/?replicaSet=rs0",
            "MONGO_USERNAME": "backup",
            "MONGO_PASSWORD": "not-on-a-command-line",
            "MONGO_CA": "/ca.crt",
            "BACKUPS": str(self.backups),
            "KEEP_DAYS": "14",
            "KEEP_LEAST": "3",
            "VOLUME": str(2**30),
            "SEEN": str(self.seen),
        }

    def run(self, script: str, **more: str) -> subprocess.CompletedProcess[str]:
        command = ["bash", str(COMPONENTS / "mongodb" / script)]
        env = {**self._env, **more}
        return subprocess.run(command, env=env, capture_output=True, text=True, check=False)

    def names(self) -> list[str]:
        return sorted(path.name for path in self.backups.iterdir())


@pytest.fixture
def tools(tmp_path: Path) -> Iterator[Tools]:
    yield Tools(tmp_path)


def test_a_backup_is_of_one_moment_without_users_and_with_checksums(tools: Tools) -> None:
    done = tools.run("backup.sh")
    assert done.returncode == 0, done.stderr
    (name,) = tools.names()
    assert sorted(path.name for path in (tools.backups / name).iterdir()) == [
        "SHA256SUMS", "lianxin_notify", "oplog.bson",
    ]  # fmt: skip
    assert "--oplog" in (called := (tools.seen / "dump").read_text())
    assert "not-on-a-command-line" not in called
    assert (tools.seen / "config").read_text() == "password: 'not-on-a-command-line'\n"


@pytest.mark.parametrize("password", ["12345678", "a: b #c", "it's 'quoted'", 'back\\slash"'])
def test_the_tools_are_told_a_password_as_it_is_whatever_is_in_it(
    tools: Tools, password: str
) -> None:
    assert tools.run("backup.sh", MONGO_PASSWORD=password).returncode == 0
    assert yaml.safe_load((tools.seen / "config").read_text()) == {"password": password}


def test_a_backup_that_breaks_off_is_none_and_nothing_is_left_of_it(tools: Tools) -> None:
    assert tools.run("backup.sh", BREAKS="yes").returncode != 0
    assert [name for name in tools.names() if not name.startswith(".")] == []
    assert tools.run("backup.sh").returncode == 0
    (new,) = tools.names()
    assert not new.startswith(".")


def earlier(tools: Tools, *days: int) -> list[str]:
    """Backups of so many days ago, of 404 KiB each; the oldest first."""
    names = []
    for ago in sorted(days, reverse=True):
        names.append(f"{datetime.now(UTC) - timedelta(days=ago):%Y-%m-%dT021500Z}")
        (tools.backups / names[-1]).mkdir()
        (tools.backups / names[-1] / "oplog.bson").write_bytes(bytes(400 * 1024))
    return names


@pytest.mark.parametrize("breaks", ["", "yes"])
def test_a_full_volume_gets_room_for_the_next_backup_before_it_begins(
    tools: Tools, breaks: str
) -> None:
    names = earlier(tools, 1, 2, 3, 4, 5)
    tools.run("backup.sh", VOLUME="2200", BREAKS=breaks)  # some 180 KiB are free
    assert [name for name in tools.names() if name in names] == names[1:]


def test_the_newest_three_stay_whatever_room_there_is(tools: Tools) -> None:
    names = earlier(tools, 1, 2, 3, 4, 5)
    assert tools.run("backup.sh", VOLUME="1", BREAKS="yes").returncode != 0
    assert [name for name in tools.names() if name in names] == names[2:]


@pytest.mark.parametrize(
    ("days", "stay"), [((1, 2, 3, 13, 15), 4), ((40, 50, 60, 70), 3), ((40,), 1), ((), 0)]
)
def test_what_is_older_than_two_weeks_goes_while_three_are_there(
    tools: Tools, days: tuple[int, ...], stay: int
) -> None:
    names = earlier(tools, *days)
    assert tools.run("backup.sh").returncode == 0
    (*old, new) = tools.names()
    assert old == names[len(names) - stay :] and new not in names


def test_a_restore_takes_the_newest_backup_or_the_one_that_is_named(tools: Tools) -> None:
    assert tools.run("backup.sh").returncode == 0
    (made,) = tools.backups.iterdir()
    shutil.copytree(made, tools.backups / "2026-01-01T000000Z")
    made.rename(tools.backups / "2026-01-02T000000Z")
    for asked, taken in (("latest", "2026-01-02T000000Z"), ("2026-01-01T000000Z",) * 2):
        done = tools.run("restore.sh", BACKUP=asked)
        assert done.returncode == 0, done.stderr
        called = (tools.seen / "restore").read_text()
        assert f"--dir={tools.backups}/{taken}" in called
        assert f"restoring {taken}\n" in done.stdout
        assert "--oplogReplay" in called and "not-on-a-command-line" not in called


def test_a_restore_of_what_is_not_there_says_what_is(tools: Tools) -> None:
    assert tools.run("backup.sh").returncode == 0
    done = tools.run("restore.sh", BACKUP="2020-01-01T000000Z")
    assert done.returncode == 1
    assert tools.names()[0] in done.stderr
    assert not (tools.seen / "restore").exists()


def test_a_backup_whose_files_have_changed_is_not_put_back(tools: Tools) -> None:
    assert tools.run("backup.sh").returncode == 0
    (name,) = tools.names()
    (tools.backups / name / "lianxin_notify" / "inbox.bson.gz").write_text("other")
    done = tools.run("restore.sh", BACKUP="latest")
    assert done.returncode != 0 and "inbox.bson.gz" in done.stderr + done.stdout
    assert not (tools.seen / "restore").exists()
