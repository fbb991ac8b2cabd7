"""Is a partner's file made so that interop reads it, and no other is possible?"""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import cast

import pytest
import yaml

from lianxin.installation import SERVICES, Installation
from lianxin.output import Failed
from lianxin.partner import app
from lianxin.partner_files import as_file, files, last_file, new_partner
from lianxin.partner_rights import admitted, expelled, partners_own
from libs.common import topic_registry
from libs.common.devstack.places import ROOT
from libs.common.kafka import access as kafka_access
from libs.common.kafka import rights as kafka_rights
from libs.common.kafka.client import BusError
from libs.common.kafka.cluster import Cluster
from libs.common.kafka.rights import Right
from services.interop.edge.partners import load_partners

REGISTRY = topic_registry.read(ROOT / topic_registry.FOLDER)
GIVEN = {
    "client": "lab",
    "hospital": "h1",
    "name": "检验科 LIS",
    "sources": ["https://lab.hospital.example/"],
    "publishes": ["hospital.reports"],
    "subscribes": ["reports.events", "enrollment.events"],
}


def test_the_file_is_read_as_it_was_meant(tmp_path: Path) -> None:
    partner = new_partner(GIVEN, tmp_path)
    (tmp_path / "lab.yaml").write_text(as_file(partner), "utf-8")
    assert load_partners(tmp_path).of("lab", "h1") == partner
    assert files(tmp_path) == {"lab": tmp_path / "lab.yaml"}


@pytest.mark.parametrize(
    ("wrong", "says"),
    [
        ({"publishes": ["reports.events"]}, "publishes: reports.events may not be written"),
        ({"subscribes": ["notify.requests"]}, "subscribes: notify.requests may not be read"),
        ({"sources": ["/services/reports"]}, "sources: a source is an absolute URI"),
        ({"hospital": ""}, "hospital: "),
        ({"client": "sample-partner"}, "sample-partner is another partner's, too"),
        ({"sources": ["https://his.hospital.example/"]}, "is sample-partner's, too"),
    ],
)
def test_what_can_not_be_is_refused_by_the_fields_name(wrong: dict[str, str], says: str) -> None:
    with pytest.raises(Failed, match=says):
        new_partner({**GIVEN, **wrong}, ROOT / "policies" / "partners")


def test_a_broken_file_beside_it_is_named(tmp_path: Path) -> None:
    (tmp_path / "old.yaml").write_text("client: old\n")
    with pytest.raises(Failed, match=r"old\.yaml: hospital: Field required"):
        new_partner(GIVEN, tmp_path)


def test_who_runs_the_platform_is_no_partner_in_kafka(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KAFKA_BOOTSTRAP_SERVERS", "kafka:9093")
    monkeypatch.setenv("KAFKA_SECURITY_PROTOCOL", "SASL_SSL")
    monkeypatch.setenv("KAFKA_USERNAME", "operators")
    monkeypatch.setenv("KAFKA_PASSWORD", "x")
    installation = Installation.of_environment()
    partners_own(installation, "lab")
    for user in (*SERVICES, kafka_rights.OPERATORS, "operators"):
        with pytest.raises(Failed, match=f"{user} is a user of the platform's own"):
            partners_own(installation, user)
        for command in (
            ["retire", user],
            ["add", user, "--hospital=h1", "--name=x", "--kafka=cluster"],
            ["add", "lab", f"--kafka-user={user}", "--hospital=h1", "--name=x"],
        ):
            with pytest.raises(SystemExit) as ended:
                app(command)
            assert ended.value.code == 2


async def test_who_was_let_in_half_way_is_let_out_again(monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[str] = []

    def noted(name: str, fails: bool = False) -> None:
        async def call(*_: object) -> list[Right]:
            calls.append(name)
            if fails:
                raise BusError("the broker went away")
            return []

        monkeypatch.setattr(kafka_access, name, call)

    @asynccontextmanager
    async def nobody(_: object) -> AsyncIterator[None]:
        yield

    monkeypatch.setattr("lianxin.partner_rights.cluster", nobody)
    for name in ("rights", "admit", "deny", "dismiss"):
        noted(name)
    noted("allow", fails=True)
    monkeypatch.setenv("KAFKA_BOOTSTRAP_SERVERS", "kafka:9093")
    monkeypatch.setenv("ENVIRONMENT", "development")
    installation = Installation.of_environment()
    with pytest.raises(BusError, match="went away"):
        await admitted(installation, "lab", [])
    assert calls == ["rights", "admit", "allow", "deny", "dismiss"]
    noted("admit", fails=True)
    calls.clear()
    with pytest.raises(BusError, match="went away"):
        await admitted(installation, "lab", [])
    assert calls == ["rights", "admit"], "whoever was there before stays"
    noted("admit")
    noted("deny", fails=True)
    with pytest.raises(Failed, match="the user lab may stay in Kafka") as raised:
        await admitted(installation, "lab", [])
    assert "partner retire lab --kafka-user lab --apply" in str(raised.value)


@pytest.mark.parametrize(
    ("rights", "fails", "error", "stays"),
    [
        (2, "deny", BusError("away"), "2 rights of the user lab STAY (away)"),
        (
            *(2, "dismiss", BusError("away")),
            "the 2 rights of the user lab are taken away, but the user STAYS (away)",
        ),
        (
            *(0, "dismiss", BusError("away")),
            "the user lab, who has no right, STAYS if there is one (away)",
        ),
        (0, "dismiss", kafka_access.MayNot("Strimzi's"), ""),
        (0, "deny", BusError("not asked for what there is not"), None),
    ],
)
async def test_what_stays_of_a_user_is_said_as_it_is(
    monkeypatch: pytest.MonkeyPatch, rights: int, fails: str, error: BusError, stays: str | None
) -> None:
    async def well(*_: object) -> bool:
        return True

    async def fail(*_: object) -> bool:
        raise error

    for name in ("deny", "dismiss"):
        monkeypatch.setattr(kafka_access, name, fail if name == fails else well)
    told = await expelled(cast("Cluster", None), "lab", rights)
    assert told == ((True, "") if stays is None else (False, stays))


def test_who_was_retired_before_is_told_what_stays_closed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("POLICIES_DIR", str(tmp_path))
    (tmp_path / "partners").mkdir()
    add = ["add", "lab", "--hospital=h1", "--name=x"]
    for there in (False, True):
        if there:
            (tmp_path / "partners" / "lab.yaml.retired").touch()
        with pytest.raises(SystemExit) as ended:
            app(add)
        assert ended.value.code == 0
        assert ("was retired before" in capsys.readouterr().out) is there


def test_what_was_said_of_a_retired_partner_is_found_again_and_no_other_s(tmp_path: Path) -> None:
    retired = new_partner({**GIVEN, "kafka_user": "lab-kafka"}, tmp_path)
    other = new_partner({**GIVEN, "client": "pacs", "sources": []}, tmp_path)
    (tmp_path / "a.yaml.retired").write_text(as_file(other), "utf-8")
    (tmp_path / "lab.yaml.retired").write_text(as_file(retired), "utf-8")
    assert last_file(tmp_path, "lab") == retired
    assert last_file(tmp_path, "ris") is None
    (tmp_path / "a.yaml.retired").write_text("client: ris\n")
    with pytest.raises(Failed, match=r"a\.yaml\.retired can't be read"):
        last_file(tmp_path, "ris")


def test_in_kafka_a_partner_may_what_its_topics_allow_and_nothing_else() -> None:
    assert kafka_rights.of_partner("lab", ["hospital.reports"], ["reports.events"], REGISTRY) == [
        Right("topic", "hospital.reports", "Write"),
        Right("topic", "hospital.reports", "Describe"),
        Right("topic", "reports.events", "Read"),
        Right("topic", "reports.events", "Describe"),
        Right("group", "lab.", "Read", prefixed=True),
    ]
    for topic in ("notify.requests", "lianxin.reports.dlq"):
        with pytest.raises(ValueError, match=f"a partner may not read {topic}"):
            kafka_rights.of_partner("lab", [], [topic], REGISTRY)
    with pytest.raises(ValueError, match=r"a partner may not write reports\.events"):
        kafka_rights.of_partner("lab", ["reports.events"], [], REGISTRY)


def test_a_service_may_what_the_registry_says_of_it() -> None:
    rights = kafka_rights.of_service("reports", REGISTRY)
    assert Right("topic", "reports.events", "Write") in rights
    assert Right("topic", "lianxin.reports.dlq", "Write") in rights
    assert Right("topic", "hospital.reports", "Read") in rights
    assert Right("group", "lianxin.reports", "Read") in rights
    assert not any(r.name == "notify.requests" and r.operation == "Read" for r in rights)


def test_the_manifest_says_the_same() -> None:
    rights = kafka_rights.of_partner("lab", ["hospital.reports"], ["reports.events"], REGISTRY)
    made = kafka_rights.kafka_user("lab", rights, cluster="lianxin-kafka", namespace="lianxin")
    made = yaml.safe_load(yaml.safe_dump(made))
    said = {
        Right(
            acl["resource"]["type"],
            acl["resource"]["name"],
            operation,
            acl["resource"]["patternType"] == "prefix",
        )
        for acl in made["spec"]["authorization"]["acls"]
        for operation in acl["operations"]
    }
    assert said == set(rights)
