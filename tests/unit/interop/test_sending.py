"""Does one partner's trouble stay its own?"""

from __future__ import annotations

import asyncio
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from libs.common.clock import Ports
from libs.common.decision import Input
from libs.common.events import ResultReleased
from libs.common.fates import Fate, Outcome
from libs.common.telemetry import setup
from libs.common.webhooks import Answered
from services.interop.domain.delivering import DISCARD, DROPPED, ENDED, RESTED
from services.interop.domain.delivery import Agenda, Delivery
from services.interop.domain.partners import Partner, Partners
from services.interop.domain.subscription import Format, Status, Subscription, Terms
from services.interop.ports import Key, Look
from services.interop.senders.calling import SHARE, Calling
from services.interop.senders.cloudevents import CloudEvents
from services.interop.senders.courier import TURN, Courier, Means

NOW = datetime(2026, 3, 2, 8, tzinfo=UTC)
CALLS = 16
KEEP = timedelta(days=30)
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


APP = Partner(client="app", hospital="h1", name="App", subscribes=frozenset({"reports.events"}))


def means_of(
    work: Any, clock: Any, *partners: Partner, endpoints: Endpoints | None = None
) -> Means:
    return Means(
        work=work,
        calling=Calling(endpoints or Endpoints(), clock, calls=4, seconds=9),  # type: ignore[arg-type]
        decides=work,
        messages={Format.CLOUDEVENTS: CloudEvents()},
        partners=Partners(partners),
        ports=Ports(clock=clock),
        tracer=TRACER,
        parallel=2,
        keep=KEEP,
        owned=lambda: True,
    )


async def test_a_subscription_with_a_backlog_lets_others_have_its_place() -> None:
    work, clock = Endless(), Clock()
    async with asyncio.timeout(5):
        await Courier(("h1", "s-app"), means_of(work, clock, APP)).run()
    *ended, rested = work.told
    assert rested.type == RESTED and {input.type for input in ended} <= {ENDED}
    assert rested.data.next_at is not None, "it is due again at once"
    assert clock.seconds < 4 * TURN


class Suspended:
    """A work list of one subscription that is suspended since ``NOW``, and who decides on it."""

    def __init__(self, *came_at: datetime, resumed: bool = False) -> None:
        self.waiting = {f"d{n}": at for n, at in enumerate(came_at)}
        self.resumed = resumed
        self.dropped: list[str] = []
        self.next_at: datetime | None = None

    async def look(self, key: Key, now: datetime) -> Look:
        suspended = subscription("app").but(status=Status.SUSPENDED)
        return Look(suspended, Agenda(id=key[1], hospital="h1", number=10))

    async def undelivered(self, _key: Key, limit: int) -> list[tuple[str, datetime]]:
        return list(self.waiting.items())[:limit]

    async def submit(self, input: Input) -> Outcome:
        if input.type == RESTED:
            self.next_at = input.data.next_at
            return Outcome(Fate.DONE, "rested", result={"again": False})
        assert input.type == DISCARD
        if self.resumed:
            return Outcome(Fate.REFUSED, "stale")
        self.dropped += input.data.deliveries
        for id in input.data.deliveries:
            del self.waiting[id]
        return Outcome(Fate.DONE, DROPPED, result={"discarded": 1, "until": 1})


def day(number: float) -> datetime:
    return NOW + timedelta(days=number)


class Still(Clock):
    def __init__(self, now: datetime) -> None:
        super().__init__()
        self._now = now

    def now(self) -> datetime:
        return self._now


@pytest.mark.parametrize(
    ("today", "came_on", "dropped", "next_on"),
    [
        (0, [], 0, None),
        (29, [-90, 1], 0, 30),  # not so long suspended, whatever was parked before
        (30, [-90, 0, 1], 2, 31),
        (90, [*[n / 10 for n in range(500)], 61], 500, 91),
        (90, [1, 2], 2, None),
        (30, [0.001], 0, 30 + 1 / 24),  # no look for each
    ],
)
async def test_what_has_waited_for_too_long_under_a_suspended_one_is_dropped_and_no_more(
    today: float, came_on: list[float], dropped: int, next_on: float | None
) -> None:
    work = Suspended(*(day(n) for n in came_on))
    async with asyncio.timeout(5):
        await Courier(("h1", "s-app"), means_of(work, Still(day(today)))).run()
    assert work.dropped == [f"d{n}" for n in range(dropped)]
    assert work.next_at == (None if next_on is None else day(next_on))


async def test_what_was_resumed_meanwhile_is_left_alone() -> None:
    work = Suspended(day(0), resumed=True)
    async with asyncio.timeout(5):
        await Courier(("h1", "s-app"), means_of(work, Still(day(90)))).run()
    assert work.waiting and not work.dropped


async def test_what_was_taken_is_recorded_whatever_becomes_of_another_call() -> None:
    """Else it would be sent again."""

    class Half(Endpoints):
        async def post(self, address: str, body: bytes, headers: Any) -> Answered:
            if headers["webhook-sequence"] == "2":
                raise ValueError("a bug")
            return await super().post(address, body, headers)

    class Two(Endless):
        async def look(self, key: Key, now: datetime) -> Look:
            first, second = [await super(Two, self).look(key, now) for _ in range(2)]
            (one,), (other,) = first.ready, second.ready
            return replace(first, ready=[one, other.but(lane="p2")], more=False)

    work = Two()
    means = means_of(work, Ports().clock, APP, endpoints=Half())
    with pytest.raises(ValueError, match="a bug"):
        await Courier(("h1", "s-app"), means).run()
    [ended] = work.told
    assert [(attempt.id, attempt.verdict) for attempt in ended.data.attempts] == [("d1", "taken")]
