"""Does the page show what really goes over broker, SMTP and OTLP, also after a restart?"""

from __future__ import annotations

import json
import signal
import smtplib
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime
from email.message import EmailMessage
from pathlib import Path
from typing import Any

import httpx
import pytest

from libs.common import telemetry
from libs.common.cloudevents import CloudEvent, encode
from libs.common.devstack import services
from libs.common.devstack.places import Ports
from libs.common.devstack.stack import Stack
from libs.common.events import Event, PatientDeceased, PatientRegistered
from libs.common.kafka.producer import Producer

NAME, HOSPITAL = "page-under-test", "page-hospital"
TRACE = "4bf92f3577b34da6a3ce929d0e0e4736"
TRACEPARENT = f"00-{TRACE}-00f067aa0ba902b7-01"
NOW = datetime(2026, 11, 18, 2, tzinfo=UTC)
PERSON = {"patient_id": "p-1", "name": "林晓梅", "email": "p-1@example.org"}


@dataclass(frozen=True, slots=True)
class Row:
    topic: str
    key: bytes
    value: bytes
    headers: list[tuple[str, bytes]]


def row(data: Event, id: str) -> Row:
    event = CloudEvent(
        id=id,
        source="/systems/his",
        type=data.TYPE,
        subject="p-1",
        time=NOW,
        hospital=HOSPITAL,
        data=data,
        traceparent=TRACEPARENT,
    )
    return Row(data.TOPIC, *encode(event))


@dataclass(frozen=True, slots=True)
class Page:
    stack: Stack
    ports: Ports
    client: httpx.Client

    def get(self, path: str) -> Any:
        return self.client.get(path).json()

    def entries(self) -> list[str]:
        found = self.get("/api/timeline?limit=5000")["entries"]
        return [e["id"].split("|")[-1] for e in found if e["hospital"] == HOSPITAL]

    def letters(self) -> list[str]:
        return [
            m["title"]
            for p in self.get("/api/phones")["phones"]
            if (p["hospital"], p["person"]) == (HOSPITAL, "p-1")
            for m in p["messages"]
        ]


@pytest.fixture
def page(stack: Stack, tmp_path: Path) -> Iterator[Page]:
    ports = Ports.free()
    program = services.page(tmp_path, ports, stack.service_environment())
    stack.start_program(replace(program, name=NAME))
    base = f"http://127.0.0.1:{ports.page}"
    with httpx.Client(base_url=base, trust_env=False) as client:
        yield Page(stack, ports, client)
    stack.remove(NAME)


def until(true: Callable[[], bool], seconds: float = 30) -> None:
    deadline = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < deadline, "it did not happen in time"
        time.sleep(0.05)


async def test_events_letters_and_traces_are_shown_live_and_after_a_restart(page: Page) -> None:
    producer = Producer(page.stack.bootstrap)
    await producer.start()
    registered = PatientRegistered(**PERSON, birth_date=date(1960, 1, 1), updated_at=NOW)
    await producer.send([row(registered, "e-1")])
    until(lambda: page.entries() == ["e-1"])

    async with (
        httpx.AsyncClient(base_url=page.client.base_url, trust_env=False, timeout=20) as live,
        live.stream("GET", "/stream", params={"lang": "en"}) as stream,
    ):
        lines = stream.aiter_lines()
        assert await anext(lines) == ": open"
        await producer.send([row(PatientDeceased(patient_id="p-1", deceased_at=NOW), "e-2")])
        async for line in lines:
            if line.startswith("data: ") and "Patient deceased" in line:
                assert "林晓梅" in json.loads(line.removeprefix("data: "))["html"]
                break
    await producer.stop()

    letter = EmailMessage()
    letter["Subject"], letter["From"], letter["To"] = "您好", "a@example.org", "p-1@example.org"
    letter.set_content("请登录查看")
    with smtplib.SMTP("127.0.0.1", page.ports.smtp, timeout=10) as smtp:
        smtp.send_message(letter)
    assert page.letters() == ["您好"]

    traces = telemetry.setup(
        "enrollment", endpoint=f"http://127.0.0.1:{page.ports.page}", install=False
    )
    traces.tracer.record(TRACEPARENT, type=registered.TYPE, id="e-1", topic="t").end("done")
    traces.shutdown()
    assert page.get(f"/api/traces/{TRACE}")["services"] == ["enrollment"]

    page.stack.restart(NAME)
    until(lambda: sorted(page.entries()) == ["e-1", "e-2"])
    assert page.letters() == ["您好"]
    assert [t["trace_id"] for t in page.get("/api/traces")["traces"]] == [TRACE]


def test_the_page_goes_down_at_once_while_a_browser_listens(page: Page) -> None:
    with page.client.stream("GET", "/stream", timeout=20) as stream:
        lines = stream.iter_lines()
        assert next(lines) == ": open"
        began = time.monotonic()
        page.stack.kill(NAME, signal.SIGTERM)
        assert time.monotonic() - began < 8
        said: list[str] = []
        with suppress(httpx.RemoteProtocolError):  # the last chunk may be cut by the exit
            for line in lines:
                said.append(line)
        assert "event: reconnect" in said
