"""How do real Kafka and MongoDB run in containers (``STACK=containers``)?

Through testcontainers, on the stack's own ports, so that a restart finds the same address.
``KAFKA_IMAGE`` and ``MONGO_IMAGE`` name other images, as of a registry of one's own.
"""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable
from functools import partial
from pathlib import PurePosixPath
from typing import Any

from libs.common.devstack.errors import StackError
from libs.common.devstack.kafka import settings
from libs.common.devstack.places import Ports
from libs.common.devstack.probe import kafka_answers, mongo_answers

KAFKA_IMAGE = "apache/kafka:4.3.1"
MONGO_IMAGE = "mongo:8.0"
START_SECONDS = 120.0
STOP_SECONDS = 25


class Container:
    """A ``Part`` in a container. ``first`` runs inside it after its first start."""

    def __init__(
        self,
        name: str,
        make: Callable[[], Any],
        answers: Callable[[], bool],
        first: list[str] | None = None,
    ) -> None:
        self.name = name
        self.wanted = False
        self._make = make
        self._answers = answers
        self._first = first
        self._container: Any = None

    def start(self) -> None:
        self.wanted = True
        if self._container is None:
            try:
                self._container = self._make().start()
            except Exception as e:  # whatever the client of the container engine raises
                raise StackError(
                    f"The {self.name} container can't be started ({e}): start Docker or podman, "
                    "or run without STACK=containers."
                ) from e
        else:
            self._engine().start()

    def _engine(self) -> Any:
        return self._container.get_wrapped_container()

    def ready(self) -> bool:
        if self._first and self._container.exec(self._first).exit_code == 0:
            self._first = None
        return self._answers()

    def wait_ready(self) -> None:
        deadline = time.monotonic() + START_SECONDS
        while not self.ready():
            if time.monotonic() > deadline:
                raise StackError(f"The {self.name} container did not answer: see its log.")
            time.sleep(0.2)

    def running(self) -> bool:
        if self._container is None:
            return False
        self._engine().reload()
        return bool(self._engine().status == "running")

    def exit_code(self) -> int | None:
        return None if self.running() else int(self._engine().wait()["StatusCode"])

    def kill(self, sig: signal.Signals = signal.SIGKILL) -> None:
        if self.running():
            self._engine().kill(sig.name)

    def wait(self, seconds: float) -> bool:
        deadline = time.monotonic() + seconds
        while self.running() and time.monotonic() < deadline:
            time.sleep(0.1)
        return not self.running()

    def ask_to_stop(self) -> None:
        self.wanted = False

    def stop(self) -> None:
        """Stopped, not removed: testcontainers' reaper removes it when we are gone."""
        self.ask_to_stop()
        if self.running():
            self._engine().stop(timeout=STOP_SECONDS)


def _bind(container: Any, inside: int, port: int) -> None:
    """On this machine alone: neither asks who is there. (``with_bind_ports`` takes no address.)"""
    container.ports[f"{inside}/tcp"] = ("127.0.0.1", port)


def kafka(ports: Ports) -> Container:
    def make() -> Any:
        from testcontainers.core.container import DockerContainer

        container = DockerContainer(os.environ.get("KAFKA_IMAGE") or KAFKA_IMAGE)
        _bind(container, ports.kafka, ports.kafka)
        inside = settings(PurePosixPath("/tmp/kafka"), ports.kafka, ports.controller)
        inside["listeners"] = inside["listeners"].replace("127.0.0.1", "0.0.0.0")
        for key, value in inside.items():
            container.with_env(f"KAFKA_{key.upper().replace('.', '_')}", value)
        return container

    return Container("kafka", make, partial(kafka_answers, "127.0.0.1", ports.kafka))


def mongo(ports: Ports) -> Container:
    def make() -> Any:
        from testcontainers.core.container import DockerContainer

        container = DockerContainer(os.environ.get("MONGO_IMAGE") or MONGO_IMAGE)
        _bind(container, 27017, ports.mongo)
        return container.with_command("mongod --replSet rs0 --bind_ip_all")

    member = "{_id: 0, host: 'localhost:27017'}"
    first = ["mongosh", "--quiet", "--eval", f"rs.initiate({{_id: 'rs0', members: [{member}]}})"]
    return Container("mongo", make, partial(mongo_answers, "127.0.0.1", ports.mongo), first)


def mongo_url(port: int) -> str:
    """Directly, because the member calls itself by its name inside the container."""
    return f"mongodb://127.0.0.1:{port}/?directConnection=true"
