"""How much of a medicine is prescribed, for how long, and how is it taken (RXE, TQ1)?"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
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
_LONGEST_TEXT: Final = 8000


def _timing(group: Group) -> tuple[Segment, ...]:
    """TQ1 of the encoded order, which follow RXE; those before it are of what was asked for."""
    names = [s.name for s in group.segments]
    after = group.segments[names.index("RXE") :]
    return tuple(s for s in after if s.name == "TQ1") or group.all("TQ1")


@dataclass(frozen=True, slots=True)
class Intake:
    """One line of the timing: a TQ1, or a repetition of the old RXE-1."""

    place: tuple[Segment, int]
    patterns: tuple[str, ...]
    amount: str | None
    unit: str | None
    duration: str
    words: str | None


def _intakes(group: Group, rxe: Segment) -> tuple[Intake, ...]:
    found = [
        Intake(
            place=(tq1, 3),
            patterns=tuple(t for v in tq1.values(3) if (t := v.text())),
            amount=tq1.text(2),
            unit=tq1.text(2, 2, 2) or tq1.text(2, 2),
            duration=_in_words(tq1.text(6), tq1.text(6, 2, 2) or tq1.text(6, 2)),
            words=tq1.text(11),
        )
        for tq1 in _timing(group)
    ]
    found = found or [
        Intake(
            place=(rxe, 1),
            patterns=tuple(t for t in (old.text(2),) if t),
            amount=old.text(1),
            unit=old.text(1, 2),
            duration=_in_words((old.text(3) or "")[1:], (old.text(3) or "")[:1]),
            words=None,
        )
        for old in rxe.values(1)
    ]
    return tuple(found)


def dosage(reading: Reading, group: Group, rxe: Segment) -> str:
    """The instruction in words; else amount, unit and frequency. With several lines of timing,
    or one with an amount of its own, each of them: words may be about something else."""
    intakes = _intakes(group, rxe)
    words = [v.text(2) or v.text(1) for v in rxe.values(7)]
    own = [i for i in intakes if i.amount is not None and not _is_same(i, rxe)]
    if len(intakes) > 1 or own:
        durations = len({i.duration for i in intakes}) > 1
        told = words + [_line(reading, rxe, i, durations=durations) for i in intakes]
    else:
        told = words + [i.words for i in intakes]
        if not any(told):
            told = [_line(reading, rxe, i, durations=False) for i in intakes] or [_each(rxe)]
    whole = "；".join(t for t in told if t)
    if not whole:
        raise rxe.missing(7, "no instruction, amount or frequency")
    if len(whole) > _LONGEST_TEXT:
        raise rxe.refused(7, ErrorCode.DATA_TYPE, f"more than {_LONGEST_TEXT} characters")
    return whole


def _line(reading: Reading, rxe: Segment, of: Intake, *, durations: bool) -> str:
    table, often = reading.profile.tables.frequency, []
    for pattern in of.patterns:
        often.append(reading.meaning(table, pattern, of.place, pattern, "frequency"))
    each = _each(rxe)
    if of.amount is not None and not _is_same(of, rxe):
        each = f"每次{of.amount}{of.unit or types.coded_text(rxe.value(5)) or ''}"
    parts = ("、".join(often), each, of.duration if durations else "", of.words)
    return "，".join(part for part in parts if part)


def _each(rxe: Segment) -> str:
    """The amount of the encoded order (RXE-3)."""
    amount = rxe.text(3)
    return f"每次{amount}{types.coded_text(rxe.value(5)) or ''}" if amount else ""


def _is_same(of: Intake, rxe: Segment) -> bool:
    """Whether a line's amount is the order's (RXE-3), in the order's unit or none."""
    amounts = [types.number_of(text or "") for text in (of.amount, rxe.text(3))]
    unit = rxe.value(5)
    units = (None, unit.text(1), unit.text(2))
    return None not in amounts and amounts[0] == amounts[1] and of.unit in units


def _in_words(amount: str | None, unit: str | None) -> str:
    days = _duration(amount, unit)
    return "" if days is None else f"共{days:g}天" if days >= 1 else f"共{days * 24:g}小时"


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


def days_supply(reading: Reading, group: Group, rxe: Segment) -> tuple[int, bool]:
    """How long all of the timing lasts (TQ1, or the repetitions of the old RXE-1), else the
    profile's default; and whether it is the default, on which no rule may rest."""
    lines = _timing(group)
    days = _lasting((_of_line(reading, tq1), tq1.text(12)) for tq1 in lines)
    if days > 0:
        return _whole(days, lines[0], 6), False
    days = _lasting((_of_old(old.text(3) or ""), old.text(9)) for old in rxe.values(1))
    if days > 0:
        return _whole(days, rxe, 1), False
    default = reading.profile.defaults.days_supply
    if default is None:
        raise rxe.missing(1, "neither a duration (TQ1-6) nor a default of the profile")
    reading.note("defaulted", rxe, 1, "no duration: the profile's default")
    return default, True


def _lasting(lines: Iterable[tuple[float | None, str | None]]) -> float:
    """Of what one takes at the same time the longest, of what follows one another the sum
    (conjunction ``S``, table 0472: do the next line after this one). 0: nothing says so."""
    whole = together = 0.0
    for days, conjunction in lines:
        together = max(together, days or 0)
        if (conjunction or "").upper() == "S":
            whole, together = whole + together, 0.0
    return whole + together


def _of_line(reading: Reading, tq1: Segment) -> float | None:
    """TQ1-6, else from start to end."""
    days = _duration(tq1.text(6), tq1.text(6, 2))
    if days is None and tq1.text(7) and tq1.text(8):
        begin, end = (types.moment(tq1, n, reading.zone) for n in (7, 8))
        days = (end - begin).total_seconds() / 86_400 if begin and end else None
    return days


def _of_old(text: str) -> float | None:
    """``D7``: seven days; ``W2``: two weeks."""
    return _duration(text[1:], text[:1].upper())


def _duration(amount: str | None, unit: str | None) -> float | None:
    number = types.number_of(amount or "")
    days = DAYS.get((unit or "D").upper())
    return None if number is None or days is None else number * days


def _whole(days: float, segment: Segment, number: int) -> int:
    if days > _LONGEST:
        raise segment.refused(number, ErrorCode.DATA_TYPE, f"more than {_LONGEST} days")
    return max(1, ceil(days))
