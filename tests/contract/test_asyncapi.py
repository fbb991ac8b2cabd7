"""Is the AsyncAPI document complete, and does it say of the record what the code does?"""

from __future__ import annotations

import re
import shutil
from pathlib import Path
from typing import Any

import pytest
import yaml

from libs.common.dead_letters import DeadLetter, DeadLetters
from libs.common.events import EVENT_TYPES
from libs.common.kafka.record import Unreadable
from libs.common.structured import NAMES
from scripts.contracts import CONTRACTS, drift, generate
from scripts.lint_asyncapi import lint
from scripts.published import read

DOCUMENT = CONTRACTS / "asyncapi.yaml"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return shutil.copytree(CONTRACTS, tmp_path / "contracts")


@pytest.fixture(scope="module")
def document() -> Any:
    return yaml.safe_load(DOCUMENT.read_text("utf-8"))


def test_each_type_is_a_message_on_its_topic_with_the_published_schema(document: Any) -> None:
    found = {
        name: (topic, message["payload"]["schema"]["$ref"])
        for topic, channel in document["channels"].items()
        for name, message in channel["messages"].items()
        if name != "deadLetter"
    }
    assert found == {n: (m.TOPIC, f"schemas/{n}.json") for n, m in EVENT_TYPES.items()}


def test_each_topic_is_received_or_sent_by_those_whom_the_registry_names(document: Any) -> None:
    operations = document["operations"]
    for name, topic in read(CONTRACTS).topics.items():
        received = operations.get(f"receive.{name}")
        readers = received["bindings"]["kafka"]["groupId"]["enum"] if received else []
        assert readers == topic.consumers
        ours = any(p.startswith("lianxin.") for p in topic.producers)
        assert (f"send.{name}" in operations) == ours


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("  hospital.staff:\n    address: hospital.staff", "  hospital.rooms:\n    address: rooms"),
        ("\n      hospital.group.full.v1:\n", "\n      hospital.group.fool.v1:\n"),
        ("partitions: 6", "partitions: 7"),
        ("x-status: draft", "x-status: stable"),
        ("\n  receive.hospital.staff:\n", "\n  receive.hospital.stuff:\n"),
    ],
)
def test_a_topic_or_type_that_is_missing_or_besides_is_found(
    folder: Path, old: str, new: str
) -> None:
    path = folder / "asyncapi.yaml"
    text = path.read_text("utf-8")
    assert old in text
    path.write_text(text.replace(old, new, 1))
    assert drift(EVENT_TYPES, read(folder), folder) == [
        "asyncapi.yaml: its topics and types are not the registry's; generate it again"
    ]
    assert generate(EVENT_TYPES, folder) == ["asyncapi.yaml"]
    assert path.read_text("utf-8") == text


def test_the_prose_is_kept_when_the_rest_is_generated(folder: Path) -> None:
    path = folder / "asyncapi.yaml"
    path.write_text(path.read_text("utf-8").replace("Again and again", "Said in other words"))
    assert drift(EVENT_TYPES, read(folder), folder) == []
    assert generate(EVENT_TYPES, folder) == []
    assert "Said in other words" in path.read_text("utf-8")


def test_the_headers_are_those_that_the_codec_reads(document: Any) -> None:
    headers = document["components"]["messageTraits"]["cloudevent"]["headers"]["properties"]
    assert set(headers) == {f"ce_{name}" for name in NAMES}
    told = (CONTRACTS / "README.md").read_text("utf-8")
    rows = set(re.findall(r"`(ce_[a-z]+)`", told))
    assert rows == set(headers)


def test_the_headers_of_a_dead_letter_are_those_that_are_written(document: Any) -> None:
    letters = DeadLetters("g", lambda: pytest.fail("nothing is sent here"))
    row = letters._row(DeadLetter(Unreadable("t", 0, 1), "unreadable"))
    headers = document["components"]["messages"]["deadLetter"]["headers"]
    assert set(headers["properties"]) == {name for name, _ in row.headers}
    assert headers["required"] == list(headers["properties"])


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("action: receive", "action: recieve", "operations.receive."),
        ("defaultContentType", "contentTypeByDefault", "contentTypeByDefault"),
        ("schemas/hospital.group.full.v1.json", "schemas/hospital.group.fool.v1.json", "ENOENT"),
    ],
)
def test_what_is_no_asyncapi_is_found_by_its_own_parser(
    folder: Path, capfd: pytest.CaptureFixture[str], old: str, new: str, said: str
) -> None:
    path = folder / "asyncapi.yaml"
    path.write_text(path.read_text("utf-8").replace(old, new, 1))
    assert lint(path) == 1
    assert said in capfd.readouterr().err
