"""A channel's provider in memory. One suite holds for it and for the real senders.

``script`` as with the simulators: ``take``, ``refuse``, ``busy``, ``lose`` (takes it, but
the answer is lost), ``vanish`` (neither taken nor answered), ``hang``.
"""

from __future__ import annotations

import asyncio
from collections import deque

from libs.common.events import Channel
from services.notify.domain.channels import KINDS, Kind
from services.notify.domain.delivering import ANSWER_LOST, Verdict
from services.notify.ports import Outgoing, Result


class FakeSender:
    """``taken`` is what the provider has; ``calls`` what was asked of it."""

    def __init__(self, channel: Channel) -> None:
        self.channel = channel
        self.script: deque[str] = deque()
        self.calls: list[Outgoing] = []
        self.taken: list[Outgoing] = []
        self.under_way = 0
        self.most_under_way = 0
        self.closed = False
        self.reachable = True

    @property
    def kind(self) -> Kind:
        return KINDS[self.channel]

    async def send(self, message: Outgoing) -> Result:
        self.under_way += 1
        self.most_under_way = max(self.most_under_way, self.under_way)
        try:
            return await self._send(message)
        finally:
            self.under_way -= 1

    async def _send(self, message: Outgoing) -> Result:
        self.calls.append(message)
        word = self.script.popleft() if self.script else "take"
        await asyncio.sleep(0)
        if ("://" if self.channel is Channel.WEBHOOK else "@") not in message.address:
            return Result(Verdict.REFUSED, "address_malformed")
        if not self.reachable:
            return Result(Verdict.PASSING, "unreachable")
        if word == "refuse":
            return Result(Verdict.REFUSED, "rejected", "1")
        if word == "busy":
            return Result(Verdict.PASSING, "provider_busy", "2")
        if word == "vanish":
            return Result(Verdict.LOST, ANSWER_LOST)
        self.taken.append(message)
        if word == "hang":
            await asyncio.sleep(3600)
        if word == "lose":
            return Result(Verdict.LOST, ANSWER_LOST)
        return Result(Verdict.SENT)

    async def close(self) -> None:
        self.closed = True
