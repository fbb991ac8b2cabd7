"""What is known of where one event is?"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from lianxin.records import Told, at, told
from libs.common.mongo.documents import Row
from libs.common.replays import Origin


@dataclass
class Reading:
    """What one consumer has made of an event. ``state``: ``handled``, ``refused``, ``set aside``,
    ``not reached``, ``ignored`` or ``no trace``; ``note`` says why, ``behind`` how many records
    come before it."""

    service: str
    state: str
    note: str = ""
    at: datetime | None = None
    behind: int | None = None
    members: int | None = None
    dead_letters: list[int] = field(default_factory=list)


@dataclass
class Whereabouts:
    """One event. ``outbox``: the service that has yet to send it; ``place``: where it stands."""

    event: Told
    outbox: str | None = None
    waits_since: datetime | None = None
    place: Origin | None = None
    readings: list[Reading] = field(default_factory=list)
    notification: Mapping[str, Any] | None = None
    effects: list[Whereabouts] = field(default_factory=list)
    more_effects: int = 0

    @property
    def written_at(self) -> datetime | None:
        return at(self.place.timestamp) if self.place is not None else None


def in_outbox(service: str, row: Row) -> Whereabouts:
    """Of a row in the outbox of ``service``."""
    return Whereabouts(told(row["headers"]), outbox=service, waits_since=row["at"])
