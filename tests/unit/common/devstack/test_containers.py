"""Which images do broker and database take in containers, and who can reach them?"""

from __future__ import annotations

import sys
from types import ModuleType
from typing import Any

import pytest

from libs.common.devstack import containers
from libs.common.devstack.places import Ports

PORTS = Ports(9092, 9093, 27017, 8000, 8025, 2575, {})


class Asked:
    """What testcontainers would be asked for."""

    last: Asked

    def __init__(self, image: str) -> None:
        self.image = image
        self.ports: dict[str, Any] = {}
        Asked.last = self

    def with_env(self, key: str, value: str) -> Asked:
        return self

    def with_command(self, command: str) -> Asked:
        return self

    def start(self) -> Asked:
        return self


@pytest.fixture(autouse=True)
def asked(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("KAFKA_IMAGE", "MONGO_IMAGE"):
        monkeypatch.delenv(name, raising=False)
    stub = ModuleType("testcontainers.core.container")
    vars(stub)["DockerContainer"] = Asked
    monkeypatch.setitem(sys.modules, "testcontainers.core.container", stub)


def test_the_makers_images_are_taken_unless_others_are_named(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    containers.kafka(PORTS).start()
    assert Asked.last.image.startswith("apache/kafka:")
    containers.mongo(PORTS).start()
    assert Asked.last.image.startswith("mongo:")
    monkeypatch.setenv("KAFKA_IMAGE", "registry.example/kafka:1")
    containers.kafka(PORTS).start()
    assert Asked.last.image == "registry.example/kafka:1"
    monkeypatch.setenv("MONGO_IMAGE", "registry.example/mongo:1")
    containers.mongo(PORTS).start()
    assert Asked.last.image == "registry.example/mongo:1"


def test_both_listen_on_this_machine_alone() -> None:
    containers.kafka(PORTS).start()
    assert Asked.last.ports == {"9092/tcp": ("127.0.0.1", 9092)}
    containers.mongo(PORTS).start()
    assert Asked.last.ports == {"27017/tcp": ("127.0.0.1", 27017)}
