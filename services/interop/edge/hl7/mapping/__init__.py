"""Which events does a message give? One table of types, one of triggers for each."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from datetime import date, datetime, tzinfo
from typing import Final
from zoneinfo import ZoneInfo

from pydantic import ValidationError

from services.interop.edge.cuts import Piece
from services.interop.edge.hl7.mapping import adt, mdm, orders, oru, rde, siu
from services.interop.edge.hl7.mapping.reading import Mapped, Note, Reading, shown
from services.interop.edge.hl7.message import Message
from services.interop.edge.hl7.refused import ErrorCode, Refused
from services.interop.edge.profile import Profile

__all__ = ["Mapped", "Note", "map_message"]

#: What gives events, by MSH-9.1 and MSH-9.2.
MAPPED: Final[Mapping[str, Mapping[str, Callable[[Reading], Mapped]]]] = {
    "ADT": adt.TRIGGERS,
    "ORU": oru.TRIGGERS,
    "ORM": orders.TRIGGERS,
    "OMG": orders.OMG,
    "OMI": orders.OMI,
    "OML": orders.OML,
    "SIU": siu.TRIGGERS,
    "MDM": mdm.TRIGGERS,
    "RDE": rde.TRIGGERS,
}

#: What HL7 knows besides and senders send along: taken, and nothing made of it.
UNUSED: Final[Mapping[str, frozenset[str]]] = {
    "ADT": frozenset(f"A{n:02}" for n in range(1, 63)),
    "ORU": frozenset({"R30", "R31", "R32", "R40"}),
    "OUL": frozenset({"R21", "R22", "R23", "R24"}),
    "ORR": frozenset({"O02"}),
    "OML": frozenset({"O33", "O35"}),
    "OMP": frozenset({"O09"}),
    "RDE": frozenset({"O01"}),
    "RDS": frozenset({"O13"}),
    "RGV": frozenset({"O15"}),
    "RAS": frozenset({"O17"}),
    "SIU": frozenset(f"S{n}" for n in range(18, 28)),
    "DFT": frozenset({"P03", "P11"}),
    "BAR": frozenset({"P01", "P02", "P05", "P06", "P10", "P12"}),
    "VXU": frozenset({"V04"}),
    "MFN": frozenset(f"M{n:02}" for n in range(1, 18)),
}

#: Written in one transaction with the message.
_MOST_EVENTS: Final = 500
_NO_CUTS: Final[Mapping[str, Piece]] = {}


def map_message(
    message: Message,
    profile: Profile,
    zone: tzinfo,
    now: datetime,
    adult_age: Callable[[date], int],
    *,
    cuts: Mapping[str, Piece] = _NO_CUTS,
    documents_at: str = "http://localhost/v1/documents",
) -> Mapped:
    """The events of ``message`` as its sender means it.

    ``zone`` is the hospital's (the profile's, if it has one, goes before it); a time later
    than ``now`` is not believed; ``adult_age`` says from which age (in years, by the day) a
    person acts alone: the policy's, where there is one. ``cuts`` is what was cut out of the
    message, by the digest that stands for it; ``documents_at`` is where documents are.
    Raises :class:`Refused` and nothing else.
    """
    kind, trigger = message.type
    own = ZoneInfo(profile.zone) if profile.zone else zone
    reading = Reading(message, profile, own, now, adult_age, cuts, documents_at)
    for oddity in message.oddities:
        reading.note("oddity", message.header, 0, oddity)
    read = MAPPED.get(kind, {}).get(trigger) or _unused(message, kind, trigger)
    try:
        mapped = read(reading)
    except ValidationError as error:
        # Our own mistake, not the sender's; the place, as the error's values are personal.
        places = ", ".join(".".join(map(str, e["loc"])) for e in error.errors())
        text = f"no {error.title}: {places}"
        raise Refused(message.header.name, 1, 9, ErrorCode.INTERNAL, text[:250]) from None
    if len(mapped.events) > _MOST_EVENTS:
        text = f"more than {_MOST_EVENTS} facts in one message"
        raise message.header.refused(0, ErrorCode.SEGMENT_SEQUENCE, text)
    return replace(
        mapped,
        notes=tuple(reading.notes),
        documents=tuple(reading.documents.values()),
        contents=reading.contents,
    )


def _unused(message: Message, kind: str, trigger: str) -> Callable[[Reading], Mapped]:
    known = UNUSED.get(kind)
    if known is None:
        code, text = ErrorCode.UNSUPPORTED_MESSAGE_TYPE, f"unknown message type {shown(kind)}"
        raise message.header.refused(9, code, text)
    if trigger not in known:
        code, text = ErrorCode.UNSUPPORTED_EVENT, f"unknown event {shown(kind)}^{shown(trigger)}"
        raise message.header.refused(9, code, text)
    return _nothing


def _nothing(reading: Reading) -> Mapped:
    kind, trigger = reading.message.type
    reading.note("not_used", reading.message.header, 9, f"{kind}^{trigger} gives no event")
    pid = reading.message.first("PID")
    found = pid and reading.identifier(pid, 3, reading.profile.patient)
    return Mapped((), found or "")
