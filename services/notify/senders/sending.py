"""Who calls a channel's provider, when, and how many calls at a time?

One loop for each channel, in every replica. A call is made only by whoever has committed
the claim for it; claims of many deliveries share a transaction, the calls run side by
side up to a limit, and their outcomes share transactions again. What was committed here
is called at once; what another process left behind is found by looking.

A process that dies after a claim leaves it to lapse; the rules then count its answer as
lost. One that stops in good order waits for its answers.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Final, Protocol

import structlog

from libs.common import metrics
from libs.common.clock import Ports
from libs.common.decision import Input, derived_id
from libs.common.fates import Fate, Outcome
from libs.common.mongo import Conflict, Unavailable
from libs.common.telemetry import Tracer
from services.notify.domain.delivering import (
    ANSWER_LOST,
    CLAIM,
    ENDED,
    CallEnded,
    Claim,
    Delivery,
    Verdict,
)
from services.notify.ports import Due, Outgoing, Result, Sender, WorkList

log = structlog.get_logger()

SOURCE: Final = "/services/notify"
#: Seconds between looks at what is due and was not committed here.
POLL: Final = 1.0
#: So long what is due is left to the replica that committed it.
GRACE: Final = timedelta(seconds=1)
#: Deliveries remembered because they were committed here.
HINTS: Final = 10_000
#: Seconds that a stopping process waits for answers that are under way.
DRAIN: Final = 5.0


@dataclass(frozen=True, slots=True)
class _Ended:
    due: Due
    attempt: int
    result: Result


class Decides(Protocol):
    """Decides and saves inputs (``libs.common.engine.Engine``)."""

    async def run(self, inputs: Sequence[Input], name: str = ..., /) -> list[Outcome]: ...


class Sending:
    """The loop of one channel; ``run`` until cancelled.

    ``claim`` is how long a claim holds, ``call`` how long one call may take in all.
    """

    def __init__(
        self,
        sender: Sender,
        *,
        engine: Decides,
        work: WorkList,
        ports: Ports,
        tracer: Tracer,
        calls: int,
        call: float,
        claim: float,
        poll: float = POLL,
        grace: timedelta = GRACE,
    ) -> None:
        if call >= claim:
            raise ValueError("a claim must outlast its call")
        self._sender, self._engine, self._work = sender, engine, work
        self._ports, self._tracer = ports, tracer
        self._limit, self._call_seconds, self._claim_seconds = calls, call, claim
        self._poll, self._grace = poll, grace
        self._channel = sender.channel
        self._hints: dict[tuple[str, str], Due] = {}
        self._calls: set[asyncio.Task[None]] = set()
        self._busy = 0  # slots: from the claim to the recorded outcome
        self._ended: list[_Ended] = []
        self._wake = asyncio.Event()
        self._something_ended = asyncio.Event()
        self._looked = float("-inf")
        self._more = False  # more was due than fitted: look again at once

    def hint(self, due: Due) -> None:
        """This delivery has just been committed here and is due. Never waits."""
        if len(self._hints) < HINTS:  # beyond it, looking finds them
            self._hints[(due.hospital, due.notification_id)] = due
        self._wake.set()

    async def run(self) -> None:
        recording = asyncio.create_task(self._record(), name=f"record-{self._channel}")
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
                    log.warning("sending_waits", channel=self._channel, why=str(error))
                    await self._ports.clock.sleep(self._ports.backoff(failures, cap=5.0))
        finally:
            await self._drain(recording)
            await self._sender.close()

    # -- claims -------------------------------------------------------------------------

    async def _step(self) -> None:
        free = self._limit - self._busy
        if free <= 0 or not (self._hints or self._time_to_look()):
            await self._sleep()
            return
        self._wake.clear()
        dues = [self._hints.pop(key) for key in list(self._hints)[:free]]
        if len(dues) < free and self._time_to_look():
            dues = await self._look(dues, free)
        if dues:
            await self._begin(dues)

    def _time_to_look(self) -> bool:
        return self._ports.clock.monotonic() - self._looked >= self._poll

    async def _sleep(self) -> None:
        """Until something is hinted, a call has ended, or it is time to look."""
        rest = self._poll - (self._ports.clock.monotonic() - self._looked)
        if self._busy >= self._limit:
            rest = self._poll
        try:
            async with asyncio.timeout(
                max(rest, 0.001) * (1 + self._ports.randomness.jitter() / 5)
            ):
                await self._wake.wait()
        except TimeoutError:
            pass
        self._wake.clear()

    async def _look(self, hinted: list[Due], free: int) -> list[Due]:
        found = await self._work.due(self._channel, self._ports.clock.now(), self._grace, free)
        self._looked = self._ports.clock.monotonic()
        self._more = len(found) >= free
        known = {(d.hospital, d.notification_id) for d in hinted}
        more = [d for d in found if (d.hospital, d.notification_id) not in known]
        return [*hinted, *more][:free]

    async def _begin(self, dues: Sequence[Due]) -> None:
        """Claim ``dues`` in one transaction, then start the calls of those that are ours."""
        asked = self._ports.clock.monotonic()
        outcomes = await self._decided([self._claim(d) for d in dues], "claim deliveries")
        ours = [
            (due, int(outcome.result["attempt"]))
            for due, outcome in zip(dues, outcomes, strict=True)
            if _claimed(outcome)
        ]
        if not ours:
            return
        if self._more:
            self._looked = float("-inf")
        self._busy += len(ours)
        try:
            messages = await self._work.outgoing(self._channel, [due for due, _ in ours])
        except Unavailable:
            messages = {}
        latest = asked + self._claim_seconds - self._call_seconds
        for due, attempt in ours:
            message = messages.get((due.hospital, due.notification_id))
            if message is None or self._ports.clock.monotonic() > latest:
                # Surely not called: no answer can be lost.
                self._end(_Ended(due, attempt, Result(Verdict.PASSING, "not_called")))
                continue
            task = asyncio.create_task(self._call(due, attempt, message))
            self._calls.add(task)
            task.add_done_callback(self._calls.discard)

    async def _decided(self, inputs: Sequence[Input], name: str) -> list[Outcome]:
        """Decide and save, however long the database is away; the same inputs again, so
        that what was committed without our hearing of it is not done twice."""
        failures = 0
        while True:
            try:
                return await self._engine.run(inputs, name)
            except (Unavailable, Conflict) as error:
                failures += 1
                log.warning("sending_waits", channel=self._channel, why=str(error))
                await self._ports.clock.sleep(self._ports.backoff(failures, cap=5.0))

    def _claim(self, due: Due) -> Input:
        data = Claim(
            notification_id=due.notification_id,
            channel=self._channel,
            jitter=self._ports.randomness.jitter(),
        )
        # A new id each time: a claim that was refused once may be asked for again.
        return self._input(CLAIM, self._ports.ids.new(), due, data)

    def _input(self, type: str, id: str, due: Due, data: Claim | CallEnded) -> Input:
        return Input(
            id=id,
            source=SOURCE,
            type=type,
            hospital=due.hospital,
            subject=Delivery.id_of(due.notification_id, self._channel),
            time=self._ports.clock.now(),
            data=data,
            correlation_id=due.correlation_id,
            traceparent=due.traceparent,
        )

    # -- calls --------------------------------------------------------------------------

    async def _call(self, due: Due, attempt: int, message: Outgoing) -> None:
        begun = self._ports.clock.monotonic()
        name = f"send {self._channel}"
        attributes = {"lianxin.channel": self._channel.value, "lianxin.attempt": attempt}
        try:
            with self._tracer.span(name, due.traceparent, "client", attributes):
                async with asyncio.timeout(self._call_seconds):
                    result = await self._sender.send(message)
        except TimeoutError:
            result = Result(Verdict.LOST, ANSWER_LOST, "timeout")
        except Exception:  # a bug of ours: nobody knows how far it came
            log.exception("sender_failed", channel=self._channel)
            result = Result(Verdict.LOST, "sender_failed")
        metrics.PROVIDER_SECONDS.labels(channel=self._channel).observe(
            self._ports.clock.monotonic() - begun
        )
        metrics.PROVIDER_CALLS.labels(channel=self._channel, outcome=result.verdict).inc()
        if result.verdict is not Verdict.SENT:
            log.warning(
                "not_taken",
                channel=self._channel,
                notification_id=due.notification_id,
                attempt=attempt,
                verdict=result.verdict,
                reason=result.reason,
                code=result.code,
            )
        self._end(_Ended(due, attempt, result))

    def _end(self, ended: _Ended) -> None:
        self._ended.append(ended)
        self._something_ended.set()

    # -- outcomes -----------------------------------------------------------------------

    async def _record(self) -> None:
        """Record what ended, many at a time; only then are their slots free again."""
        while True:
            await self._something_ended.wait()
            self._something_ended.clear()
            batch, self._ended = self._ended, []
            await self._decided([self._outcome(e) for e in batch], "record deliveries")
            self._busy -= len(batch)
            self._wake.set()

    def _outcome(self, ended: _Ended) -> Input:
        data = CallEnded(
            notification_id=ended.due.notification_id,
            channel=self._channel,
            attempt=ended.attempt,
            verdict=ended.result.verdict,
            reason=ended.result.reason,
            code=ended.result.code,
            retry_after=ended.result.retry_after,
            jitter=self._ports.randomness.jitter(),
        )
        id = derived_id(
            ended.due.hospital, ended.due.notification_id, self._channel, ended.attempt, ENDED
        )
        return self._input(ENDED, id, ended.due, data)

    async def _drain(self, recording: asyncio.Task[None]) -> None:
        """Wait a while for what is under way and record it; the rest lapses."""
        try:
            async with asyncio.timeout(DRAIN):
                while self._busy:
                    self._wake.clear()
                    await self._wake.wait()
        except TimeoutError:
            log.warning("calls_abandoned", channel=self._channel, count=self._busy)
        for task in (*self._calls, recording):
            task.cancel()
        await asyncio.gather(*self._calls, recording, return_exceptions=True)


def _claimed(outcome: Outcome) -> bool:
    return outcome.fate in (Fate.DONE, Fate.DUPLICATE) and outcome.note == "claimed"
