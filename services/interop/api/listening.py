"""What happens between a message's frame and its acknowledgement?"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Final

import structlog

from libs.common.blobs import Blobs
from libs.common.clock import Ports
from libs.common.commands import Busy, Commands
from libs.common.decision import Input
from libs.common.fates import Fate
from libs.common.fates import Outcome as Decided
from libs.common.mongo.errors import Unavailable
from services.interop.domain.receipt import Fault, Received, Standing
from services.interop.edge.connection import Peer
from services.interop.edge.hl7.ack import Outcome, acknowledge, wanted
from services.interop.edge.hl7.header import read_header
from services.interop.edge.hl7.receive import Senders, internal, not_now, outcome_of
from services.interop.handlers import RECEIVE

log = structlog.get_logger()

SOURCE: Final = "/mllp"
#: Larger messages are read beside the event loop.
LARGE: Final = 16 * 1024
#: How many of them at a time: their parts take twenty times their size.
LARGE_AT_A_TIME: Final = 2
#: MSH-10 before version 2.7 (2.3, section 2.24.1.10).
CONTROL_ID_LENGTH: Final = 20


class Listening:
    """Takes one message after another; ``handle`` is what the MLLP server calls."""

    def __init__(
        self, senders: Senders, commands: Commands, blobs: Blobs, ports: Ports, hospital: str
    ) -> None:
        self._senders, self._commands, self._blobs = senders, commands, blobs
        self._ports, self._hospital = ports, hospital
        self._large = asyncio.Semaphore(LARGE_AT_A_TIME)

    async def handle(self, raw: bytes, peer: Peer) -> bytes:
        """The acknowledgement of ``raw``, after what it says is durable; empty for none."""
        now = self._ports.clock.now()
        if len(raw) > LARGE:
            async with self._large:
                received = await asyncio.to_thread(self._senders.received, raw, now, peer.names)
        else:
            received = self._senders.received(raw, now, peer.names)
        outcome, faults = await self._keep(received)
        log.info(
            "message_answered",
            sender=received.sender[:64],
            control_id=received.control_id[:64],
            type=received.type[:16],
            outcome=outcome,
            faults=[f"{f.segment}-{f.field} {f.code}" for f in faults],
            peer=peer.address,
        )
        header = read_header(raw)
        code = wanted(header, outcome)
        if code is None:
            return b""
        own_id = self._ports.ids.new().replace("-", "")[:CONTROL_ID_LENGTH]
        return acknowledge(header, code, own_id, now.astimezone(self._senders.zone), faults)

    async def _keep(self, received: Received) -> tuple[Outcome, Sequence[Fault]]:
        """What is kept apart is durable before the message that needs it."""
        try:
            await self._blobs.put(self._hospital, received.blobs)
        except Unavailable as error:
            log.warning("blobs_not_stored", why=str(error))
            return Outcome.AGAIN, not_now()
        return await self._submit(received.model_copy(update={"blobs": {}}))

    async def _submit(self, received: Received) -> tuple[Outcome, Sequence[Fault]]:
        try:
            decided = await self._decided(received)
            if decided.fate is Fate.REJECTED:
                # A bug of ours, which sending it again can't mend: nothing of it is stored yet.
                log.error("message_kept_aside", type=received.type[:16], why=decided.note)
                decided = await self._decided(received.kept_aside(internal()))
        except Busy as busy:
            log.warning("message_not_stored", why=busy.reason)
            return Outcome.AGAIN, not_now()
        if decided.fate is Fate.REJECTED:
            return Outcome.AGAIN, not_now()
        result = decided.result
        faults = [Fault.model_validate(fault) for fault in result["faults"]]
        return outcome_of(Standing(result["standing"])), faults

    async def _decided(self, received: Received) -> Decided:
        input = Input(
            id=self._ports.ids.new(),
            source=SOURCE,
            type=RECEIVE,
            hospital=self._hospital,
            subject=received.receipt_id,
            time=self._ports.clock.now(),
            data=received,
            size=len(received.raw),
        )
        return await self._commands.submit(input)
