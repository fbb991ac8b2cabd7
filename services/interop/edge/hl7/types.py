"""What do the data types of HL7 v2 mean: times, numbers, codes, names, telephones?

Each function takes the place (segment and field), so that a refusal can name it.
"""

from __future__ import annotations

import re
from calendar import monthrange
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta, timezone, tzinfo
from math import isfinite
from typing import Final

from services.interop.edge.hl7.message import Segment, Value
from services.interop.edge.hl7.refused import ErrorCode

#: YYYY[MM[DD[HH[MM[SS[.S…]]]]]][±ZZZZ]
_DTM: Final = re.compile(
    r"(\d{4})(?:(\d{2})(?:(\d{2})(?:(\d{2})(?:(\d{2})(?:(\d{2})(?:\.(\d{1,9}))?)?)?)?)?)?"
    r"\s?(Z|[+-]\d{2}:?\d{2})?",
    re.ASCII,
)
#: As ISO 8601 has it and many senders write it, though HL7 does not.
_ISO: Final = re.compile(
    r"(\d{4})-(\d{2})-(\d{2})(?:[T ](\d{2}):(\d{2})(?::(\d{2})(?:\.(\d{1,9}))?)?)?"
    r"\s?(Z|[+-]\d{2}:?\d{2})?",
    re.ASCII,
)
_NUMBER: Final = re.compile(r"[+-]?(\d{1,30}(\.\d{0,30})?|\.\d{1,30})", re.ASCII)
_CJK: Final = re.compile(r"[㐀-鿿豈-﫿\U00020000-\U0003ffff]")


@dataclass(frozen=True, slots=True)
class Day:
    """A date, and whether the sender gave all of it."""

    date: date
    exact: bool


def moment(segment: Segment, field: int, zone: tzinfo) -> datetime | None:
    """TS/DTM in UTC. Without an offset it is ``zone``'s time; what is left out is zero."""
    value = segment.value(field)
    text = value.text(1)
    return None if text is None else moment_of(text, zone, segment, field)


def moment_of(text: str, zone: tzinfo, segment: Segment, field: int) -> datetime:
    found = _DTM.fullmatch(text) or _ISO.fullmatch(text)
    if found is None:
        raise segment.refused(field, ErrorCode.DATA_TYPE, "no date and time")
    year, month, day, hour, minute, second, fraction, offset = found.groups()
    micro = int((fraction or "0")[:6].ljust(6, "0"))
    try:
        # A leap second is real and Python has none.
        at = datetime(
            int(year),
            int(month or 1),
            int(day or 1),
            int(hour or 0),
            int(minute or 0),
            min(int(second or 0), 59) if second == "60" else int(second or 0),
            micro,
            tzinfo=_offset(offset) or zone,
        )
        return at.astimezone(UTC)
    except (ValueError, OverflowError):
        raise segment.refused(field, ErrorCode.DATA_TYPE, "no such date and time") from None


def _offset(text: str | None) -> tzinfo | None:
    if text is None:
        return None
    if text == "Z":
        return UTC
    size = timedelta(hours=int(text[1:3]), minutes=int(text[-2:]))
    return timezone(-size if text[0] == "-" else size)


def day(segment: Segment, field: int) -> Day | None:
    """A calendar day as the sender wrote it: an offset moves no birthday. Of a year or a
    month alone the last day: nobody counts as grown up too early."""
    text = segment.text(field)
    if text is None:
        return None
    found = _DTM.fullmatch(text) or _ISO.fullmatch(text)
    if found is None:
        raise segment.refused(field, ErrorCode.DATA_TYPE, "no date")
    year, month = int(found[1]), int(found[2] or 12)
    try:
        last = monthrange(year, month)[1]
        return Day(date(year, month, int(found[3] or last)), found[3] is not None)
    except ValueError:
        raise segment.refused(field, ErrorCode.DATA_TYPE, "no such date") from None


def number(segment: Segment, field: int, component: int = 1) -> float | None:
    """NM."""
    text = segment.text(field, component)
    if text is None:
        return None
    found = number_of(text)
    if found is None:
        raise segment.refused(field, ErrorCode.DATA_TYPE, "no number")
    return found


def number_of(text: str) -> int | float | None:
    """A number as HL7 writes it, whole if it was written so; ``None`` if it is none."""
    if not _NUMBER.fullmatch(text):
        return None
    if "." not in text and len(text) < 16:
        return int(text)
    found = float(text)
    return found if isfinite(found) else None


def structured(value: Value) -> str | None:
    """SN (comparator ^ number ^ separator ^ number) as people write it: ``>100``, ``1:8``."""
    parts = (value.text(n) or "" for n in (1, 2, 3, 4))
    return "".join(parts) or None


@dataclass(frozen=True, slots=True)
class Coded:
    """One of the codings of a CE or CWE."""

    code: str
    text: str | None
    system: str | None


def codings(value: Value) -> Iterator[Coded]:
    """CE/CWE: the coding, its alternate, and the second alternate of version 2.7."""
    for code, text, system in ((1, 2, 3), (4, 5, 6), (10, 11, 12)):
        found = value.text(code)
        if found is not None:
            yield Coded(found, value.text(text), value.text(system))


def coded_text(value: Value) -> str | None:
    """What a person should read: the text, else the original text, else the code."""
    return value.text(2) or value.text(9) or value.text(5) or value.text(1)


def person_name(values: tuple[Value, ...], first: int = 1) -> str | None:
    """XPN, or XCN with ``first`` 2, as people write it. Ideographs before other scripts,
    the legal name before others."""

    def rank(value: Value) -> tuple[bool, bool]:
        return value.text(first + 7) != "I", value.text(first + 6) not in ("L", None)

    for value in sorted(values, key=rank):
        family, given = value.text(first), value.text(first + 1)
        middle = value.text(first + 2)
        parts = [p for p in (family, given) if p]
        if any(map(_CJK.search, parts)):
            return "".join(parts)
        western = " ".join(p for p in (given, middle, family) if p)
        if western:
            return western
    return None


#: XTN.3 of what cannot take a call: fax, modem, beeper, teletype.
_NO_TELEPHONE: Final = frozenset({"FX", "MD", "BP", "TDD", "TTY", "INTERNET", "X.400", "SAT"})


def email(values: tuple[Value, ...]) -> str | None:
    """XTN: the first e-mail address."""
    for value in values:
        for text in (value.text(4), value.text(1)):
            if text is not None and re.fullmatch(r"[^@\s]{1,120}@[^@\s]{1,120}", text):
                return text
    return None


def phone(values: tuple[Value, ...]) -> str | None:
    """XTN: the first mobile telephone, else the first telephone."""
    told = [v for v in values if (v.text(3) or "").upper() not in _NO_TELEPHONE]
    for value in sorted(told, key=lambda v: (v.text(3) or "").upper() != "CP"):
        text = value.text(1) or value.text(12) or _joined(value)
        if text is not None and "@" not in text and any(map(str.isdigit, text)):
            return text[:64]
    return None


def _joined(value: Value) -> str | None:
    country, area, local = value.text(5), value.text(6), value.text(7)
    if local is None:
        return None
    plus = f"+{country.lstrip('+')}" if country else ""
    return f"{plus}{area or ''}{local}"
