"""Does anybody notice when a service is asked to stop in the middle of its work?

As in a rolling update: SIGTERM comes while people call and events stream in. Whoever is
connected gets a proper answer, nobody gets a 503, and what was answered is there afterwards.
"""

from __future__ import annotations

import asyncio
import signal
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field

import httpx
import pytest

from libs.common.devstack.day.records import WELL
from tests.failure.journeys import discharge, prescription, registered
from tests.support.platform import Hospital, Platform, eventually

#: Seconds from SIGTERM to the end of the process.
GRACE = 25.0
CALLERS = 24
FIRST = 10_002  # and every fifth: patients with the inbox alone


async def stopped(platform: Platform, part: str) -> None:
    """Ask ``part`` to stop. It must end well, and in time."""
    child = platform.stack.parts[part]
    child.kill(signal.SIGTERM)
    assert await asyncio.to_thread(child.wait, GRACE), f"{part} still runs after {GRACE:.0f} s"
    assert child.exit_code() == 0


@dataclass
class Callers:
    """People who call until nobody listens any more.

    ``balanced``: through something that sends nobody to a service which is not ready.
    """

    h: Hospital
    balanced: bool
    answers: Counter[int] = field(default_factory=Counter)
    #: Ids of what was accepted.
    accepted: list[str] = field(default_factory=list)
    #: Whose request went out and was not answered, and how that showed.
    unanswered: dict[str, str] = field(default_factory=dict)

    async def run(self, patients: list[int]) -> None:
        queue = iter(patients)
        self._sent_there = True
        balancing = asyncio.create_task(self._balance())
        async with asyncio.TaskGroup() as all:
            for n in range(CALLERS):
                all.create_task(self._caller(queue, keep_alive=n % 2 == 0))
        balancing.cancel()

    async def _balance(self) -> None:
        while self.balanced and self._sent_there:
            await asyncio.sleep(0.1)
            try:
                ready = await self.h.call("GET", "prescriptions", "/readyz")
                self._sent_there = ready.status_code == 200
            except httpx.TransportError:
                self._sent_there = False

    async def _caller(self, queue: Iterator[int], *, keep_alive: bool) -> None:
        limits = httpx.Limits(max_keepalive_connections=1 if keep_alive else 0)
        async with httpx.AsyncClient(limits=limits, timeout=30, trust_env=False) as http:
            for n in queue:
                try:
                    await self._ask(http, n)
                except httpx.ConnectError:
                    return  # nobody listens: it has stopped
                except httpx.TransportError as error:
                    self.unanswered[f"p{n}"] = f"{type(error).__name__}, {keep_alive=}"
                if not self._sent_there:
                    return

    async def _ask(self, http: httpx.AsyncClient, n: int) -> None:
        url = self.h.stack.service_url("prescriptions")
        headers = {**self.h.headers(f"p{n}", "patient"), "X-Correlation-ID": f"p{n}"}
        read = await http.get(f"{url}/v1/renewable?patient_id=p{n}", headers=headers)
        self.answers[read.status_code] += 1
        if read.status_code != 200 or not self._sent_there:
            return
        asked = await http.post(
            f"{url}/v1/refills",
            json={"prescription_id": f"rx{n}", "patient_id": f"p{n}", "declaration": WELL},
            headers={**headers, "Idempotency-Key": f"key{n}"},
        )
        self.answers[asked.status_code] += 1
        if asked.status_code == 201:
            self.accepted.append(asked.json()["id"])

    async def check(self) -> None:
        """Whatever was answered is there; whatever was not answered was never let in.

        Who connects in the very moment in which a socket is closed is turned away by the
        operating system and may ask again: the service has seen nothing of it.
        """
        stored = await self.h.rows("prescriptions", "refills")
        assert set(self.accepted) <= {r["id"] for r in stored}
        assert not self.unanswered.keys() & {r["patient_id"] for r in stored}
        if self.balanced:
            assert not self.unanswered


async def prescribed(h: Hospital, numbers: list[int]) -> None:
    """To patients of whom the records are told first: who might be a child can't ask."""
    for make in (registered, prescription):
        for begin in range(0, len(numbers), 500):
            await h.publish(*(make(h, n) for n in numbers[begin : begin + 500]))


@pytest.mark.timeout(300)
@pytest.mark.parametrize("balanced", [True, False], ids=["behind a balancer", "directly"])
async def test_nobody_who_calls_a_stopping_service_is_let_down_and_nothing_is_lost(
    platform: Platform, hospital: Hospital, balanced: bool
) -> None:
    patients = list(range(FIRST, FIRST + 5 * 3000, 5))
    known, later = patients[:2000], patients[2000:]
    await prescribed(hospital, known)
    await hospital.settled()
    callers = Callers(hospital, balanced)
    calling = asyncio.create_task(callers.run(known))
    await eventually(lambda: _some(callers))
    await prescribed(hospital, later)  # and events stream in
    await stopped(platform, "prescriptions")
    await calling

    assert len(callers.accepted) < len(known), "it stopped in the middle"
    assert set(callers.answers) == {200, 201}
    await platform.start("prescriptions")
    await hospital.settled()
    await callers.check()
    assert len(await hospital.rows("prescriptions", "prescriptions")) == len(patients)


async def _some(callers: Callers) -> bool:
    return len(callers.accepted) > CALLERS


@pytest.mark.timeout(300)
async def test_live_readers_are_told_to_come_again_and_miss_nothing(
    platform: Platform, hospital: Hospital
) -> None:
    numbers = [FIRST + 5 * n for n in range(40)]
    headers = hospital.headers(f"p{numbers[0]}", "patient")
    url = f"{hospital.stack.service_url('notify')}/v1/inbox/live?after=0"
    lines: list[str] = []
    opened = asyncio.Event()

    async def read() -> None:
        async with hospital.http.stream("GET", url, headers=headers, timeout=60) as stream:
            assert stream.status_code == 200
            async for line in stream.aiter_lines():
                lines.append(line)
                opened.set()

    reading = asyncio.create_task(read())
    await opened.wait()
    await hospital.publish(*(registered(hospital, n) for n in numbers))
    await hospital.publish(*(discharge(hospital, n, "NEURO", "I63.900x001") for n in numbers))
    await stopped(platform, "notify")
    await reading  # ends by itself, well
    assert "event: reconnect" in lines

    await platform.start("notify")
    await hospital.settled()
    told = Counter(r["person_id"] for r in await hospital.rows("notify", "inbox_messages"))
    assert told == Counter({f"p{n}": 1 for n in numbers})
    seen = int(max((x.removeprefix("id: ") for x in lines if x.startswith("id: ")), default="0"))
    rest = await hospital.insist("GET", "notify", "/v1/inbox", headers=headers)
    assert len([m for m in rest.json()["items"] if m["number"] > seen]) == 1 - seen


@pytest.mark.timeout(300)
@pytest.mark.parametrize("away", ["kafka", "mongo"])
async def test_a_service_stops_in_time_though_a_part_that_it_needs_is_away(
    platform: Platform, hospital: Hospital, away: str
) -> None:
    numbers = [FIRST + 5 * n for n in range(1000)]
    await prescribed(hospital, numbers)
    await hospital.settled()
    callers = Callers(hospital, balanced=False)
    calling = asyncio.create_task(callers.run(numbers))
    await eventually(lambda: _some(callers))
    await platform.kill(away)
    await asyncio.sleep(1.0)
    await stopped(platform, "prescriptions")
    await calling

    assert set(callers.answers) <= ({200, 201} if away == "kafka" else {200, 201, 503})
    await platform.start(away)
    await platform.start("prescriptions")
    await hospital.settled()
    await callers.check()
    told = await hospital.rows("notify", "inbox_messages", template="refill.requested")
    assert len(told) == len(await hospital.rows("prescriptions", "refills"))


async def test_a_connection_that_was_idle_is_kept_as_long_as_what_stands_before_a_service_keeps_it(
    platform: Platform,
) -> None:
    url = httpx.URL(platform.stack.service_url("reports"))
    reader, writer = await asyncio.open_connection(url.host, url.port)
    for wait in (6.0, 0.0):  # uvicorn's own is 5 s
        writer.write(b"GET /livez HTTP/1.1\r\nHost: x\r\n\r\n")
        head = await reader.readuntil(b"\r\n\r\n")
        assert head.startswith(b"HTTP/1.1 200")
        length = int(head.lower().partition(b"content-length:")[2].split()[0])
        await reader.readexactly(length)
        await asyncio.sleep(wait)
    writer.close()
