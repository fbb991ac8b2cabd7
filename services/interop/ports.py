"""What does the sending loop need from outside?"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol

from services.interop.domain.delivery import Agenda, Delivery
from services.interop.domain.subscription import Subscription

#: A subscription: hospital and id.
Key = tuple[str, str]


@dataclass(frozen=True, slots=True)
class Look:
    """What stands under a subscription, read after its agenda.

    ``ready`` may be sent, in the order of their numbers, and nothing before them in their
    lanes may. ``more``: there is more than that. ``next_at``: when the next of those is due
    that were tried in vain.
    """

    subscription: Subscription
    agenda: Agenda
    ready: Sequence[Delivery] = ()
    more: bool = False
    next_at: datetime | None = None


class WorkList(Protocol):
    """Where the sending loop finds its work."""

    async def due(self, now: datetime, busy: Sequence[Key], limit: int) -> list[Key]:
        """Subscriptions of all hospitals that somebody must look at, the longest due first."""
        ...

    async def look(self, key: Key, now: datetime) -> Look | None: ...

    async def undelivered(self, key: Key, limit: int) -> list[tuple[str, datetime]]:
        """Ids of deliveries that wait or are parked and when they came, by number."""
        ...

    async def oldest(self) -> datetime | None:
        """Since when the oldest delivery of all waits that is still tried."""
        ...

    async def parked(self) -> int:
        """How many deliveries of all are parked."""
        ...


class Messages(Protocol):
    """How what is sent looks, in one format. The same delivery has the same bytes always."""

    @property
    def content_type(self) -> str: ...

    def event(self, subscription: Subscription, delivery: Delivery) -> bytes: ...

    def handshake(self, subscription: Subscription, agenda: Agenda, now: datetime) -> bytes: ...

    def heartbeat(self, subscription: Subscription, agenda: Agenda, now: datetime) -> bytes: ...
