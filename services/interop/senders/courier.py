"""In which order is one subscription's waiting sent?

In rounds: what is ready is read together, what shares a lane goes one after another in the
order of its numbers, lanes go side by side. A delivery that was not taken keeps its lane
waiting and no other. An endpoint that is away is left alone, and then tried with one
delivery before the rest. What came of the calls is recorded while a round goes on.
"""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import Any, Final, Protocol

import structlog
from pydantic import BaseModel

from libs.common.clock import Ports
from libs.common.commands import Busy
from libs.common.decision import Input
from libs.common.fates import Fate, Outcome
from libs.common.telemetry import Tracer
from services.interop.domain.delivering import (
    DISCARD,
    DROPPED,
    ENDED,
    GREETED,
    RESTED,
    Attempt,
    Discard,
    Ended,
    Greeted,
    Rested,
    Verdict,
)
from services.interop.domain.delivery import Delivery, DeliveryStatus
from services.interop.domain.partners import Partners
from services.interop.domain.subscription import Format, Status, Subscription
from services.interop.ports import Key, Look, Messages, WorkList
from services.interop.senders.calling import Called, Calling

log = structlog.get_logger()

SOURCE: Final = "/services/interop"
#: Seconds between two records of a round's outcomes.
RECORD: Final = 0.25
#: Seconds after which a round begins no further call: others have come meanwhile.
ROUND: Final = 5.0
#: Seconds after which a subscription with a backlog lets others have its place.
TURN: Final = 30.0
#: Deliveries of a deleted or suspended subscription that are discarded together.
SLICE: Final = 200
#: Between two looks at what has waited for too long under a suspended one: no look for each.
DROPS: Final = timedelta(hours=1)


#: Which word about an endpoint outweighs which.
_WEIGHT: Final = {Verdict.REFUSED: 0, Verdict.TAKEN: 1, Verdict.AWAY: 2, Verdict.GONE: 3}


class Decides(Protocol):
    """Decides and saves a command (``libs.common.commands.Commands``)."""

    async def submit(self, input: Input, /) -> Outcome: ...


@dataclass(frozen=True, kw_only=True)
class Means:
    """What all couriers of a process share. ``parallel``: lanes of one subscription at a time;
    ``keep``: what has waited longer under a suspended one is dropped; ``owned``: whether this
    process is the one that sends."""

    work: WorkList
    calling: Calling
    decides: Decides
    messages: Mapping[Format, Messages]
    partners: Partners
    ports: Ports
    tracer: Tracer
    parallel: int
    keep: timedelta
    owned: Callable[[], bool]
    leaving: asyncio.Event = field(default_factory=asyncio.Event)

    def may(self) -> bool:
        """Whether a further call may be begun."""
        return self.owned() and not self.leaving.is_set()


@dataclass
class _Round:
    """What has come of a round so far."""

    until: float
    called: Called | None = None  # the last word about the endpoint
    unsent: bool = False
    next_at: list[datetime] = field(default_factory=list)
    unrecorded: list[Attempt] = field(default_factory=list)

    @property
    def stopped(self) -> bool:
        return self.called is not None and self.called.verdict in (Verdict.AWAY, Verdict.GONE)

    def hear(self, called: Called) -> None:
        if self.called is None or _WEIGHT[called.verdict] > _WEIGHT[self.called.verdict]:
            self.called = called


class Courier:
    """One subscription's sending, until nothing more can be sent now."""

    def __init__(self, key: Key, means: Means) -> None:
        self._key, self._means, self._ports = key, means, means.ports
        self._heard: Called | None = None  # of its endpoint, since it last rested

    async def run(self) -> None:
        turn = self._ports.clock.monotonic() + TURN
        while self._means.may():
            look = await self._means.work.look(self._key, self._ports.clock.now())
            if look is None:
                return
            round = await self._once(look)
            self._heard = round.called or self._heard
            goes_on = round.unsent and not round.stopped
            over = self._ports.clock.monotonic() >= turn
            if goes_on and not over:
                continue
            if goes_on:  # due at once: behind those that have been due for longer
                round.next_at.append(self._ports.clock.now())
            if not await self._rest(look, round) or over:
                return

    async def _once(self, look: Look) -> _Round:
        subscription = look.subscription
        round = _Round(until=self._ports.clock.monotonic() + ROUND)
        if look.next_at is not None:
            round.next_at.append(look.next_at)
        if subscription.status is Status.DELETED:
            await self._discard()
        elif subscription.status is Status.SUSPENDED:
            round.next_at = await self._drop(subscription)
        elif subscription.status is Status.REQUESTED:
            round.hear(await self._greet(look))
            round.unsent = True  # what waited for it
        elif subscription.status is Status.ACTIVE:
            if look.ready:
                await self._deliver(look, round)
            elif self._heartbeat_due(look):
                body = self._messages(subscription).heartbeat(
                    subscription, look.agenda, self._ports.clock.now()
                )
                round.hear(await self._post(look, self._ports.ids.new(), body))
            if round.called is not None and round.called.verdict is Verdict.GONE:
                await self._tell_greeted(subscription, round.called)
        return round

    # -- deliveries ---------------------------------------------------------------------

    async def _deliver(self, look: Look, round: _Round) -> None:
        lanes: dict[str, list[Delivery]] = defaultdict(list)
        for delivery in look.ready:
            lanes[delivery.lane].append(delivery)
        chosen = list(lanes.values())
        round.unsent = look.more
        if look.agenda.failures and self._heard is None:  # does it answer again?
            round.unsent = round.unsent or len(look.ready) > 1
            chosen = [chosen[0][:1]]
        side_by_side = asyncio.Semaphore(self._means.parallel)
        going = {
            asyncio.create_task(self._lane(look.subscription, lane, round, side_by_side))
            for lane in chosen
        }
        try:
            while going:
                ended, going = await asyncio.wait(going, timeout=RECORD)
                await self._record(look.subscription, round)  # first: what was taken was taken
                for task in ended:
                    task.result()
        finally:
            for task in going:
                task.cancel()
            await asyncio.gather(*going, return_exceptions=True)

    async def _lane(
        self,
        subscription: Subscription,
        lane: Sequence[Delivery],
        round: _Round,
        side_by_side: asyncio.Semaphore,
    ) -> None:
        async with side_by_side:
            for delivery in lane:
                late = self._ports.clock.monotonic() > round.until
                if round.stopped or late or not self._means.may():
                    round.unsent = True
                    return
                attempt = await self._attempt(subscription, delivery, round)
                round.unrecorded.append(attempt)
                if attempt.verdict is not Verdict.TAKEN and not attempt.final:
                    return
                # What waited behind one that had failed was not looked at yet.
                round.unsent = round.unsent or delivery.status is DeliveryStatus.RETRYING

    async def _attempt(
        self, subscription: Subscription, delivery: Delivery, round: _Round
    ) -> Attempt:
        jitter = self._ports.randomness.jitter()
        partner = self._means.partners.of(subscription.client, subscription.hospital)
        if partner is None or delivery.type not in partner.types:
            # Its file has changed since: it may not have this any more.
            return Attempt(
                id=delivery.id,
                verdict=Verdict.REFUSED,
                reason="not_allowed",
                jitter=jitter,
                final=True,
            )
        messages = self._messages(subscription)
        try:
            body = messages.event(subscription, delivery)
        except Exception:  # a bug of ours: it concerns this delivery alone
            log.exception("not_presentable", type=delivery.type, delivery_id=delivery.id)
            called = Called(Verdict.REFUSED, "not_presentable")
        else:
            attributes = {"cloudevents.event_type": delivery.type}
            with self._means.tracer.span(
                "send webhook", delivery.traceparent, "client", attributes
            ):
                called = await self._means.calling.post(
                    subscription, delivery.id, delivery.number, body, messages.content_type
                )
        round.hear(called)
        if called.verdict is not Verdict.TAKEN:
            log.warning(
                "delivery_not_taken",
                subscription_id=subscription.id,
                number=delivery.number,
                attempt=delivery.attempt + 1,
                reason=called.reason,
            )
        return Attempt(
            id=delivery.id,
            verdict=called.verdict,
            reason=called.reason,
            jitter=jitter,
            retry_after=called.retry_after,
        )

    async def _record(self, subscription: Subscription, round: _Round) -> None:
        attempts, round.unrecorded = round.unrecorded, []
        if not attempts:
            return
        outcome = await self._decided(ENDED, Ended(attempts=tuple(attempts)))
        round.unsent = round.unsent or outcome.result["parked"] > 0  # its lane goes on
        if (next_at := outcome.result["next_at"]) is not None:
            round.next_at.append(datetime.fromisoformat(next_at))

    # -- the subscription ---------------------------------------------------------------

    async def _greet(self, look: Look) -> Called:
        subscription = look.subscription
        body = self._messages(subscription).handshake(
            subscription, look.agenda, self._ports.clock.now()
        )
        called = await self._post(look, self._ports.ids.new(), body)
        await self._tell_greeted(subscription, called)
        return called

    async def _tell_greeted(self, subscription: Subscription, called: Called) -> None:
        told = Greeted(verdict=called.verdict, reason=called.reason)
        await self._decided(GREETED, told, if_match=subscription.version)

    async def _post(self, look: Look, id: str, body: bytes) -> Called:
        called = await self._means.calling.post(
            look.subscription,
            id,
            look.agenda.number,
            body,
            self._messages(look.subscription).content_type,
        )
        if called.verdict is Verdict.TAKEN:
            return called
        log.warning("endpoint_not_answering", subscription_id=self._key[1], reason=called.reason)
        # What it holds against a greeting or a heartbeat is held against all.
        return called if called.verdict is Verdict.GONE else replace(called, verdict=Verdict.AWAY)

    def _heartbeat_due(self, look: Look) -> bool:
        at = look.subscription.heartbeat_at(look.agenda.last_sent_at)
        return at is not None and at <= self._ports.clock.now()

    async def _discard(self) -> None:
        while waiting := await self._means.work.undelivered(self._key, SLICE):
            await self._decided(DISCARD, Discard(deliveries=tuple(id for id, _ in waiting)))

    async def _drop(self, subscription: Subscription) -> list[datetime]:
        """Drop what has waited for too long; when to look again, if anything waits."""
        now, keep = self._ports.clock.now(), self._means.keep
        while waiting := await self._means.work.undelivered(self._key, SLICE):
            late = [id for id, at in waiting if subscription.drops_at(at, keep) <= now]
            if not late:
                first = min(subscription.drops_at(at, keep) for _, at in waiting)
                return [max(first, now + DROPS)]
            outcome = await self._decided(DISCARD, Discard(deliveries=tuple(late)))
            if outcome.fate is Fate.REFUSED:  # resumed meanwhile, and looked at again for that
                break
            log.warning(
                "deliveries_dropped",
                subscription_id=subscription.id,
                reason=DROPPED,
                **outcome.result,
            )
        return []

    async def _rest(self, look: Look, round: _Round) -> bool:
        """Say that nothing more can be sent now; whether something has come meanwhile."""
        called, self._heard = self._heard, None
        rested = Rested(
            verdict=None if called is None else called.verdict,
            reason="" if called is None else called.reason,
            next_at=min(round.next_at, default=None),
            jitter=self._ports.randomness.jitter(),
            retry_after=None if called is None else called.retry_after,
        )
        outcome = await self._decided(RESTED, rested, if_match=look.agenda.version)
        return bool(outcome.result["again"])

    def _messages(self, subscription: Subscription) -> Messages:
        return self._means.messages[subscription.terms.format]

    async def _decided(self, type: str, data: BaseModel, *, if_match: int | None = None) -> Any:
        """Decide and save, however long the database is away; the same input again, so that
        what was committed without our hearing of it is not done twice."""
        hospital, id = self._key
        input = Input(
            id=self._ports.ids.new(),
            source=SOURCE,
            type=type,
            hospital=hospital,
            subject=id,
            time=self._ports.clock.now(),
            data=data,
            if_match=if_match,
        )
        failures = 0
        while True:
            try:
                outcome = await self._means.decides.submit(input)
            except Busy as busy:
                failures += 1
                log.warning("sending_waits", why=busy.reason)
                await self._ports.clock.sleep(self._ports.backoff(failures, cap=5.0))
                continue
            if outcome.fate is Fate.REJECTED:
                raise RuntimeError(f"{type} can't be decided: {outcome.note}")
            return outcome
