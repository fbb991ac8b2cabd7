"""Does one partner's trouble stay its own?"""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta
from typing import Any

from libs.common.clock import Ports
from libs.common.decision import Input
from libs.common.events import ResultReleased
from libs.common.fates import Fate, Outcome
from libs.common.telemetry import setup
from libs.common.webhooks import Answered
from services.interop.domain.delivering import ENDED, RESTED
from services.interop.domain.delivery import Agenda, Delivery
from services.interop.domain.partners import Partner, Partners
from services.interop.domain.subscription import Format, Status, Subscription, Terms
from services.interop.ports import Key, Look
from services.interop.senders.calling import SHARE, Calling
from services.interop.senders.cloudevents import CloudEvents
from services.interop.senders.courier import TURN, Courier, Means

NOW = datetime(2026, 3, 2, 8, tzinfo=UTC)
CALLS = 16
TRACER = setup("test", sample_ratio=0.0, install=False).tracer


def subscription(client: str) -> Subscription:
    return Subscription(
        id=f"s-{client}",
        hospital="h1",
        client=client,
        terms=Terms(endpoint=f"https://{client}.example/", types=(ResultReleased.TYPE,)),
        status=Status.ACTIVE,
        created_at=NOW,
        changed_at=NOW,
        secret="whsec_" + "a" * 44,
    )


class Endpoints:
    """In place of ``WebhookClient``: ``slow`` never answers."""

    def __init__(self) -> None:
        self.open: list[str] = []

    async def post(self, address: str, _body: bytes, _headers: Any) -> Answered:
        self.open.append(address)
        if "slow" in address:
            await asyncio.Event().wait()
        return Answered(status=204)


async def test_a_partner_that_is_slow_holds_up_no_other_one() -> None:
    endpoints = Endpoints()
    calling = Calling(endpoints, Ports().clock, calls=CALLS, seconds=60)  # type: ignore[arg-type]
    slow, quick = subscription("slow"), subscription("quick")
    waiting = [
        asyncio.create_task(calling.post(slow, str(n), n, b"{}", "application/json"))
        for n in range(10 * CALLS)
    ]
    await asyncio.sleep(0)
    async with asyncio.timeout(5):
        called = await calling.post(quick, "1", 1, b"{}", "application/json")
    assert called.verdict == "taken"
    assert endpoints.open.count("https://slow.example/") == CALLS // SHARE
    for task in waiting:
        task.cancel()
    await asyncio.gather(*waiting, return_exceptions=True)


class Clock:
    """Ten seconds pass between two looks at it."""

    def __init__(self) -> None:
        self.seconds = 0.0

    def monotonic(self) -> float:
        self.seconds += 10.0
        return self.seconds

    def now(self) -> datetime:
        return NOW + timedelta(seconds=self.seconds)

    async def sleep(self, _seconds: float) -> None:
        await asyncio.sleep(0)


class Endless:
    """A work list of one subscription that never has less to send, and who decides on it."""

    def __init__(self) -> None:
        self.told: list[Input] = []
        self.number = 0

    async def look(self, key: Key, now: datetime) -> Look:
        self.number += 1
        delivery = Delivery(
            id=f"d{self.number}",
            hospital="h1",
            subscription_id=key[1],
            number=self.number,
            lane="p1",
            type=ResultReleased.TYPE,
            event=b"{}",
            at=now,
            queued_at=now,
        )
        agenda = Agenda(id=key[1], hospital="h1", number=10_000)
        return Look(subscription("app"), agenda, ready=[delivery], more=True)

    async def submit(self, input: Input) -> Outcome:
        self.told.append(input)
        results = {ENDED: {"parked": 0, "next_at": None}, RESTED: {"again": False}}
        return Outcome(Fate.DONE, "done", result=results[input.type])


async def test_a_subscription_with_a_backlog_lets_others_have_its_place() -> None:
    partner = Partner(
        client="app", hospital="h1", name="App", subscribes=frozenset({"reports.events"})
    )
    work, clock = Endless(), Clock()
    ports = Ports(clock=clock)
    calling = Calling(Endpoints(), clock, calls=4, seconds=9)  # type: ignore[arg-type]
    means = Means(
        work=work,  # type: ignore[arg-type]
        calling=calling,
        decides=work,
        messages={Format.CLOUDEVENTS: CloudEvents()},
        partners=Partners([partner]),
        ports=ports,
        tracer=TRACER,
        parallel=2,
        owned=lambda: True,
    )
    async with asyncio.timeout(5):
        await Courier(("h1", "s-app"), means).run()
    *ended, rested = work.told
    assert rested.type == RESTED and {input.type for input in ended} <= {ENDED}
    assert rested.data.next_at is not None, "it is due again at once"
    assert clock.seconds < 4 * TURN
