"""What do the lines of a report (OBX, NTE) say: values and a finding in words?"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Final

from libs.common.events import Interpretation, Observation, ReferenceRange, ReportKind
from services.interop.edge.hl7 import types
from services.interop.edge.hl7.mapping.reading import Reading, as_code, line
from services.interop.edge.hl7.message import Group, Segment, Value
from services.interop.edge.profile import LineStatus

#: Kinds whose texts are the finding itself, not values.
NARRATIVE: Final = frozenset(
    {
        ReportKind.IMAGING,
        ReportKind.ULTRASOUND,
        ReportKind.ENDOSCOPY,
        ReportKind.PATHOLOGY,
        ReportKind.FUNCTION_TEST,
    }
)
#: OBX-2 of texts; several in a row with one OBX-3 are one text, cut into lines.
TEXTS: Final = frozenset({"TX", "FT"})
#: OBX-2 of what is no text at all: an embedded document, pointers to one.
EMBEDDED: Final = "ED"
POINTERS: Final = frozenset({"RP", "HD"})
#: Said before others, if OBX-8 says several things.
_GRAVE: Final = (
    Interpretation.CRITICALLY_ABNORMAL,
    Interpretation.CRITICALLY_HIGH,
    Interpretation.CRITICALLY_LOW,
)
_MOST_LINES, _MOST_VALUE, _MOST_CONCLUSION = 300, 2000, 8000
_RANGE: Final = re.compile(
    r"\s*([+-]?\d{1,15}(?:\.\d{1,15})?)\s*(?:-|--|~|–|—|to|至)\s*([+-]?\d{1,15}(?:\.\d{1,15})?)\s*"
)

Read = int | float | str | None


def _text(values: tuple[Value, ...]) -> str | None:
    return "\n".join(t for v in values if (t := v.whole())) or None


def _number(values: tuple[Value, ...]) -> Read:
    """What is no number though it should be stays as it stands: ``<0.5``, ``阴性``."""
    if len(values) != 1:
        return _text(values)
    text = values[0].text(1)
    found = types.number_of(text) if text else None
    return text if found is None else found


def _structured(values: tuple[Value, ...]) -> Read:
    return "\n".join(t for v in values if (t := types.structured(v))) or None


def _coded(values: tuple[Value, ...]) -> Read:
    return "\n".join(t for v in values if (t := types.coded_text(v))) or None


#: By OBX-2; others are shown as they stand.
VALUES: Final[Mapping[str, Callable[[tuple[Value, ...]], Read]]] = {
    "NM": _number,
    "SN": _structured,
    "CE": _coded,
    "CWE": _coded,
    "CNE": _coded,
    "CF": _coded,
}


@dataclass(slots=True)
class Line:
    """One OBX, or several that are one text."""

    segment: Segment
    kind: str
    key: tuple[str | None, str | None]
    value: Read
    interpretation: Interpretation | None
    more: list[str] = field(default_factory=list)

    def codes(self) -> tuple[str, ...]:
        """OBX-3 and its suffix (``24627-2&IMP``)."""
        found = (self.key[0], self.segment.text(3, 1, 2))
        return tuple(code for code in found if code)

    def text(self) -> str | None:
        """Its value, if that is a text."""
        parts = [self.value, *self.more] if isinstance(self.value, str) else self.more
        return "\n".join(map(str, parts)) or None


@dataclass(slots=True)
class Results:
    lines: list[Line] = field(default_factory=list)
    comments: list[str] = field(default_factory=list)
    #: Of every line; of one that says nothing ``None``.
    statuses: list[LineStatus | None] = field(default_factory=list)
    critical: bool = False
    effective_at: datetime | None = None
    #: Lines that are no text but a document.
    documents: list[Segment] = field(default_factory=list)

    def told(
        self, reading: Reading, obr: Segment, *, narrative: bool
    ) -> tuple[tuple[Observation, ...], str | None]:
        """The lines for the event, and the finding in words: all texts if it is ``narrative``,
        else those that the profile names."""
        codes = reading.profile.reports.conclusion_codes
        observations: list[Observation] = []
        words: list[str] = []
        for one in self.lines:
            text = one.text() or ""
            in_words = one.kind in TEXTS and (narrative or not codes.isdisjoint(one.codes()))
            if in_words or len(text) > _MOST_VALUE:
                words += [f"{_display(one.segment)}：{text}"] if text else []
                continue
            observations.append(_observation(reading, one, text or one.value))
        if len(observations) > _MOST_LINES:
            beyond = len(observations) - _MOST_LINES
            reading.note("left_out", obr, 0, f"{beyond} lines beyond {_MOST_LINES}")
        conclusion = "\n".join(words + self.comments)
        if len(conclusion) > _MOST_CONCLUSION:
            reading.note("shortened", obr, 0, f"more than {_MOST_CONCLUSION} characters of text")
            conclusion = f"{conclusion[: _MOST_CONCLUSION - 1]}…"
        return tuple(observations[:_MOST_LINES]), conclusion or None


def read(reading: Reading, group: Group) -> Results:
    """The OBX and NTE that belong to an OBR."""
    found = Results()
    segments = _of_report(group)
    for segment in segments:
        if segment.name == "NTE":
            text = _text(segment.values(3))
            found.comments += [text] if text else []
        elif segment.name == "OBX":
            _add(reading, found, segment)
    return found


def _of_report(group: Group) -> tuple[Segment, ...]:
    """What follows SPM is about the specimen; unless a sender puts all its results there."""
    names = [s.name for s in group.segments]
    end = names.index("SPM") if "SPM" in names else len(names)
    return group.segments[:end] if "OBX" in names[:end] else group.segments


def _add(reading: Reading, found: Results, obx: Segment) -> None:
    kind, code = (obx.text(2) or "").upper(), obx.text(11)
    status: LineStatus | None = None
    if code is not None:
        table = reading.profile.tables.line_status
        status = reading.meaning(table, code, (obx, 11), LineStatus.FINAL, "line status")
    found.statuses.append(status)
    if status is LineStatus.VOID:
        reading.note("line_left_out", obx, 11, f"taken back: {code}")
        return
    # Before anything else leaves the line out: a danger to life is told though no line shows it.
    meant = _interpretation(reading, obx)
    found.critical |= meant in _GRAVE or _is_flagged(reading, obx)
    if kind == EMBEDDED:
        found.documents.append(obx)
        return
    if obx.text(5) in reading.cuts:
        reading.note("document_left_out", obx, 5, f"base64 as {kind}: a document is sent as ED")
        return
    if kind in POINTERS:
        reading.note("document_left_out", obx, 5, f"{kind}: points to what only its sender has")
        return
    if obx.text(3) is None:
        raise obx.missing(3)
    found.effective_at = found.effective_at or types.moment(obx, 14, reading.zone)
    value = None
    if status is not LineStatus.ABSENT:
        value = VALUES.get(kind, _text)(obx.values(5))
    if kind == "NM" and isinstance(value, str):
        reading.note("no_number", obx, 5, "NM holds a text: taken as text")
    key = (obx.text(3), obx.text(4))
    last = found.lines[-1] if found.lines else None
    if last and kind in TEXTS and (last.kind, last.key) == (kind, key):
        last.more += [str(value)] if value is not None else []
        last.interpretation = _gravest((last.interpretation, meant))
        return
    found.lines.append(Line(obx, kind, key, value, meant))


def _is_flagged(reading: Reading, obx: Segment) -> bool:
    flags = reading.profile.reports.critical_flags
    return any(value.text(1) in flags for value in obx.values(8))


def _interpretation(reading: Reading, obx: Segment) -> Interpretation | None:
    table = reading.profile.tables.interpretation
    flags = reading.profile.reports.critical_flags
    codes = [c for v in obx.values(8) if (c := v.text(1)) and c not in flags]
    return _gravest([reading.meaning(table, c, (obx, 8), None, "interpretation") for c in codes])


def _gravest(found: Collection[Interpretation | None]) -> Interpretation | None:
    """What is grave before others; else the first that is not the usual."""
    told = [f for f in found if f is not None]
    unusual = [f for f in told if f is not Interpretation.NORMAL]
    return next((grave for grave in _GRAVE if grave in told), next(iter(unusual or told), None))


def _observation(reading: Reading, one: Line, value: Read) -> Observation:
    obx = one.segment
    codings = list(types.codings(obx.value(3)))
    loinc = reading.profile.systems.loinc
    best = next((c for c in codings if (c.system or "").upper() in loinc), codings[0])
    return Observation(
        code=as_code(best.code, obx, 3),
        display=_display(obx),
        value=value,
        unit=line(obx.text(6) or obx.text(6, 2), 32),
        reference_range=_range(obx),
        interpretation=one.interpretation,
    )


def _display(obx: Segment) -> str:
    return line(types.coded_text(obx.value(3))) or obx.need(3)[:256]


def _range(obx: Segment) -> ReferenceRange | None:
    text = line(obx.value(7).whole())
    if text is None:
        return None
    found = _RANGE.fullmatch(text)
    if found is None:
        return ReferenceRange(text=text)
    return ReferenceRange(low=float(found[1]), high=float(found[2]))
