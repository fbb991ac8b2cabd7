"""By which dated rules does a report reach the patient's side?

The shape of ``policies/reports/*.yaml``: figures and lists stand there, each with its
source. The version in force on the hospital's calendar day decides. Who is an adult on a
day is the same for all services and comes from outside.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import date, datetime, time, timedelta
from typing import Any
from zoneinfo import ZoneInfo

from pydantic import BaseModel, ConfigDict, Field

from libs.common.dated import Dated
from libs.common.events import Interpretation, LinkScope, ReportKind
from libs.common.years import years


class _Rule(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class _Sourced(_Rule):
    source: tuple[str, ...] = Field(min_length=1)


class Audience(_Sourced):
    scopes: frozenset[LinkScope] = Field(min_length=1, description="Links that let one read.")


class Days(_Sourced):
    days: int = Field(ge=1, le=36_600)


class Critical(_Sourced):
    interpretations: frozenset[Interpretation]
    duty: Mapping[str, str] = Field(
        default_factory=dict, description="By department: who is told where nobody ordered it."
    )


class TalkFirst(_Sourced):
    topic: str
    kinds: frozenset[ReportKind] = frozenset()
    codes: frozenset[str] = frozenset()


class ReportPolicy(_Rule):
    """One dated version of all rules, with the hospital's calendar."""

    model_config = ConfigDict(frozen=True, extra="forbid", arbitrary_types_allowed=True)

    version: str = Field(min_length=1, max_length=64)
    in_force_from: date
    audience: Audience
    backfill: Days
    look_up: Days
    critical: Critical
    talk_first: tuple[TalkFirst, ...]
    zone: ZoneInfo
    adult_age: Callable[[date], int]

    def day(self, at: datetime) -> date:
        """The hospital's calendar day at ``at``."""
        return at.astimezone(self.zone).date()

    def is_adult(self, birth_date: date, at: datetime) -> bool:
        today = self.day(at)
        return years(birth_date, today) >= self.adult_age(today)

    def told_until(self, occurred: datetime) -> datetime:
        """When telling people of something that happened at ``occurred`` is over."""
        return occurred + timedelta(days=self.backfill.days)

    def listed_from(self, now: datetime) -> datetime:
        """The first moment that a person's list shows at ``now``."""
        first = self.day(now) - timedelta(days=self.look_up.days)
        return datetime.combine(first, time(), self.zone)

    def is_critical(self, interpretations: Iterable[Interpretation | None]) -> bool:
        return not self.critical.interpretations.isdisjoint(interpretations)

    def told_of_critical(self, orderer: str | None, department: str | None) -> str | None:
        """Who must act on a danger value: who ordered it, or else the department's duty."""
        return orderer or self.critical.duty.get(department or "")

    def is_talked_of_first(self, kind: ReportKind, codes: Iterable[str]) -> bool:
        found = set(codes)
        return any(kind in t.kinds or not t.codes.isdisjoint(found) for t in self.talk_first)


class ReportPolicies(Dated[ReportPolicy]):
    """All dated versions."""

    def __init__(
        self,
        files: Sequence[Mapping[str, Any]],
        zone: ZoneInfo,
        adult_age: Callable[[date], int],
    ) -> None:
        more = {"zone": zone, "adult_age": adult_age}
        super().__init__([ReportPolicy.model_validate({**f, **more}) for f in files], zone)
