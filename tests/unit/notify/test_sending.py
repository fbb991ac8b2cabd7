"""The sending loop over the rules in memory, with processes that are dropped."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import datetime, timedelta

import pytest

from libs.common.clock import Ports, SystemClock
from libs.common.decision import Input, Refusal
from libs.common.events import Channel
from libs.common.fates import Fate, Outcome
from libs.common.mongo.errors import Unavailable
from libs.common.telemetry import Tracer
from services.notify.domain.delivering import CLAIM, ENDED
from services.notify.domain.delivery import Delivery, DeliveryStatus
from services.notify.domain.inbox import InboxMessage
from services.notify.ports import Due, Outgoing
from services.notify.senders.sending import Provider, Sending
from services.notify.store import outgoing
from tests.fakes.channels import FakeSender
from tests.support.rules import Case
from tests.unit.notify.cases import CLAIM_HOLDS, NOW, SECOND, delivery, known_case, request

EMAIL = Channel.EMAIL

Outgoings = dict[tuple[str, str, Channel], Outgoing]


class CaseClock(SystemClock):
    """The case's time for the rules, the machine's for waiting."""

    def __init__(self, case: Case) -> None:
        self._case = case

    def now(self) -> datetime:
        return self._case.now


@dataclass
class Store:
    """Stands in for engine and store. ``commits`` are the types of each transaction."""

    case: Case
    commits: list[list[str]] = field(default_factory=list)
    away: int = 0  # so many calls find no database
    unheard: int = 0  # so many commit, but nobody hears of it
    on_commit: Callable[[list[str]], None] = lambda _types: None

    async def run(self, inputs: Sequence[Input], name: str = "") -> list[Outcome]:
        await asyncio.sleep(0)
        if self.away:
            self.away -= 1
            raise Unavailable("away")
        known = {i.id for i in inputs if (i.hospital, i.source, i.id) in self.case._settled}
        answers = self.case.batch(inputs)
        self.commits.append([i.type for i in inputs])
        if self.unheard:
            self.unheard -= 1
            raise Unavailable("unheard")
        self.on_commit(self.commits[-1])
        outcomes = []
        for input, answer in zip(inputs, answers, strict=True):
            fate = Fate.DUPLICATE if input.id in known else Fate.DONE
            if isinstance(answer, Refusal):
                outcomes.append(Outcome(Fate.REFUSED, answer.reason, refusal=answer))
            else:
                outcomes.append(Outcome(fate, answer.note, result=answer.result))
        return outcomes

    async def due(self, channel: Channel, now: datetime, grace: timedelta, limit: int) -> list[Due]:
        found = [
            d
            for d in self.case.docs(Delivery, channel=channel)
            if d.next_attempt_at is not None and d.next_attempt_at <= now - grace
        ]
        return [Due(d.hospital, d.notification_id, channel, "", None) for d in found[:limit]]

    async def outgoing(self, dues: Sequence[Due]) -> Outgoings:
        found = {}
        for due in dues:
            message = self.case.doc(InboxMessage, due.notification_id)
            assert message is not None
            doc = delivery(self.case, due.channel, due.notification_id)
            found[due.key] = outgoing(doc, message)
        return found


def new_loop(store: Store, *senders: FakeSender, poll: float = 0.01, **changes: float) -> Sending:
    given = {"calls": 4, "call": 0.5, "claim": 2.0} | changes
    calls = int(given.pop("calls"))
    return Sending(
        [Provider(sender, calls, **given) for sender in senders],
        engine=store,
        work=store,
        ports=Ports(clock=CaseClock(store.case)),
        tracer=Tracer("notify", 0.0, None),
        poll=poll,
        grace=timedelta(0),
    )


@asynccontextmanager
async def running(loop: Sending) -> AsyncIterator[asyncio.Task[None]]:
    task = asyncio.create_task(loop.run())
    try:
        yield task
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


async def until(met: Callable[[], bool]) -> None:
    async with asyncio.timeout(5):
        while not met():  # noqa: ASYNC110 - what is waited for is in a database
            await asyncio.sleep(0.005)


def sent(case: Case, n: int) -> Callable[[], bool]:
    return lambda: len(case.docs(Delivery, status=DeliveryStatus.SENT, channel=EMAIL)) == n


def requested(count: int = 1) -> tuple[Store, FakeSender]:
    case = known_case()
    for n in range(count):
        case.event(request(f"n{n}", channels=(EMAIL,)))
    return Store(case), FakeSender(EMAIL)


async def test_what_is_due_is_found_by_looking_and_sent() -> None:
    store, sender = requested(3)
    async with running(new_loop(store, sender)):
        await until(sent(store.case, 3))
    assert {m.notification_id for m in sender.taken} == {"n0", "n1", "n2"}
    [message] = [m for m in sender.taken if m.notification_id == "n0"]
    assert (message.address, message.title) == ("p1@example.org", "有一份影像检查报告可以查看")
    assert sender.closed


async def test_what_was_committed_here_is_sent_without_looking() -> None:
    store, sender = requested(1)
    loop = new_loop(store, sender, poll=60)
    loop._looked = loop._ports.clock.monotonic()
    async with running(loop):
        await asyncio.sleep(0.05)
        assert sender.calls == []
        loop.hint(Due("h1", "n0", EMAIL, "", None))
        await until(sent(store.case, 1))


async def test_claims_and_outcomes_share_transactions() -> None:
    store, sender = requested(4)
    async with running(new_loop(store, sender)):
        await until(sent(store.case, 4))
    assert store.commits == [[CLAIM] * 4, [ENDED] * 4]


async def test_a_backlog_is_worked_off_as_slots_come_free_not_as_looks_come_round() -> None:
    store, sender = requested(12)
    async with running(new_loop(store, sender, poll=60, calls=2)):
        await until(sent(store.case, 12))


async def test_all_channels_share_transactions_and_each_has_slots_of_its_own() -> None:
    case = known_case()
    for n in range(4):
        case.event(request(f"n{n}"))
    store, slow, quick = Store(case), FakeSender(EMAIL), FakeSender(Channel.WEBHOOK)
    slow.script.extend(["hang"] * 2)
    async with running(new_loop(store, slow, quick, calls=2, call=60, claim=120)):
        await until(lambda: len(quick.taken) == 4)
        await until(lambda: len(slow.taken) == 2)
    assert store.commits[0] == [CLAIM] * 4
    assert case.docs(Delivery, status=DeliveryStatus.SENT, channel=EMAIL) == []


async def test_no_more_calls_are_under_way_than_allowed() -> None:
    store, sender = requested(9)
    async with running(new_loop(store, sender, calls=2)):
        await until(sent(store.case, 9))
    assert sender.most_under_way <= 2


async def test_two_replicas_never_both_call() -> None:
    store, sender = requested(8)
    other = FakeSender(EMAIL)
    async with running(new_loop(store, sender)), running(new_loop(store, other)):
        await until(sent(store.case, 8))
    assert len(sender.calls) + len(other.calls) == 8


async def test_a_process_that_dies_between_record_and_call_loses_nothing() -> None:
    store, sender = requested(1)
    loop = new_loop(store, sender)
    died = asyncio.Event()

    async def die() -> None:
        died.set()
        await asyncio.sleep(3600)

    async def lost(_dues: Sequence[Due]) -> Outgoings:
        await die()
        return {}

    store.outgoing = lost  # type: ignore[method-assign, assignment]
    dying = asyncio.create_task(loop.run())
    await died.wait()
    # As kill -9 does: nothing more is committed by it.
    loop._drain = lambda _recording: asyncio.sleep(0)  # type: ignore[method-assign, assignment]
    dying.cancel()
    await asyncio.gather(dying, return_exceptions=True)
    assert delivery(store.case, EMAIL, "n0").status is DeliveryStatus.SENDING
    assert sender.calls == []

    del store.outgoing
    store.case.advance(CLAIM_HOLDS)
    async with running(new_loop(store, sender)):
        await until(lambda: delivery(store.case, EMAIL, "n0").status is DeliveryStatus.UNKNOWN)
        store.case.advance(60 * SECOND)
        await until(sent(store.case, 1))
    assert len(sender.taken) == 1


async def test_a_process_that_dies_during_the_call_sends_the_same_message_at_most_again() -> None:
    store, sender = requested(1)
    sender.script.append("hang")
    loop = new_loop(store, sender, call=60, claim=120)
    dying = asyncio.create_task(loop.run())
    await until(lambda: len(sender.taken) == 1)
    loop._drain = lambda _recording: asyncio.sleep(0)  # type: ignore[method-assign, assignment]
    dying.cancel()
    await asyncio.gather(dying, return_exceptions=True)
    for task in list(loop._calls):
        task.cancel()
    store.case.advance(CLAIM_HOLDS)
    async with running(new_loop(store, sender)):
        await until(lambda: delivery(store.case, EMAIL, "n0").status is DeliveryStatus.UNKNOWN)
        store.case.advance(60 * SECOND)
        await until(sent(store.case, 1))
    assert len(sender.taken) == 2
    assert sender.taken[0] == sender.taken[1]


async def test_a_process_that_stops_waits_for_its_answers() -> None:
    store, sender = requested(1)
    loop = new_loop(store, sender)
    began = asyncio.Event()
    answer = asyncio.Event()
    take = sender._send

    async def slow(message: Outgoing):  # type: ignore[no-untyped-def]
        began.set()
        await answer.wait()
        return await take(message)

    sender._send = slow  # type: ignore[method-assign]
    task = asyncio.create_task(loop.run())
    await began.wait()
    task.cancel()
    await asyncio.sleep(0.02)
    assert not task.done()
    answer.set()
    await asyncio.gather(task, return_exceptions=True)
    assert delivery(store.case, EMAIL, "n0").status is DeliveryStatus.SENT


async def test_a_process_that_stops_in_the_moment_of_a_claim_makes_the_call() -> None:
    store, sender = requested(1)
    commit = store.run

    async def heard_late(inputs: Sequence[Input], name: str = "") -> list[Outcome]:
        outcomes = await commit(inputs, name)
        if inputs[0].type == CLAIM:
            task.cancel()
            await asyncio.sleep(0)
        return outcomes

    store.run = heard_late  # type: ignore[method-assign]
    task = asyncio.create_task(new_loop(store, sender).run())
    await asyncio.wait([task], timeout=5)
    assert task.cancelled()
    assert delivery(store.case, EMAIL, "n0").status is DeliveryStatus.SENT


async def test_a_call_that_takes_too_long_counts_as_lost() -> None:
    store, sender = requested(1)
    sender.script.append("hang")
    async with running(new_loop(store, sender, call=0.05)):
        await until(lambda: delivery(store.case, EMAIL, "n0").status is DeliveryStatus.UNKNOWN)
    assert delivery(store.case, EMAIL, "n0").lost == 1


async def test_a_bug_in_a_sender_costs_one_message_an_attempt_and_others_nothing(
    caplog: pytest.LogCaptureFixture,
) -> None:
    store, sender = requested(2)
    take = sender._send

    async def buggy(message: Outgoing):  # type: ignore[no-untyped-def]
        if message.notification_id == "n0":
            raise RuntimeError("a bug")
        return await take(message)

    sender._send = buggy  # type: ignore[method-assign]
    async with running(new_loop(store, sender)):
        await until(lambda: delivery(store.case, EMAIL, "n0").status is DeliveryStatus.UNKNOWN)
        await until(sent(store.case, 1))
    assert delivery(store.case, EMAIL, "n0").reason == "sender_failed"


async def test_what_can_not_be_presented_is_not_called_and_ends_neither_others_nor_the_loop(
    caplog: pytest.LogCaptureFixture,
) -> None:
    store, sender = requested(2)
    present = store.outgoing

    async def buggy(dues: Sequence[Due]) -> Outgoings:
        if any(due.notification_id == "n0" for due in dues):
            raise KeyError("a bug")
        return await present(dues)

    store.outgoing = buggy  # type: ignore[method-assign]
    async with running(new_loop(store, sender)):
        await until(lambda: delivery(store.case, EMAIL, "n1").reason == "not_called")
        store.case.event(request("n2", channels=(EMAIL,)))
        await until(sent(store.case, 1))
    for id in ("n0", "n1"):
        doc = delivery(store.case, EMAIL, id)
        assert (doc.status, doc.lost) == (DeliveryStatus.PENDING, 0)


async def test_a_claim_of_whose_commit_nobody_heard_is_still_ours() -> None:
    store, sender = requested(1)
    store.unheard = 1
    async with running(new_loop(store, sender)):
        await until(sent(store.case, 1))
    assert (len(sender.calls), delivery(store.case, EMAIL, "n0").attempt) == (1, 1)


async def test_an_outcome_waits_for_the_database_and_nobody_calls_again() -> None:
    store, sender = requested(1)
    sender_took = asyncio.Event()

    def lose_database(types: list[str]) -> None:
        if types == [CLAIM]:
            store.away = 2
            sender_took.set()

    store.on_commit = lose_database
    async with running(new_loop(store, sender)):
        await sender_took.wait()
        await until(sent(store.case, 1))
    assert len(sender.calls) == 1


async def test_what_was_claimed_too_long_ago_is_not_called_any_more() -> None:
    store, sender = requested(1)
    slow = store.outgoing

    async def very_slow(dues: Sequence[Due]) -> Outgoings:
        await asyncio.sleep(0.1)
        return await slow(dues)

    store.outgoing = very_slow  # type: ignore[method-assign]
    async with running(new_loop(store, sender, call=0.05, claim=0.1)):
        await until(lambda: delivery(store.case, EMAIL, "n0").reason == "not_called")
    doc = delivery(store.case, EMAIL, "n0")
    assert (sender.calls, doc.status, doc.lost) == ([], DeliveryStatus.PENDING, 0)


async def test_the_traffic_of_a_dead_provider_is_spread_over_time() -> None:
    store, sender = requested(3)
    sender.reachable = False
    async with running(new_loop(store, sender)):
        await until(lambda: len(sender.calls) == 3)
        await asyncio.sleep(0.1)
    assert len(sender.calls) == 3  # not called again before the wait is over
    assert all(d.next_attempt_at > NOW for d in store.case.docs(Delivery) if d.next_attempt_at)


async def test_a_claim_must_outlast_its_call() -> None:
    store, sender = requested(1)
    with pytest.raises(ValueError, match="outlast"):
        new_loop(store, sender, call=2, claim=2)
