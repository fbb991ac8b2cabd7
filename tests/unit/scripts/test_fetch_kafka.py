"""Are Kafka's jars taken from where they should be, and only as they are pinned?"""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

import pytest

from scripts import fetch_kafka
from scripts.fetch_kafka import Jar

CONTENT = b"a jar"
JAR = Jar("org.example.group:thing:1.2", hashlib.sha256(CONTENT).hexdigest(), len(CONTENT))


class Repository:
    """Stands in for jgo: puts one content after another where a jar belongs."""

    def __init__(self, folder: Path, *contents: bytes) -> None:
        self.path = JAR.path(folder)
        self.contents = list(contents)

    def create_dependency(self, coordinate: str) -> Any:
        assert coordinate == JAR.coordinate
        return self

    @property
    def artifact(self) -> Repository:
        return self

    def resolve(self) -> Path:
        self.path.parent.mkdir(parents=True, exist_ok=True)
        self.path.write_bytes(self.contents.pop(0))
        return self.path


def test_the_lock_is_pinned_and_names_no_address() -> None:
    lock = Path(__file__).parents[3] / "requirements" / "kafka.txt"
    jars = fetch_kafka.read(lock)
    assert any(jar.coordinate.startswith("org.apache.kafka:kafka_2.13:4.") for jar in jars)
    assert all(len(jar.sha256) == 64 and jar.size > 0 for jar in jars)
    assert "://" not in lock.read_text()


def test_a_jar_lies_where_a_maven_repository_has_it(tmp_path: Path) -> None:
    assert JAR.path(tmp_path) == tmp_path / "org/example/group/thing/1.2/thing-1.2.jar"


def test_a_broken_download_is_tried_once_more(tmp_path: Path) -> None:
    repository: Any = Repository(tmp_path, b"half a j", CONTENT)
    fetch_kafka.fetch(JAR, tmp_path, repository)
    assert JAR.is_whole(tmp_path)


def test_a_jar_of_another_content_is_refused_and_not_kept(tmp_path: Path) -> None:
    repository: Any = Repository(tmp_path, b"evil", b"evil")
    with pytest.raises(fetch_kafka.Failed, match="MAVEN_MIRROR"):
        fetch_kafka.fetch(JAR, tmp_path, repository)
    assert not JAR.path(tmp_path).exists()


@pytest.mark.parametrize(
    ("mirror_of", "taken"), [("central", True), ("*", True), ("another", False)]
)
def test_a_mirror_of_maven_settings_is_used(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, mirror_of: str, taken: bool
) -> None:
    monkeypatch.delenv("MAVEN_MIRROR", raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    (tmp_path / ".m2").mkdir()
    (tmp_path / ".m2" / "settings.xml").write_text(
        '<settings xmlns="urn:settings"><mirrors><mirror><id>m</id>'
        f"<mirrorOf>{mirror_of}</mirrorOf><url>mirror.example/</url></mirror></mirrors></settings>"
    )
    assert fetch_kafka.mirror() == ({"mirror": "mirror.example"} if taken else None)


def test_the_mirror_variable_comes_first(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MAVEN_MIRROR", "mine.example/")
    assert fetch_kafka.mirror() == {"mirror": "mine.example"}
