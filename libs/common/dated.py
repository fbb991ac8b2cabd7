"""Which version of some dated rules is in force?"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import date, datetime
from typing import Generic, Protocol, TypeVar
from zoneinfo import ZoneInfo


class _Version(Protocol):
    @property
    def version(self) -> str: ...
    @property
    def in_force_from(self) -> date: ...


V = TypeVar("V", bound=_Version)


class Dated(Generic[V]):
    """All versions of some rules, the oldest first, and the hospital's calendar."""

    def __init__(self, versions: Iterable[V], zone: ZoneInfo) -> None:
        self.versions = sorted(versions, key=lambda v: v.in_force_from)
        self.zone = zone
        for distinct in (
            {v.in_force_from for v in self.versions},
            {v.version for v in self.versions},
        ):
            if not self.versions or len(distinct) != len(self.versions):
                raise ValueError("every version needs a name and a day of its own")

    def at(self, now: datetime) -> V:
        """The version in force at ``now``; before the first one's day, the first."""
        today = now.astimezone(self.zone).date()
        begun = [v for v in self.versions if v.in_force_from <= today]
        return (begun or self.versions[:1])[-1]
