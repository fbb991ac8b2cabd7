"""Who calls a channel's provider, when, and how many calls at a time?

One loop in every replica serves all channels. A call is made only by whoever has committed
the claim for it; claims of many deliveries share a transaction, the calls run side by
side up to each channel's limit, and their outcomes share transactions again. What was
committed here is called at once; what another process left behind is found by looking.

A process that dies after a claim leaves it to lapse; the rules then count its answer as
lost. One that stops in good order waits for its answers.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import timedelta
from typing import Final

import structlog

from libs.common import exemplars, metrics
from libs.common.clock import Ports
from libs.common.decision import Input
from libs.common.events import Channel
from libs.common.fates import Fate, Outcome
from libs.common.mongo.errors import Conflict, Unavailable
from libs.common.telemetry import Tracer
from services.notify.domain.delivering import ANSWER_LOST, CLAIM, Claim, Verdict
from services.notify.ports import Due, Outgoing, Result, Sender, WorkList
from services.notify.senders.recording import Decides, Ended, Outcomes, command_of, decided

log = structlog.get_logger()

#: Seconds between looks at what is due and was not committed here.
POLL: Final = 1.0
#: So long what is due is left to the replica that committed it.
GRACE: Final = timedelta(seconds=1)
#: Deliveries of one channel remembered because they were committed here.
HINTS: Final = 10_000
#: Seconds that a stopping process waits for answers that are under way.
DRAIN: Final = 5.0


@dataclass(frozen=True, slots=True)
class Provider:
    """A channel's sender: ``calls`` under way at a time, each for ``call`` seconds at most;
    ``claim`` is how many seconds a claim holds."""

    sender: Sender
    calls: int
    call: float
    claim: float


class Sending:
    """The loop of one process; ``run`` until cancelled."""

    def __init__(
        self,
        providers: Sequence[Provider],
        *,
        engine: Decides,
        work: WorkList,
        ports: Ports,
        tracer: Tracer,
        poll: float = POLL,
        grace: timedelta = GRACE,
    ) -> None:
        if any(p.call >= p.claim for p in providers):
            raise ValueError("a claim must outlast its call")
        self._providers = {p.sender.channel: p for p in providers}
        self._engine, self._work = engine, work
        self._ports, self._tracer = ports, tracer
        self._poll, self._grace = poll, grace
        self._hints: dict[Channel, dict[tuple[str, str, Channel], Due]] = {
            channel: {} for channel in self._providers
        }
        self._calls: set[asyncio.Task[None]] = set()
        # Slots by channel, taken from the claim to the recorded outcome.
        self._busy: Counter[Channel] = Counter()
        self._outcomes = Outcomes(engine, ports, recorded=self._recorded)
        self._wake = asyncio.Event()
        self._looked = float("-inf")
        self._more: set[Channel] = set()  # more was due than fitted: look as slots come free

    def hint(self, due: Due) -> None:
        """This delivery has just been committed here and is due. Never waits."""
        hints = self._hints.get(due.channel)
        if hints is not None and len(hints) < HINTS:  # beyond it, looking finds them
            hints[due.key] = due
            self._wake.set()

    async def run(self) -> None:
        recording = asyncio.create_task(self._outcomes.run(), name="record-outcomes")
        failures = 0
        try:
            while True:
                if recording.done():
                    recording.result()  # a bug there must not stop us silently
                try:
                    await self._step()
                    failures = 0
                except (Unavailable, Conflict) as error:
                    failures += 1
                    log.warning("sending_waits", why=str(error))
                    await self._ports.clock.sleep(self._ports.backoff(failures, cap=5.0))
        finally:
            await self._drain(recording)

    # -- claims -------------------------------------------------------------------------

    async def _step(self) -> None:
        self._wake.clear()
        look = self._ports.clock.monotonic() - self._looked >= self._poll
        if look:
            self._looked = self._ports.clock.monotonic()
        dues: list[Due] = []
        for channel in self._providers:
            dues += await self._some(channel, look=look)
        if dues:
            await self._begun(dues)
        else:
            await self._sleep()

    async def _some(self, channel: Channel, *, look: bool) -> list[Due]:
        """What is due on ``channel``, as much as may be called now."""
        free = self._providers[channel].calls - self._busy[channel]
        hints = self._hints[channel]
        some = {key: hints.pop(key) for key in list(hints)[: max(free, 0)]}
        if (look or channel in self._more) and len(some) < free:
            found = await self._work.due(channel, self._ports.clock.now(), self._grace, free)
            for due in found:
                if len(some) < free:
                    some.setdefault(due.key, due)
            if len(found) >= free:
                self._more.add(channel)
            else:
                self._more.discard(channel)
        return list(some.values())

    async def _sleep(self) -> None:
        """Until something is hinted, an outcome is recorded, or it is time to look."""
        passed = self._ports.clock.monotonic() - self._looked
        rest = min(max(self._poll - passed, 0.001), self._poll)
        spread = 1 + self._ports.randomness.jitter() / 5
        with suppress(TimeoutError):
            async with asyncio.timeout(rest * spread):
                await self._wake.wait()

    async def _begun(self, dues: Sequence[Due]) -> None:
        """To its end, also when we are to stop: a claim may have been committed by then, and
        without its call it would lapse, as one whose answer was lost."""
        beginning = asyncio.create_task(self._begin(dues))
        try:
            await asyncio.shield(beginning)
        except asyncio.CancelledError:
            await asyncio.wait([beginning], timeout=DRAIN)
            beginning.cancel()
            raise

    async def _begin(self, dues: Sequence[Due]) -> None:
        """Claim ``dues`` in one transaction, then start the calls of those that are ours."""
        asked = self._ports.clock.monotonic()
        outcomes = await decided(
            self._engine, [self._claim(due) for due in dues], "claim deliveries", self._ports
        )
        ours = [
            (due, int(outcome.result["attempt"]))
            for due, outcome in zip(dues, outcomes, strict=True)
            if _claimed(outcome)
        ]
        if not ours:
            self._more.clear()  # in vain: not again at once
            return
        self._busy.update(due.channel for due, _ in ours)
        try:
            messages = await self._work.outgoing([due for due, _ in ours])
        except Unavailable:
            messages = {}
        except Exception:  # a bug of ours: no call that was never made may count as lost
            log.exception("not_presentable", count=len(ours))
            messages = {}
        for due, attempt in ours:
            message = messages.get(due.key)
            provider = self._providers[due.channel]
            latest = asked + provider.claim - provider.call
            if message is None or self._ports.clock.monotonic() > latest:
                # Surely not called: no answer can be lost.
                result = Result(Verdict.PASSING, "not_called")
                self._outcomes.add(Ended(due, attempt, result))
                continue
            task = asyncio.create_task(self._call(provider, due, attempt, message))
            self._calls.add(task)
            task.add_done_callback(self._calls.discard)

    def _claim(self, due: Due) -> Input:
        jitter = self._ports.randomness.jitter()
        data = Claim(notification_id=due.notification_id, channel=due.channel, jitter=jitter)
        # A new id each time: a claim that was refused once may be asked for again.
        return command_of(due, CLAIM, self._ports.ids.new(), data, self._ports)

    # -- calls --------------------------------------------------------------------------

    async def _call(self, provider: Provider, due: Due, attempt: int, message: Outgoing) -> None:
        begun = self._ports.clock.monotonic()
        attributes = {"lianxin.channel": due.channel.value, "lianxin.attempt": attempt}
        name = f"send {due.channel}"
        try:
            with self._tracer.span(name, due.traceparent, "client", attributes):
                async with asyncio.timeout(provider.call):
                    result = await provider.sender.send(message)
        except TimeoutError:
            result = Result(Verdict.LOST, ANSWER_LOST, "timeout")
        except Exception:  # a bug of ours: nobody knows how far it came
            log.exception("sender_failed", channel=due.channel)
            result = Result(Verdict.LOST, "sender_failed")
        seconds = self._ports.clock.monotonic() - begun
        exemplar = exemplars.of(due.traceparent)
        metrics.PROVIDER_SECONDS.labels(channel=due.channel).observe(seconds, exemplar)
        metrics.PROVIDER_CALLS.labels(
            channel=due.channel, outcome=result.verdict, code=metrics.code(result.code)
        ).inc()
        if result.verdict is not Verdict.SENT:
            log.warning(
                "not_taken",
                channel=due.channel,
                notification_id=due.notification_id,
                attempt=attempt,
                verdict=result.verdict,
                reason=result.reason,
                code=result.code,
                **(exemplar or {}),
            )
        self._outcomes.add(Ended(due, attempt, result))

    def _recorded(self, dues: Sequence[Due]) -> None:
        self._busy.subtract(due.channel for due in dues)
        self._wake.set()

    async def _drain(self, recording: asyncio.Task[None]) -> None:
        """Wait a while for what is under way and record it; the rest lapses."""
        try:
            async with asyncio.timeout(DRAIN):
                while self._busy.total():
                    self._wake.clear()
                    await self._wake.wait()
        except TimeoutError:
            log.warning("calls_abandoned", count=self._busy.total())
        for task in (*self._calls, recording):
            task.cancel()
        await asyncio.gather(*self._calls, recording, return_exceptions=True)
        for provider in self._providers.values():
            await provider.sender.close()


def _claimed(outcome: Outcome) -> bool:
    return outcome.fate in (Fate.DONE, Fate.DUPLICATE) and outcome.note == "claimed"
