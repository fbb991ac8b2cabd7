"""Does anybody notice when a new version is rolled out over all services?

Two replicas of each, behind what sends requests to those alone that say they are ready, as a
Service of Kubernetes does. While events stream in, messages come over MLLP and people act,
every replica of every service is asked to stop and replaced, one after another.
"""

from __future__ import annotations

import asyncio
import itertools
from collections import Counter
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from datetime import timedelta
from itertools import chain
from typing import Any, Final

import httpx
import pytest

from libs.common.devstack.places import SERVICES
from libs.common.events import EncounterDischarged
from tests.failure.journeys import Discharges, Joining, Refills, Reports, Told, require_each
from tests.failure.test_interfaces import HOSPITAL, ROLLED, HospitalSystem
from tests.failure.test_interfaces import discharge as a03
from tests.failure.test_stopping import stopped
from tests.simulators.smtp import MailServer
from tests.simulators.webhooks import WebhookReceiver
from tests.support import topics
from tests.support.platform import Hospital, Platform, eventually

#: Seconds between two looks at who is ready; a stopping service serves on for LINGER_SECONDS.
LOOK: Final = 0.2
#: Who leaves hospital and has a report in one go; one of them joins before the next ones come.
SLICE: Final = 6
#: Who renews medicines at a time: nobody of those who leave hospital.
PATIENTS, FIRST = 6, 5_002


class Balancer:
    """Round robin over the replicas that were ready at the last look."""

    def __init__(self, urls: Mapping[str, Sequence[str]]) -> None:
        self._urls = urls
        self.ready: set[str] = set()
        self.terminating: set[str] = set()
        self._turn = itertools.count()

    @asynccontextmanager
    async def watching(self) -> AsyncIterator[None]:
        async with httpx.AsyncClient(timeout=5, trust_env=False) as http:
            urls = list(chain(*self._urls.values()))
            await asyncio.gather(*(self._look_at(http, url) for url in urls))
            looking = [asyncio.create_task(self._keep_looking(http, url)) for url in urls]
            try:
                yield
            finally:
                for task in looking:
                    task.cancel()

    async def _keep_looking(self, http: httpx.AsyncClient, url: str) -> None:
        # Each by itself, as a kubelet's probes: one that is slow to answer hides no other.
        while True:
            await asyncio.sleep(LOOK)
            await self._look_at(http, url)

    async def _look_at(self, http: httpx.AsyncClient, url: str) -> None:
        try:
            ready = (await http.get(f"{url}/readyz")).status_code == 200
        except httpx.TimeoutException:
            return  # one late answer says nothing: a probe has a failureThreshold
        except httpx.TransportError:
            ready = False
        (self.ready.add if ready else self.ready.discard)(url)

    async def is_sent_to(self, url: str) -> None:
        async def sent() -> bool:
            return url in self.ready - self.terminating

        await eventually(sent, every=LOOK)

    def url(self, service: str) -> str:
        ready = [url for url in self._urls[service] if url in self.ready - self.terminating]
        assert ready, f"no replica of {service} is ready"
        return ready[next(self._turn) % len(ready)]


class Balanced(Hospital):
    """Asks once, whoever is ready: an answer that does not come is a failure."""

    balancer: Balancer

    def __init__(self, platform: Platform) -> None:
        super().__init__(platform)
        self.answers: Counter[int] = Counter()

    async def call(self, method: str, replica: str, path: str, **more: Any) -> httpx.Response:
        key, headers, body = (more.get(name) for name in ("key", "headers", "body"))
        told = {"Idempotency-Key": key} if key else {}
        url = self.balancer.url(replica.removesuffix("-2")) + path
        answer = await self.http.request(
            method, url, json=body, headers={**told, **(headers or {})}
        )
        self.answers[answer.status_code] += 1
        return answer

    insist = call


class Load:
    """What goes on all the time; ``enough`` ends it after what has been begun."""

    def __init__(self, h: Balanced) -> None:
        self.h, self.enough = h, False
        self.discharged = 0
        self.joining = Joining(h, 0, 1)
        self.renewals: list[Refills] = []

    async def run(self) -> None:
        async with asyncio.TaskGroup() as all:
            all.create_task(self._stays())
            all.create_task(self._renewals())

    async def _stays(self) -> None:
        while not self.enough:
            begin, self.discharged = self.discharged, self.discharged + SLICE
            journeys = (Discharges(self.h, self.discharged), Reports(self.h, self.discharged))
            await self.h.publish(*(e for j in journeys for e in j.events(begin, self.discharged)))
            self.joining.wanted.add(f"p{begin}")
            await self.joining.run()

    async def _renewals(self) -> None:
        while not self.enough:
            first = FIRST + len(self.renewals) * 5 * PATIENTS
            renewals = Refills(self.h, range(first, first + 5 * PATIENTS, 5), pace=0.2)
            self.renewals.append(renewals)
            await self.h.publish(*renewals.events())
            await renewals.run()

    async def check(self, told: Told) -> None:
        discharges = Discharges(self.h, self.discharged)
        await discharges.check()
        await Reports(self.h, self.discharged).check()
        await self.joining.check()
        await told.check("invitation.issued", range(self.discharged))
        await told.check("report.ready", range(self.discharged))
        numbers = [n for r in self.renewals for n in r.numbers]
        for template, each in (("refill.requested", 3), ("refill.effective", 3)):
            await told.check(template, numbers, each)
        whole = Refills(self.h, numbers)
        whole.effective = sum((r.effective for r in self.renewals), Counter())
        whole.refused = {p for r in self.renewals for p in r.refused}
        await whole.check()
        await told.check_calls()


async def replaced(platform: Platform, balancer: Balancer, replicas: Sequence[str]) -> None:
    """One replica after another, each when the one before it is sent requests again."""
    for replica in replicas:
        url = platform.stack.service_url(replica)
        stopping = asyncio.create_task(stopped(platform, replica))
        # Kubernetes takes a terminating pod out of its Service whatever the probes have seen; it
        # begins to while the pod is told to stop, and is a little later.
        await asyncio.sleep(LOOK)
        balancer.terminating.add(url)
        await stopping
        await platform.start(replica)
        balancer.terminating.discard(url)
        await balancer.is_sent_to(url)


@pytest.mark.timeout(300)
async def test_a_new_version_is_rolled_out_under_load_and_nobody_notices(
    platform: Platform, mails: MailServer, hooks: WebhookReceiver
) -> None:
    stack = platform.stack
    second = [f"{name}-2" for name in SERVICES if f"{name}-2" not in stack.parts]
    for name in second:
        stack.start_service(name.removesuffix("-2"), replica=2, wait=False)
    stack.wait_ready(*second)
    replicas = {name: (name, f"{name}-2") for name in SERVICES}
    mllp = [stack.parts[r].program.env["MLLP_PORT"] for r in replicas["interop"]]  # type: ignore[attr-defined]
    try:
        async with Balanced(platform) as h:
            urls = {s: [stack.service_url(r) for r in names] for s, names in replicas.items()}
            h.balancer = Balancer(urls)
            at = h.ports.clock.now() - timedelta(hours=1)
            numbers = itertools.count(ROLLED)
            sent: list[int] = []
            turn = itertools.cycle(map(int, mllp))

            def messages() -> Any:
                for n in numbers:
                    sent.append(n)
                    yield a03(n, at)

            his = HospitalSystem(lambda: next(turn), messages(), 0.1)
            load = Load(h)
            before = platform.pids()
            async with h.balancer.watching(), asyncio.TaskGroup() as all:
                all.create_task(load.run())
                all.create_task(his.run())
                async with asyncio.TaskGroup() as rolling:
                    for names in replicas.values():
                        rolling.create_task(replaced(platform, h.balancer, names))
                load.enough = his.stop = True
            assert not before.items() & platform.pids().items(), "all of them were replaced"
            await h.settled()

            assert not [status for status in h.answers if status >= 500], h.answers
            assert h.answers[200] > 20 and h.answers[201] > 3 * PATIENTS
            await load.check(Told(h, mails, hooks))
            assert await h.letters() == []
            assert his.answers["AA"] == his.acknowledged == len(sent) > 10
            other = topics.events(
                await topics.standing(stack.bootstrap, EncounterDischarged.TOPIC), HOSPITAL
            )
            ids = {f"hl7-e{n}" for n in sent}
            found = [
                e.data.encounter_id
                for e in topics.once(other)
                if isinstance(e.data, EncounterDischarged) and e.data.encounter_id in ids
            ]
            require_each(found, ids)
    finally:
        for name in second:
            stack.remove(name)
