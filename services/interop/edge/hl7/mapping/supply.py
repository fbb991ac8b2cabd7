"""How much of a medicine is prescribed, for how long, and how is it taken (RXE, TQ1)?"""

from __future__ import annotations

from collections.abc import Mapping
from math import ceil
from typing import Final

from libs.common.events import Quantity
from services.interop.edge.hl7 import types
from services.interop.edge.hl7.mapping.reading import Reading, line
from services.interop.edge.hl7.message import Group, Segment
from services.interop.edge.hl7.refused import ErrorCode

#: Units of a duration (TQ1-6, table 0335's and UCUM's) in days; an hour is a part of one.
DAYS: Final[Mapping[str, float]] = {
    "D": 1,
    "DAY": 1,
    "DAYS": 1,
    "天": 1,
    "日": 1,
    "W": 7,
    "WK": 7,
    "WEEK": 7,
    "WEEKS": 7,
    "周": 7,
    "L": 30,
    "MO": 30,
    "MONTH": 30,
    "月": 30,
    "H": 1 / 24,
    "HR": 1 / 24,
    "MIN": 1 / 1440,
}
_LONGEST: Final = 366


def _timing(group: Group) -> tuple[Segment, ...]:
    """TQ1 of the encoded order, which follow RXE; those before it are of what was asked for."""
    names = [s.name for s in group.segments]
    after = group.segments[names.index("RXE") :]
    return tuple(s for s in after if s.name == "TQ1") or group.all("TQ1")


def dosage(reading: Reading, group: Group, rxe: Segment) -> str:
    """The instruction in words; else amount, unit and frequency."""
    words = [v.text(2) or v.text(1) for v in rxe.values(7)]
    words += [text for tq1 in _timing(group) if (text := tq1.text(11))]
    told = "；".join(w for w in words if w)
    if told:
        return told[:8000]
    amount, unit = rxe.text(3), types.coded_text(rxe.value(5))
    tq1 = next(iter(_timing(group)), None)
    pattern = tq1.text(3) if tq1 is not None else rxe.text(1, 2)
    often = ""
    if pattern is not None:
        place = (tq1, 3) if tq1 is not None else (rxe, 1)
        table = reading.profile.tables.frequency
        often = reading.meaning(table, pattern, place, pattern, "frequency")
    if amount is None and not often:
        raise rxe.missing(7, "no instruction, amount or frequency")
    each = f"每次{amount}{unit or ''}" if amount else ""
    return "，".join(t for t in (often, each) if t)


def quantity(reading: Reading, rxe: Segment) -> Quantity:
    value = types.number(rxe, 10)
    if value is None:
        raise rxe.missing(10)
    if value <= 0:
        raise rxe.refused(10, ErrorCode.DATA_TYPE, "not more than nothing")
    told = types.coded_text(rxe.value(11)) or types.coded_text(rxe.value(5))
    unit = line(told) or reading.profile.defaults.quantity_unit
    if unit is None:
        raise rxe.missing(11)
    return Quantity(value=value, unit=unit)


def days_supply(reading: Reading, group: Group, rxe: Segment) -> int:
    """The duration (TQ1-6, or component 3 of the old RXE-1), else start and end of it, else
    the profile's default."""
    for tq1 in _timing(group):
        days = _duration(tq1.text(6), tq1.text(6, 2))
        if days is None and tq1.text(7) and tq1.text(8):
            begin, end = (types.moment(tq1, n, reading.zone) for n in (7, 8))
            days = (end - begin).total_seconds() / 86_400 if begin and end else None
        if days is not None and days > 0:
            return _whole(days, tq1, 6)
    old = (rxe.text(1, 3) or "").upper()  # D7: seven days; W2: two weeks
    days = _duration(old[1:], old[:1])
    if days is not None and days > 0:
        return _whole(days, rxe, 1)
    default = reading.profile.defaults.days_supply
    if default is None:
        raise rxe.missing(1, "neither a duration (TQ1-6) nor a default of the profile")
    reading.note("defaulted", rxe, 1, "no duration: the profile's default")
    return default


def _duration(amount: str | None, unit: str | None) -> float | None:
    number = types.number_of(amount or "")
    days = DAYS.get((unit or "D").upper())
    return None if number is None or days is None else number * days


def _whole(days: float, segment: Segment, number: int) -> int:
    if days > _LONGEST:
        raise segment.refused(number, ErrorCode.DATA_TYPE, f"more than {_LONGEST} days")
    return max(1, ceil(days))
