"""What happens between a FHIR request and its answer?

Read, look up what it refers to, map, decide and save: as ``listening.py`` does it for HL7 v2,
with the look-up between. If what it was read with has changed by then, all of it again.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from datetime import datetime
from typing import Final

import structlog
from fastapi import Request

from libs.common import metrics
from libs.common.decision import Input, derived_id
from libs.common.fates import Outcome
from libs.common.http.commands import submit
from libs.common.http.problems import Problem, unavailable
from services.interop.api.policy import Policy
from services.interop.domain.receipt import Fault, Received
from services.interop.edge.fhir import receive
from services.interop.edge.fhir.bundle import Request as Sent
from services.interop.edge.fhir.receive import Exchange
from services.interop.store import Store

log = structlog.get_logger()

#: Requests that are read and mapped at a time: their parts take twenty times their size.
AT_A_TIME: Final = 2
#: Larger bodies are received so many at a time, each in so many seconds.
LARGE: Final = 256 * 1024
LARGE_AT_A_TIME: Final = 16
BODY_SECONDS: Final = 60
#: How often a request is read anew because another one changed what it was read with.
_TRIES: Final = 8
#: Rounds of looking up what a request refers to, and what that refers to.
_ROUNDS: Final = 6


@dataclass(frozen=True, slots=True)
class Taken:
    """What became of one unit. ``outcome`` is the rule's."""

    exchange: Exchange
    received: Received
    outcome: Outcome

    @property
    def faults(self) -> tuple[Fault, ...]:
        return self.received.faults


class Places:
    """How many may do what at a time, in one process."""

    def __init__(self) -> None:
        self.working = asyncio.Semaphore(AT_A_TIME)
        self.receiving = asyncio.Semaphore(LARGE_AT_A_TIME)


def places(request: Request) -> Places:
    state = request.app.state
    if not hasattr(state, "fhir_places"):
        state.fhir_places = Places()
    found: Places = state.fhir_places
    return found


async def body(request: Request) -> bytes:
    """The body; of the large ones only so many are in memory."""
    announced = request.headers.get("content-length", "")
    if announced.isdecimal() and int(announced) <= LARGE:
        return await request.body()
    async with places(request).receiving:
        try:
            async with asyncio.timeout(BODY_SECONDS):
                return await request.body()
        except TimeoutError:
            raise Problem(408, "body_too_slow") from None


async def take(
    request: Request,
    hospital: str,
    sender: str,
    raw: bytes,
    sent: Sent,
    asked: Input,
    arrived_at: datetime | None = None,
) -> Taken:
    """``raw`` as ``sender`` sent it, decided and saved; ``asked`` is the command for it.
    ``arrived_at``: when it came, if it is taken up again."""
    policy: Policy = request.app.state.runtime.policy
    store = Store(request.app.state.runtime.database)
    partner = policy.partners.of(sender, hospital)
    topics = partner.publishes if partner else frozenset()
    senders = policy.senders

    async def read() -> tuple[Exchange, Received]:
        now = arrived_at or request.app.state.ports.clock.now()
        exchange = await asyncio.to_thread(receive.begin, hospital, sender, raw, sent)
        for _ in range(_ROUNDS):
            ids, names = await asyncio.to_thread(exchange.wanted)
            if not (ids or names):
                break
            found = await store.resources(hospital, ids, names)
            await asyncio.to_thread(exchange.learn, found)
        profile = senders.of_subject(sender)
        received = await asyncio.to_thread(
            exchange.received, profile, senders.zone, now, senders.adult_age, topics
        )
        return exchange, received

    for n in range(_TRIES):
        async with places(request).working:
            exchange, received = await read()
        id = asked.id if n == 0 else derived_id(asked.id, n)
        input = asked._replace(id=id, data=received, size=len(raw), subject=received.receipt_id)
        outcome = await submit(request, input)
        if not (isinstance(outcome.result, dict) and outcome.result.get("outdated")):
            break
    else:
        raise unavailable("contended")
    if not received.faults:
        for type, count in exchange.unused.items():
            metrics.FHIR_UNUSED.labels(type=type).inc(count)
    log.info(
        "message_answered",
        sender=sender[:64],
        control_id=received.control_id[:64],
        type=received.type[:32],
        outcome=outcome.note,
        faults=[f"{f.expression} {f.code}" for f in received.faults],
        events=len(received.events),
    )
    return Taken(exchange, received, outcome)
