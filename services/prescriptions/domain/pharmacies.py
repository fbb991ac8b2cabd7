"""Which pharmacies are there, how far away, and when are they open?

The shape of ``policies/pharmacies/*.yaml``, one file each, and what follows from it for a
place and a moment. Opening hours are in the hospital's time zone; of two readings of a
time at which the clock is turned the narrower one holds, so that nobody is sent to a
closed door. A place that somebody looks from is personal: it is never kept.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from typing import Annotated, Any, Final, Literal, NamedTuple
from zoneinfo import ZoneInfo

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field

from libs.common.events.base import Id, Line, Phone
from services.prescriptions.domain.parameters import Language, in_every_language

#: Mean radius of the Earth in metres (IUGG).
EARTH: Final = 6_371_008.8
#: Days ahead in which we look for the next opening: longer than any feast closes a pharmacy.
AHEAD: Final = 31

Weekday = Literal["monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday"]
_WEEK: Final[tuple[Weekday, ...]] = (
    "monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday",
)  # fmt: skip


class Place(BaseModel):
    """A point in WGS 84, in degrees."""

    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True)

    latitude: float = Field(ge=-90, le=90, allow_inf_nan=False, strict=True)
    longitude: float = Field(ge=-180, le=180, allow_inf_nan=False, strict=True)


def distance(a: Place, b: Place) -> float:
    """Metres along the great circle (haversine; the Earth as a sphere: within 0.6 %)."""
    lat_a, lat_b = math.radians(a.latitude), math.radians(b.latitude)
    north = math.sin((lat_b - lat_a) / 2)
    east = math.sin(math.radians(b.longitude - a.longitude) / 2)
    part = north * north + math.cos(lat_a) * math.cos(lat_b) * east * east
    return 2 * EARTH * math.asin(math.sqrt(min(1.0, part)))


def _hours(value: Any) -> Any:
    """``"22:00-06:00"`` as two times of a day in minutes; past midnight if it ends earlier."""
    if not isinstance(value, str):
        return value
    try:
        opens, closes = (_minutes(part) for part in value.split("-"))
    except ValueError:
        raise ValueError("hours look like 08:30-20:00") from None
    if opens == closes or opens == 24 * 60:
        raise ValueError("hours begin and end at two times; all day is 00:00-24:00")
    return {"opens": opens, "closes": closes if closes > opens else closes + 24 * 60}


def _minutes(text: str) -> int:
    if text == "24:00":
        return 24 * 60
    at = time.fromisoformat(text)
    if len(text) != 5:
        raise ValueError(text)
    return at.hour * 60 + at.minute


class Hours(BaseModel):
    """Open from ``opens`` to ``closes``, in minutes since the day's midnight by the clock."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    opens: int
    closes: int


Day = tuple[Annotated[Hours, BeforeValidator(_hours)], ...]


class Span(NamedTuple):
    """Open from ``start`` until before ``end``."""

    start: datetime
    end: datetime


class Pharmacy(BaseModel):
    """One pharmacy, as its file says it."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    id: Id
    name: Annotated[Mapping[Language, Line], AfterValidator(in_every_language)]
    address: Annotated[Mapping[Language, Line], AfterValidator(in_every_language)]
    telephone: Phone
    place: Place
    hours: Mapping[Weekday, Day] = Field(description="A day that is not here is closed.")
    #: Hours of single days instead of the week's, none for closed. What began on the evening
    #: before goes on all the same.
    special: Mapping[date, Day] = {}
    delivers_within: int | None = Field(
        default=None, ge=1, le=1_000_000, description="Metres; absent: it does not deliver."
    )
    system: str | None = Field(
        default=None,
        pattern=r"^[^\s/\x00-\x20\x7f]{1,255}$",
        description="the claim `sub` of its system's tokens, whose role is `integration`",
    )

    def delivers_to(self, place: Place | None) -> bool:
        """Whether it delivers; to ``place`` if that is known."""
        if self.delivers_within is None:
            return False
        return place is None or distance(self.place, place) <= self.delivers_within

    def spans(self, first: date, days: int, zone: ZoneInfo) -> list[Span]:
        """When it is open on ``days`` from ``first`` on, by the hospital's clock; what touches
        is one."""
        found: list[Span] = []
        for day in (first + timedelta(days=n) for n in range(days)):
            hours = self.special.get(day, self.hours.get(_WEEK[day.weekday()], ()))
            found += (Span(_latest(day, h.opens, zone), _earliest(day, h.closes, zone))
                      for h in hours)  # fmt: skip
        joined: list[Span] = []
        for span in sorted(s for s in found if s.start < s.end):
            if joined and span.start <= joined[-1].end:
                joined[-1] = joined[-1]._replace(end=max(joined[-1].end, span.end))
            else:
                joined.append(span)
        return joined


def _readings(day: date, minutes: int, zone: ZoneInfo) -> tuple[datetime, datetime]:
    """Both moments that a time by the clock may mean; mostly they are one."""
    days, rest = divmod(minutes, 24 * 60)
    wall = datetime.combine(day + timedelta(days=days), time(rest // 60, rest % 60), zone)
    return wall.astimezone(UTC), wall.replace(fold=1).astimezone(UTC)


def _latest(day: date, minutes: int, zone: ZoneInfo) -> datetime:
    return max(_readings(day, minutes, zone))


def _earliest(day: date, minutes: int, zone: ZoneInfo) -> datetime:
    return min(_readings(day, minutes, zone))


@dataclass(frozen=True, slots=True)
class Openness:
    """Open or not at a moment, and when that changes; None: not in sight."""

    open: bool
    opens_at: datetime | None = None
    closes_at: datetime | None = None


def openness(pharmacy: Pharmacy, now: datetime, zone: ZoneInfo) -> Openness:
    yesterday = now.astimezone(zone).date() - timedelta(days=1)
    in_sight = _earliest(yesterday + timedelta(days=AHEAD), 0, zone)
    for span in pharmacy.spans(yesterday, AHEAD, zone):
        if span.start <= now < span.end:
            return Openness(True, closes_at=span.end if span.end < in_sight else None)
        if now < span.start:
            return Openness(False, opens_at=span.start)
    return Openness(False)


class Near(NamedTuple):
    """A pharmacy as seen from a place; without one there is no distance."""

    pharmacy: Pharmacy
    distance: float | None


class Pharmacies:
    """All pharmacies of an installation. ``ValueError`` where two can't be told apart."""

    def __init__(self, pharmacies: Iterable[Pharmacy] = ()) -> None:
        self._by_id: dict[str, Pharmacy] = {}
        for pharmacy in pharmacies:
            if pharmacy.id in self._by_id:
                raise ValueError(f"id: {pharmacy.id} is another pharmacy's, too")
            self._by_id[pharmacy.id] = pharmacy

    def get(self, id: str) -> Pharmacy | None:
        return self._by_id.get(id)

    def nearest(self, place: Place | None, *, delivering: bool = False) -> list[Near]:
        """All, the nearest first, without a place by id; or those that deliver there."""
        found = [
            Near(p, None if place is None else distance(p.place, place))
            for p in self._by_id.values()
            if not delivering or p.delivers_to(place)
        ]
        return sorted(found, key=lambda n: (n.distance or 0.0, n.pharmacy.id))
