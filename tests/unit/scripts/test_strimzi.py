"""Do Strimzi's resources say what the topic registry and the partners' files say, and no more?"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from libs.common import topic_registry
from libs.common.devstack.places import ROOT, SERVICES
from libs.common.kafka.rights import OPERATORS, Right, ours
from scripts import strimzi
from scripts.strimzi import COMPONENTS, Refused, files, main, partner_users
from services.interop.domain.partners import Partner

TOPICS = topic_registry.read(ROOT / topic_registry.FOLDER)
GROUPS = {f"lianxin.{service}" for service in SERVICES}


def committed(name: str) -> dict[str, Any]:
    resources = yaml.safe_load_all((ROOT / COMPONENTS / name).read_text("utf-8"))
    return {resource["metadata"]["name"]: resource["spec"] for resource in resources}


def allowed(user: dict[str, Any], kind: str, operation: str) -> set[str]:
    return {
        acl["resource"]["name"]
        for acl in user["authorization"]["acls"]
        if acl["resource"]["type"] == kind and operation in acl["operations"]
    }


def partner(client: str = "his", hospital: str = "h1", **more: Any) -> Partner:
    usual = {"name": "HIS", "sources": ["https://his.example/"]}
    return Partner.model_validate({"client": client, "hospital": hospital, **usual, **more})


def test_the_files_are_what_the_registry_makes() -> None:
    made = files(TOPICS, strimzi.read_partners(ROOT / strimzi.PARTNERS))
    for path, text in made.items():
        now = (ROOT / COMPONENTS / path).read_text("utf-8")
        assert now == text, f"{path}: make it again by `python -m scripts.strimzi`"


def test_topics_are_those_of_the_registry_and_no_others() -> None:
    found = committed("kafka/topics.yaml")
    assert found.keys() == TOPICS.keys()
    for name, topic in TOPICS.items():
        assert found[name]["partitions"] == topic.partitions
        assert found[name]["config"].items() >= topic.config.items()


def test_every_topic_keeps_an_acknowledged_record_when_a_broker_is_lost() -> None:
    for name, spec in committed("kafka/topics.yaml").items():
        config = spec["config"]
        assert spec["replicas"] == 3, name
        assert config["min.insync.replicas"] == "2", name
        assert config["unclean.leader.election.enable"] == "false", name


def test_there_is_a_user_for_each_service_and_one_for_operators() -> None:
    assert committed("kafka/users.yaml").keys() == {*SERVICES, OPERATORS}


@pytest.mark.parametrize("service", SERVICES)
def test_a_service_may_do_what_the_registry_says_of_it_and_nothing_else(service: str) -> None:
    user, group = committed("kafka/users.yaml")[service], f"lianxin.{service}"
    writes = {name for name, topic in TOPICS.items() if group in topic.producers}
    reads = {name for name, topic in TOPICS.items() if group in topic.consumers}
    assert allowed(user, "topic", "Write") == writes
    assert allowed(user, "topic", "Read") == reads
    assert allowed(user, "topic", "Describe") == writes | reads
    assert allowed(user, "group", "Read") == {group}
    operations = {o for acl in user["authorization"]["acls"] for o in acl["operations"]}
    assert operations == {"Read", "Write", "Describe"}


def test_operators_look_at_everything_and_write_only_what_a_service_shall_read_again() -> None:
    user = committed("kafka/users.yaml")[OPERATORS]
    assert allowed(user, "topic", "Read") == TOPICS.keys()
    assert allowed(user, "topic", "Write") == {n for n, t in TOPICS.items() if t.replays}
    assert allowed(user, "group", "Describe") == GROUPS
    # To set a group back after a restore: docs/runbook.md#back-up-and-restore.
    assert allowed(user, "group", "Read") == GROUPS


def test_no_right_of_ours_is_on_a_pattern_or_on_everything() -> None:
    for user in committed("kafka/users.yaml").values():
        for acl in user["authorization"]["acls"]:
            resource = acl["resource"]
            if resource["type"] == "cluster":
                assert set(acl["operations"]) <= {"Describe", "DescribeConfigs"}
            else:
                assert resource["patternType"] == "literal"
                assert resource["name"] in TOPICS.keys() | GROUPS


def test_a_password_comes_from_the_secret_that_the_service_reads() -> None:
    for name, user in committed("kafka/users.yaml").items():
        given = user["authentication"]["password"]["valueFrom"]["secretKeyRef"]
        assert given == {"name": f"{name}-kafka", "key": "password"}


def test_a_partner_may_do_what_its_file_says_in_groups_of_its_own_name() -> None:
    his = partner(publishes=["hospital.exams"], subscribes=["reports.events"])
    (user,) = partner_users([his], TOPICS)
    assert allowed(user["spec"], "topic", "Write") == {"hospital.exams"}
    assert allowed(user["spec"], "topic", "Read") == {"reports.events"}
    assert user["spec"]["authorization"]["acls"][-1] == {
        "resource": {"type": "group", "name": "his.", "patternType": "prefix"},
        "operations": ["Read"],
    }


def test_its_user_may_have_a_name_of_its_own() -> None:
    (user,) = partner_users([partner(kafka_user="his-kafka", publishes=["hospital.exams"])], TOPICS)
    assert user["metadata"]["name"] == "his-kafka"


@pytest.mark.parametrize(
    ("right", "is_ours"),
    [
        (Right("topic", "reports.events", "Read"), True),
        (Right("topic", "*", "Read"), True),
        (Right("topic", "rep", "Read", prefixed=True), True),
        (Right("topic", "", "Read", prefixed=True), True),
        (Right("topic", "rep", "Read"), False),
        (Right("topic", "payroll", "Write", prefixed=True), False),
        (Right("group", "lianxin.reports", "Read"), True),
        (Right("group", "lianxin.payroll", "Read"), False),
        (Right("cluster", "", "ClusterAction"), True),
        (Right("cluster", "", "Describe"), False),
        (Right("topic", "*", "DescribeConfigs"), False),
    ],
)
def test_whether_a_right_is_on_what_is_ours(right: Right, is_ours: bool) -> None:
    assert ours(right, TOPICS) is is_ours


def test_who_writes_no_events_itself_is_no_user() -> None:
    assert partner_users([partner(sources=[], publishes=["hospital.exams"])], TOPICS) == []


@pytest.mark.parametrize(
    ("partners", "reason"),
    [
        ([partner(), partner("lis", "h2")], r"hospital: h1, h2\..*keep them apart"),
        ([partner("His_1")], "client: 'His_1' can't be a name"),
        ([partner("notify")], "client: notify is a user of the platform's own"),
        ([partner(OPERATORS)], "client: cli is a user of the platform's own"),
        ([partner(kafka_user="His_1")], "kafka_user: 'His_1' can't be a name"),
        ([partner(kafka_user="notify")], "kafka_user: notify is a user of the platform's own"),
    ],
)
def test_partners_that_kafka_can_t_serve_are_refused_with_a_reason(
    partners: list[Partner], reason: str
) -> None:
    with pytest.raises(Refused, match=reason):
        partner_users(partners, TOPICS)


def test_a_site_s_own_partners_are_written_where_it_says(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(ROOT)
    file = tmp_path / "his.yaml"
    file.write_text("{client: his, hospital: h1, name: HIS, sources: [https://h.example/]}")
    assert main(["--partners", str(tmp_path), "--into", str(tmp_path / "out")]) == 0
    assert "name: his" in (tmp_path / "out/kafka-partners/users.yaml").read_text("utf-8")
    file.write_text("{client: his, name: HIS}")
    assert main(["--partners", str(tmp_path), "--into", str(tmp_path / "out")]) == 1
    assert "his.yaml" in (said := capsys.readouterr().err) and "hospital" in said
    file.write_text("{client: his, hospital: h1, name: HIS, sources: [https://h.example/]}")
    (tmp_path / "lis.yaml").write_text("{client: lis, hospital: h1, name: LIS, kafka_user: his}")
    assert main(["--partners", str(tmp_path), "--into", str(tmp_path / "out")]) == 1
    assert "kafka_user: his is his's, too" in capsys.readouterr().err
