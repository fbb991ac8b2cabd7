"""What must a channel be able to do?

A new channel is one class with these three names and a line in ``main.py``: it declares
what it promises about repetitions and turns its provider's codes into our verdicts, by
a table. It never raises for what a provider does, and never retries by itself.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Protocol

from libs.common.events import Channel, Urgency
from services.notify.domain.channels import Kind
from services.notify.domain.delivering import Verdict


@dataclass(frozen=True, slots=True)
class Outgoing:
    """One call to make. ``key`` and everything else is the same at every attempt."""

    key: str
    address: str
    hospital: str
    notification_id: str
    recipient_id: str
    patient_id: str | None
    template: str
    urgency: Urgency
    language: str
    title: str
    body: str
    link: str | None
    event_time: datetime
    created_at: datetime


@dataclass(frozen=True, slots=True)
class Result:
    """What came of a call: ``reason`` in our words, ``code`` the provider's own.

    ``retry_after``: seconds that the provider asked for.
    """

    verdict: Verdict
    reason: str = ""
    code: str = ""
    retry_after: float | None = None


@dataclass(frozen=True, slots=True)
class Due:
    """A delivery at which somebody must look."""

    hospital: str
    notification_id: str
    channel: Channel
    correlation_id: str
    traceparent: str | None

    @property
    def key(self) -> tuple[str, str, Channel]:
        return (self.hospital, self.notification_id, self.channel)


class WorkList(Protocol):
    """Where the sending loop finds its work."""

    async def due(self, channel: Channel, now: datetime, grace: timedelta, limit: int) -> list[Due]:
        """What has been due for ``grace``, the oldest first, of all hospitals."""
        ...

    async def outgoing(self, dues: Sequence[Due]) -> dict[tuple[str, str, Channel], Outgoing]:
        """What to send for each of ``dues``, by its key."""
        ...


class Sender(Protocol):
    """One channel's provider."""

    @property
    def channel(self) -> Channel: ...

    @property
    def kind(self) -> Kind: ...

    async def send(self, message: Outgoing) -> Result: ...

    async def close(self) -> None: ...


#: What a code of a provider means: (verdict, our word).
Codes = Mapping[int, tuple[Verdict, str]]


def meaning(codes: Codes, code: int, classes: Codes) -> Result:
    """The result for ``code``: its own entry, else that of its class (the first digit)."""
    verdict, reason = (
        codes.get(code)
        or classes.get(code // 100)
        or (
            Verdict.REFUSED,
            "unknown_code",
        )
    )
    return Result(verdict, reason, str(code))
