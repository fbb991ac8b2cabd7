"""Does the platform run on a broker and a database in containers (``STACK=containers``)?

Through testcontainers and the API that podman serves, as through Docker's; with images of our own,
because no registry is reached.
"""

from __future__ import annotations

import os
import subprocess
import sys
import time
import uuid
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest

from libs.common.devstack.places import ROOT, Ports
from tests.support import images
from tests.support.podman import ENVIRONMENT, podman

#: Seconds for a hospital day, with everything that has to come up for it.
DAY = 400


@pytest.fixture
def socket(tmp_path: Path) -> Iterator[Path]:
    """Where podman answers as Docker would."""
    path = tmp_path / "podman.sock"
    command = ["podman", "system", "service", "--time=0", f"unix://{path}"]
    with subprocess.Popen(command, env={**os.environ, **ENVIRONMENT}) as service:
        try:
            deadline = time.monotonic() + 30
            while not path.exists():
                assert service.poll() is None and time.monotonic() < deadline, "podman's API"
                time.sleep(0.1)
            yield path
        finally:
            service.terminate()


@pytest.fixture
def named() -> Iterator[Mapping[str, str]]:
    """Our images under names of this run's own; their containers are removed with them."""
    run = uuid.uuid4().hex[:12]
    names = {
        "KAFKA_IMAGE": f"localhost/lianxin-test/kafka:{run}",
        "MONGO_IMAGE": f"localhost/lianxin-test/mongo:{run}",
    }
    try:
        podman("tag", images.kafka(), names["KAFKA_IMAGE"])
        podman("tag", images.database(), names["MONGO_IMAGE"])
        yield names
    finally:
        # Without testcontainers' reaper, which is an image, nobody else does it.
        for line in podman("ps", "--all", "--format={{.ID}} {{.Image}}").splitlines():
            id, _, image = line.partition(" ")
            if image in names.values():
                podman("rm", "--force", "--time=0", "--volumes", id)
        for name in names.values():
            podman("untag", name, name)


@pytest.mark.timeout(DAY + 300)
def test_a_hospital_day_passes_on_a_broker_and_a_database_in_containers(
    socket: Path, named: Mapping[str, str], tmp_path: Path
) -> None:
    ports = Ports.free()
    own = {
        "STACK": "containers",
        **named,
        "DOCKER_HOST": f"unix://{socket}",
        "TESTCONTAINERS_RYUK_DISABLED": "true",
        "TESTCONTAINERS_HOST_OVERRIDE": "127.0.0.1",
        "TESTCONTAINERS_CONNECTION_MODE": "docker_host",
        "DATA_DIR": str(tmp_path / "data"),
        "KAFKA_PORT": str(ports.kafka),
        "KAFKA_CONTROLLER_PORT": str(ports.controller),
        "MONGO_PORT": str(ports.mongo),
        "PAGE_PORT": str(ports.page),
        "PAGE_SMTP_PORT": str(ports.smtp),
        "MLLP_PORT": str(ports.mllp),
        **{f"{name.upper()}_PORT": str(port) for name, port in ports.services.items()},
    }
    done = subprocess.run(
        [sys.executable, "-m", "libs.common.devstack", "demo"],
        cwd=ROOT,
        env={**os.environ, **own},
        capture_output=True,
        text=True,
        timeout=DAY,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    used = podman("ps", "--all", "--format={{.Image}}").split()
    assert set(named.values()) <= set(used), "the day was not on these containers"
