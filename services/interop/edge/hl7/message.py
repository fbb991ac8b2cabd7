"""What stands in an HL7 v2 message, segment by segment and field by field?

Tolerant where senders differ without harm (BOM, line ends, blanks, any separators, Z
segments, unknown segments), strict where a guess could change the meaning. Nothing but
:class:`Refused` is ever raised, by whatever bytes.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from services.interop.edge.hl7 import charset
from services.interop.edge.hl7.escapes import Separators
from services.interop.edge.hl7.refused import ErrorCode, Refused

__all__ = ["ErrorCode", "Group", "Message", "Refused", "Segment", "Value", "parse"]

#: The explicit null: the sender says that there is nothing, instead of saying nothing.
NULL: Final = '""'
#: Far more than any version has or a hospital sends: what one message may cost is bounded.
_MOST_SEGMENTS: Final = 50_000
_MOST_FIELDS: Final = 400
_NAME: Final = re.compile(r"[A-Z][A-Z0-9]{2}")
#: The segments around a batch of messages (HL7 2.x, section 2.10.3).
_BATCH: Final = frozenset({"FHS", "BHS", "BTS", "FTS"})
_ONE: Final = "send each of them in a frame of its own"


@dataclass(frozen=True, slots=True)
class Value:
    """One repetition of a field; components and sub-components count from 1."""

    raw: str
    separators: Separators

    def text(self, component: int = 1, sub: int = 1) -> str | None:
        """The text there, unescaped and without outer blanks; ``None`` if empty or null."""
        found = _part(self.raw, self.separators.component, component)
        found = _part(found, self.separators.sub, sub).strip()
        return None if found in ("", NULL) else self.separators.unescape(found).strip() or None

    def whole(self) -> str | None:
        """The repetition as one text, whatever separators stand in it."""
        found = self.separators.unescape(self.raw).strip()
        return None if found in ("", NULL) else found


@dataclass(frozen=True, slots=True)
class Segment:
    """One line. ``sequence`` counts the segments of its name from 1, as ERR-2.2 wants it."""

    name: str
    sequence: int
    position: int  # in the message
    fields: tuple[str, ...]  # by number: fields[0] is the name
    separators: Separators

    def raw(self, field: int) -> str:
        return self.fields[field] if field < len(self.fields) else ""

    def values(self, field: int) -> tuple[Value, ...]:
        """The repetitions that hold anything."""
        raw = self.raw(field)
        parts = raw.split(self.separators.repetition) if self.separators.repetition else [raw]
        return tuple(Value(part, self.separators) for part in parts if part.strip())

    def value(self, field: int) -> Value:
        """The first repetition; an empty one if there is none."""
        raw = self.raw(field)
        if self.separators.repetition not in raw:  # as nearly all, and this is asked most often
            return Value(raw if raw.strip() else "", self.separators)
        return next(iter(self.values(field)), Value("", self.separators))

    def text(self, field: int, component: int = 1, sub: int = 1) -> str | None:
        return self.value(field).text(component, sub)

    def need(self, field: int, component: int = 1) -> str:
        found = self.text(field, component)
        if found is None:
            raise self.missing(field)
        return found

    def missing(self, field: int, text: str = "required") -> Refused:
        return self.refused(field, ErrorCode.REQUIRED_FIELD_MISSING, text)

    def refused(self, field: int, code: ErrorCode, text: str) -> Refused:
        return Refused(self.name, self.sequence, field, code, text)


class _Named:
    """Segments in their order, found by name."""

    __slots__ = ("_by_name", "segments")

    def __init__(self, segments: tuple[Segment, ...]) -> None:
        self.segments = segments
        self._by_name: dict[str, list[Segment]] = {}
        for segment in segments:
            self._by_name.setdefault(segment.name, []).append(segment)

    def all(self, name: str) -> tuple[Segment, ...]:
        return tuple(self._by_name.get(name, ()))

    def first(self, name: str) -> Segment | None:
        return next(iter(self._by_name.get(name, ())), None)

    def need(self, name: str) -> Segment:
        found = self.first(name)
        if found is None:
            raise Refused(name, 1, 0, ErrorCode.SEGMENT_SEQUENCE, "the segment is required")
        return found


class Group(_Named):
    """A segment and what follows it, up to the next of its kind."""

    __slots__ = ("head",)

    def __init__(self, head: Segment, segments: tuple[Segment, ...]) -> None:
        super().__init__(segments)
        self.head = head


class Message(_Named):
    """A whole message. ``oddities`` says in words what was tolerated."""

    __slots__ = ("oddities", "separators")

    def __init__(
        self,
        segments: tuple[Segment, ...],
        separators: Separators,
        oddities: tuple[str, ...] = (),
    ) -> None:
        super().__init__(segments)
        self.separators = separators
        self.oddities = oddities

    @property
    def header(self) -> Segment:
        return self.segments[0]

    @property
    def type(self) -> tuple[str, str]:
        """MSH-9: message type and trigger. From an old sender the trigger may be in EVN-1."""
        kind = self.header.need(9).upper()
        trigger = self.header.text(9, 2)
        evn = self.first("EVN")
        if trigger is None and evn is not None:
            trigger = evn.text(1)
        return kind, (trigger or "").upper()

    def need_groups(self, name: str) -> tuple[Group, ...]:
        """:meth:`groups`, of which there must be one."""
        self.need(name)
        return self.groups(name)

    def groups(self, name: str) -> tuple[Group, ...]:
        """Each segment ``name`` with all that follows it up to the next ``name``."""
        starts = [s.position for s in self._by_name.get(name, ())]
        ends = [*starts[1:], len(self.segments)]
        return tuple(
            Group(self.segments[a], self.segments[a + 1 : b])
            for a, b in zip(starts, ends, strict=False)
        )

    def before(self, segment: Segment, name: str, *, within: str) -> Segment | None:
        """The nearest ``name`` ahead of ``segment``, with no ``within`` between them."""
        for position in range(segment.position - 1, -1, -1):
            one = self.segments[position]
            if one.name in (name, within):
                return one if one.name == name else None
        return None


def parse(raw: bytes) -> Message:
    """The message in ``raw`` (one MLLP frame's content); :class:`Refused` if it is none."""
    text, codec, oddity = charset.decode(raw)
    if text[:3] in _BATCH:
        what = f"a batch of messages is not taken: {_ONE}"
        raise Refused(text[:3], 1, 0, ErrorCode.SEGMENT_SEQUENCE, what)
    if not text.startswith("MSH"):
        raise Refused("MSH", 1, 0, ErrorCode.SEGMENT_SEQUENCE, "a message begins with MSH")
    lines, continued = _lines(text)
    if len(lines) > _MOST_SEGMENTS:
        what = f"more than {_MOST_SEGMENTS} segments"
        raise Refused("MSH", 1, 0, ErrorCode.SEGMENT_SEQUENCE, what)
    separators = _separators(lines[0], codec)
    segments = tuple(_segments(lines, separators))
    if any(s.name == "MSH" for s in segments[1:]):
        what = f"more than one message in a frame: {_ONE}"
        raise Refused("MSH", 2, 0, ErrorCode.SEGMENT_SEQUENCE, what)
    oddities = (oddity, "line breaks within a field" if continued else None)
    return Message(segments, separators, tuple(o for o in oddities if o))


def _lines(text: str) -> tuple[list[str], bool]:
    """The segments' lines. A line that begins no segment goes on with the one before it:
    senders leave line feeds in texts."""
    separator = text[3:4]
    lines: list[list[str]] = []
    for line in text.replace("\n", "\r").split("\r"):
        if not lines or (_NAME.fullmatch(line[:3]) and line[3:4] == separator):
            lines.append([line])
        elif line.strip():
            lines[-1].append(line)
    return ["\n".join(parts) for parts in lines], any(len(parts) > 1 for parts in lines)


def _separators(line: str, codec: str) -> Separators:
    field = line[3:4]
    if not field or field.isalnum() or field.isspace():
        raise Refused("MSH", 1, 1, ErrorCode.REQUIRED_FIELD_MISSING, "no field separator")
    encoding = line[4:].split(field, 1)[0]
    # 2.7 adds a fifth character (truncation), which only a receiver of less cares about.
    chars = encoding.strip()[:4]
    if not chars or len({field, *chars}) != len(chars) + 1 or any(map(str.isalnum, chars)):
        raise Refused("MSH", 1, 2, ErrorCode.DATA_TYPE, "no usable encoding characters")
    component, repetition, escape, sub = (*chars, *[""] * (4 - len(chars)))
    return Separators(field, component, repetition, escape, sub, codec)


def _segments(lines: list[str], separators: Separators) -> Iterator[Segment]:
    counted: dict[str, int] = {}
    for position, line in enumerate(lines):
        name = line[:3]
        counted[name] = counted.get(name, 0) + 1
        fields = line.split(separators.field, _MOST_FIELDS)
        if name == "MSH":
            fields.insert(1, separators.field)  # MSH-1 is the separator itself
        yield Segment(name, counted[name], position, tuple(fields), separators)


def _part(text: str, separator: str, number: int) -> str:
    """Part ``number`` of ``text``, without splitting a long rest."""
    if not separator or separator not in text:
        return text if number == 1 else ""
    parts = text.split(separator, number)
    return parts[number - 1] if number <= len(parts) else ""
