"""Do our images run as an installation runs them, and do they stop without letting anyone down?

Nothing of the image can be written, no capability, no root; the broker and the database are real.
"""

from __future__ import annotations

import asyncio
import json
import signal
import socket
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from urllib.parse import urlsplit

import pytest

from libs.common.devstack.places import SERVICES
from libs.common.events import PatientDeceased
from libs.common.kafka.reading import read_all
from tests.containers.hosted import Hosted, Service
from tests.support import podman

#: The first test waits until the images are built.
pytestmark = pytest.mark.timeout(900)

#: Seconds from SIGTERM to the end of a service (see libs/common/runtime.py).
PATIENCE = 25
USER = 10001


@pytest.fixture(scope="module")
def running(hosted: Hosted) -> Iterator[dict[str, Service]]:
    """All services, ready."""
    with ExitStack() as started:
        for name in SERVICES:
            hosted.migrate(name)
        found = {name: started.enter_context(hosted.start(name)) for name in SERVICES}
        for service in found.values():
            service.wait_ready()
        yield found


def status(service: Service) -> dict[str, str]:
    """``/proc/1/status`` of the container: who runs there, with which rights."""
    read = podman.podman("exec", service.container.name, "cat", "/proc/1/status")
    return dict(line.split(":\t", 1) for line in read.splitlines() if ":\t" in line)


def test_every_service_is_ready_with_no_rights_and_nothing_to_write_to(
    running: dict[str, Service],
) -> None:
    for service in running.values():
        told = status(service)
        assert told["Name"].strip() == "python", "no shell stands between it and a signal"
        assert told["Uid"].split() == told["Gid"].split() == [str(USER)] * 4
        assert {told[f"Cap{set}"].strip() for set in ("Eff", "Prm", "Inh", "Bnd")} == {"0" * 16}
        assert told["NoNewPrivs"].strip() == "1"
        with pytest.raises(AssertionError, match="Read-only file system"):
            podman.podman("exec", "--user=0", service.container.name, "touch", "/app/new")


def event() -> dict[str, object]:
    return {
        "specversion": "1.0",
        "id": str(uuid.uuid4()),
        "source": "https://his.hospital.example/",
        "type": PatientDeceased.TYPE,
        "time": "2026-11-18T01:12:00Z",
        "data": {"patient_id": f"p-{uuid.uuid4().hex}", "deceased_at": "2026-11-18T01:00:00Z"},
    }


async def test_a_request_that_was_accepted_before_sigterm_is_answered_and_the_exit_code_is_0(
    hosted: Hosted, running: dict[str, Service]
) -> None:
    interop, sent = running["interop"], event()
    body = json.dumps(sent).encode()
    token = hosted.stack.issuer().token(
        person="sample-partner", hospital="h1", roles=["integration"]
    )
    host = urlsplit(interop.url).netloc
    head = (
        f"POST /v1/events HTTP/1.1\r\nHost: {host}\r\nAuthorization: Bearer {token}\r\n"
        f"Content-Type: application/cloudevents+json\r\nContent-Length: {len(body)}\r\n\r\n"
    )
    with socket.create_connection(("127.0.0.1", urlsplit(interop.url).port or 0), 10) as caller:
        caller.sendall(head.encode() + body[:10])
        await asyncio.sleep(0.5)  # it reads, and waits for the rest
        interop.container.kill(signal.SIGTERM)
        await asyncio.sleep(1.5)  # longer than it lingers
        caller.sendall(body[10:])
        with caller.makefile("rb") as answer:
            said = answer.read().decode()
    assert said.startswith("HTTP/1.1 202 "), said + interop.container.logs()
    assert interop.container.exit_code(PATIENCE) == 0, interop.container.logs()
    assert not {"not_drained", "not_left"} & set(interop.container.logs().split('"'))
    # It may have had no time to become the one who publishes; then the next one publishes it.
    with hosted.start("interop") as next:
        next.wait_ready()
        async with asyncio.timeout(60):
            async for record in read_all(hosted.stack.bootstrap, [PatientDeceased.TOPIC]):
                if dict(record.headers).get("ce_id") == str(sent["id"]).encode():
                    break


def test_every_service_ends_with_0_when_it_is_told_to(running: dict[str, Service]) -> None:
    others = [service for service in running.values() if service.name != "interop"]
    for service in others:
        service.container.kill(signal.SIGTERM)
    codes = {service.name: service.container.exit_code(PATIENCE) for service in others}
    assert codes == {service.name: 0 for service in others}


def test_a_container_that_is_told_to_stop_before_it_serves_ends_at_once(hosted: Hosted) -> None:
    with hosted.start("notify") as starting:
        deadline = time.monotonic() + 10
        while status(starting)["SigCgt"].strip()[-4] == "0":  # until its first lines have run
            assert time.monotonic() < deadline
        starting.container.kill(signal.SIGTERM)
        assert starting.container.exit_code(5) in (128 + signal.SIGTERM, 0)


def test_the_command_line_runs_without_rights_too(built: Callable[[str], str]) -> None:
    told = podman.run(built("cli"), "--help")
    assert "status" in told and "Usage: lianxin" in told
