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
    """People who call until nobody listens any more."""

    h: Hospital
    answers: Counter[int] = field(default_factory=Counter)
    #: Ids of what was accepted.
    accepted: list[str] = field(default_factory=list)
    #: Connected, and no answer.
    broken: list[str] = field(default_factory=list)

    async def run(self, patients: list[int]) -> None:
        queue = iter(patients)
        async with asyncio.TaskGroup() as all:
            for n in range(CALLERS):
                all.create_task(self._caller(queue, keep_alive=n % 2 == 0))

    async def _caller(self, queue: Iterator[int], *, keep_alive: bool) -> None:
        limits = httpx.Limits(max_keepalive_connections=1 if keep_alive else 0)
        async with httpx.AsyncClient(limits=limits, timeout=30, trust_env=False) as http:
            for n in queue:
                try:
                    await self._ask(http, n)
                except httpx.ConnectError:
                    return  # nobody listens: it has stopped
                except httpx.TransportError as error:
                    self.broken.append(f"{type(error).__name__} keep_alive={keep_alive}")

    async def _ask(self, http: httpx.AsyncClient, n: int) -> None:
        url = self.h.stack.service_url("prescriptions")
        headers = self.h.headers(f"p{n}", "patient")
        read = await http.get(f"{url}/v1/renewable?patient_id=p{n}", headers=headers)
        self.answers[read.status_code] += 1
        asked = await http.post(
            f"{url}/v1/refills",
            json={"prescription_id": f"rx{n}", "patient_id": f"p{n}"},
            headers={**headers, "Idempotency-Key": f"key{n}"},
        )
        self.answers[asked.status_code] += 1
        if asked.status_code == 201:
            self.accepted.append(asked.json()["id"])


@pytest.mark.timeout(300)
async def test_nobody_who_calls_a_stopping_service_is_let_down_and_nothing_is_lost(
    platform: Platform, hospital: Hospital
) -> None:
    patients = list(range(FIRST, FIRST + 5 * 4000, 5))
    known, later = patients[:3000], patients[3000:]
    for begin in range(0, len(known), 500):
        await hospital.publish(*(prescription(hospital, n) for n in known[begin : begin + 500]))
    await hospital.settled()
    callers = Callers(hospital)
    calling = asyncio.create_task(callers.run(known))
    await asyncio.sleep(1.0)
    await hospital.publish(*(prescription(hospital, n) for n in later))  # and events stream in
    await stopped(platform, "prescriptions")
    await calling

    assert callers.accepted
    assert len(callers.accepted) < len(known), "it stopped in the middle"
    assert set(callers.answers) == {200, 201}
    assert not callers.broken
    await platform.start("prescriptions")
    await hospital.settled()
    stored = {r["id"] for r in await hospital.rows("prescriptions", "refills")}
    assert set(callers.accepted) <= stored
    assert len(await hospital.rows("prescriptions", "prescriptions")) == len(patients)


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


async def _some(callers: Callers) -> bool:
    return len(callers.accepted) > CALLERS


@pytest.mark.timeout(300)
@pytest.mark.parametrize("away", ["kafka", "mongo"])
async def test_a_service_stops_in_time_though_a_part_that_it_needs_is_away(
    platform: Platform, hospital: Hospital, away: str
) -> None:
    numbers = [FIRST + 5 * n for n in range(1000)]
    for begin in range(0, len(numbers), 500):
        await hospital.publish(*(prescription(hospital, n) for n in numbers[begin : begin + 500]))
    await hospital.settled()
    callers = Callers(hospital)
    calling = asyncio.create_task(callers.run(numbers))
    await eventually(lambda: _some(callers))
    await platform.kill(away)
    await asyncio.sleep(1.0)
    await stopped(platform, "prescriptions")
    await calling

    assert set(callers.answers) <= ({200, 201} if away == "kafka" else {200, 201, 503})
    assert not callers.broken
    await platform.start(away)
    await platform.start("prescriptions")
    await hospital.settled()
    stored = {r["id"] for r in await hospital.rows("prescriptions", "refills")}
    assert set(callers.accepted) <= stored

    async def both_hear() -> bool:
        told = await hospital.rows("notify", "inbox_messages", template="refill.requested")
        return len(told) == len(stored)

    assert await eventually(both_hear)
