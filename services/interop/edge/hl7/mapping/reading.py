"""How is one message read with its sender's profile, and what is noted on the way?

What the families of messages have in common: codes by table, identifiers, departments,
times. Notes hold places and codes, never names or findings.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from datetime import date, datetime, timedelta, tzinfo
from typing import Final, TypeVar

from libs.common.decision import derived_id
from libs.common.events import Department, Event
from services.interop.domain.document import DocumentOf
from services.interop.domain.exam import Booking
from services.interop.edge import naming
from services.interop.edge.cuts import Piece
from services.interop.edge.hl7 import types
from services.interop.edge.hl7.message import Message, Segment, Value
from services.interop.edge.hl7.refused import ErrorCode, Refused
from services.interop.edge.naming import is_identity_number, line, shown
from services.interop.edge.profile import DepartmentOf, Identifier, OnUnknown, Profile, Table

T = TypeVar("T")

#: Clocks differ; the platform takes no event from further ahead than this.
AHEAD: Final = timedelta(minutes=5)
#: They are kept with the message; who sees a hundred needs no more to see what is wrong.
_MOST_NOTES: Final = 100


@dataclass(frozen=True, slots=True)
class Note:
    """Something that whoever runs the interface should see, though the message was taken."""

    code: str
    segment: str
    sequence: int
    field: int
    text: str

    def __str__(self) -> str:
        place = f"{self.segment}-{self.field}" if self.field else self.segment
        return f"{self.code} {place} ({self.sequence}): {self.text}"


@dataclass(frozen=True, slots=True)
class Mapped:
    """What a message says."""

    events: tuple[Event, ...]
    patient_id: str
    notes: tuple[Note, ...] = ()
    #: Fields of the patient's record that stand in the message as empty: no change.
    left_out: frozenset[str] = frozenset()
    #: The appointment of an examination that the message is about.
    booking: Booking | None = None
    #: What the events refer to; the contents by SHA-256.
    documents: tuple[DocumentOf, ...] = ()
    contents: Mapping[str, bytes] = field(default_factory=dict)


@dataclass(slots=True)
class Reading:
    """One message being read."""

    message: Message
    profile: Profile
    zone: tzinfo
    now: datetime
    adult_age: Callable[[date], int]
    #: What was cut out of the message, by the digest that stands in its place.
    cuts: Mapping[str, Piece] = field(default_factory=dict)
    #: Where documents can be had; an id is added.
    documents_at: str = ""
    notes: list[Note] = field(default_factory=list)
    documents: dict[str, DocumentOf] = field(default_factory=dict)
    contents: dict[str, bytes] = field(default_factory=dict)

    def note(self, code: str, segment: Segment, number: int, text: str) -> None:
        found = Note(code, segment.name, segment.sequence, number, text)
        # What two events are read from is noted once.
        if len(self.notes) < _MOST_NOTES and found not in self.notes:
            self.notes.append(found)

    def meaning(
        self, table: Table[T], code: str, place: tuple[Segment, int], unknown: T, name: str
    ) -> T:
        """What ``code`` means; one that the table does not know is refused or noted."""
        for key in (code, code.upper()):
            if key in table.codes:
                return table.codes[key]
        text = f"unknown {name} code {shown(code)}"
        segment, number = place
        if table.unknown is OnUnknown.REFUSE:
            raise segment.refused(number, ErrorCode.TABLE_VALUE_NOT_FOUND, text)
        self.note("unknown_code", segment, number, text)
        return unknown

    def moment(self, places: Iterable[tuple[Segment | None, int]]) -> datetime:
        """The first time that is there and not ahead; :class:`Refused` if there is none.

        Test systems and wrong clocks send times that have not been: one believed, no true
        one would be newer for years.
        """
        first: tuple[Segment, int] | None = None
        ahead = False
        for segment, number in places:
            if segment is None:
                continue
            first = first or (segment, number)
            found = types.moment(segment, number, self.zone)
            if found is None:
                continue
            if found <= self.now + AHEAD:
                return found
            ahead = True
            self.note("time_ahead", segment, number, "lies in the future: passed over")
        segment, number = first or (self.message.header, 7)
        code = ErrorCode.DATA_TYPE if ahead else ErrorCode.REQUIRED_FIELD_MISSING
        raise segment.refused(number, code, "lies in the future" if ahead else "required")

    def identifier(self, segment: Segment, number: int, rule: Identifier) -> str | None:
        """The identifier in a CX field by ``rule``; ``None`` if it has none."""
        found = self.chosen(segment, number, rule)
        return None if found is None else as_id(found.text(1) or "", segment, number)

    def chosen(self, segment: Segment, number: int, rule: Identifier) -> Value | None:
        """The repetition of a CX field that is the identifier by ``rule``."""
        allowed: list[Value] = []
        for value in segment.values(number):
            id = value.text(1)
            if id is None or (value.text(5) or "") in rule.never:
                continue
            if is_identity_number(id):
                text = "shaped like an identity card's number: passed over"
                self.note("identity_number", segment, number, text)
                continue
            allowed.append(value)
        for kind in rule.types or (None,):
            for value in allowed:
                if kind in (None, value.text(5)) and _is_of(value, rule.authorities):
                    return value
        if allowed and rule.otherwise_first:
            self.note("identifier_guessed", segment, number, "none of the profile's: the first")
            return allowed[0]
        return None

    def patient(self, segment: Segment, number: int = 3) -> Value:
        """The repetition that names the patient; :class:`Refused` if none does."""
        found = self.chosen(segment, number, self.profile.patient)
        if found is None:
            text = "no identifier that is a patient's by the sender's profile"
            code = ErrorCode.UNKNOWN_KEY if segment.values(number) else None
            raise segment.refused(number, code or ErrorCode.REQUIRED_FIELD_MISSING, text)
        return found

    def patient_id(self, segment: Segment, number: int = 3) -> str:
        return as_id(self.patient(segment, number).text(1) or "", segment, number)

    def department(self) -> Department | None:
        """Where PV1 says that the patient is, else the profile's default."""
        visit = self.message.first("PV1")
        table = self.profile.tables.department
        numbers = [int(place[4:]) for place in self.profile.department_in]
        told = [(n, code) for n in numbers if visit and (code := visit.text(n))]
        if visit is None or not told:
            default = self.profile.defaults.department
            return None if default is None else _department(default)
        known = next(((n, code) for n, code in told if code in table.codes), told[0])
        passed = DepartmentOf(code=as_code(known[1], visit, known[0]))
        # With no table at all the sender's codes are the hospital's.
        if not table.codes:
            return _department(passed)
        return _department(self.meaning(table, known[1], (visit, known[0]), passed, "department"))

    def department_if_known(self) -> Department | None:
        """The same, for a message that is taken without one."""
        try:
            return self.department()
        except Refused:
            return None

    def need_department(self) -> Department:
        found = self.department()
        if found is None:
            number = int(self.profile.department_in[0][4:])
            raise self.message.need("PV1").missing(number, "no department, and no default")
        return found


def _department(of: DepartmentOf) -> Department:
    return Department(code=of.code, name=of.name)


def _is_of(value: Value, authorities: tuple[str, ...]) -> bool:
    return not authorities or any(value.text(4, sub) in authorities for sub in (1, 2))


def as_id(text: str, segment: Segment, number: int) -> str:
    """``text`` as an id of the platform (:func:`naming.as_id`)."""
    return _checked(naming.id_text(text), segment, number)


def _checked(text: str, segment: Segment, number: int) -> str:
    found = naming.checked_id(text)
    if found is None:
        raise segment.refused(number, ErrorCode.DATA_TYPE, "no identifier of 1 to 128 characters")
    return found


def as_code(text: str, segment: Segment, number: int) -> str:
    """``text`` as a code, by the same rule."""
    found = naming.as_code(text)
    if found is None:
        raise segment.refused(number, ErrorCode.DATA_TYPE, "no code of 1 to 64 characters")
    return found


def numbered(
    segment: Segment,
    number: int,
    *content: str | None,
    prefix: str = "",
    value: Value | None = None,
) -> str:
    """The order number (EI) in a field (or a ``value`` of it) as an id, with its namespace if
    it has one and what else of the content tells apart what senders give one number. Never the
    position: another message, with less or more in it, must find the same thing by the same id."""
    found = value or segment.value(number)
    namespace, order = found.text(2), found.text(1)
    if order is None:
        raise segment.missing(number)
    order = naming.id_part(order) + (f"@{naming.id_part(namespace)}" if namespace else "")
    parts = [order, *(naming.id_part(c) for c in content if c)]
    return _checked(naming.id_text(prefix) + ":".join(parts), segment, number)


class Distinct:
    """Ids within one message. Two things by one id would be one to all who read of them: the
    message is refused, as no guess which is which would hold in the next one."""

    def __init__(self) -> None:
        self._seen: set[str] = set()

    def of(self, id: str, segment: Segment, number: int) -> str:
        if id in self._seen:
            text = "stands twice in the message, and nothing tells the two apart"
            raise segment.refused(number, ErrorCode.DATA_TYPE, text)
        self._seen.add(id)
        return id


__all__ = [
    "Distinct",
    "Mapped",
    "Note",
    "Reading",
    "Refused",
    "as_code",
    "as_id",
    "derived_id",
    "line",
    "numbered",
    "shown",
]
