"""What does a sender hear of its message?

HL7 v2, chapter 2, "Message processing rules" and the segments MSA and ERR. The header is
read from the bytes alone, so that a message that can't be read otherwise gets an answer, too.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from datetime import datetime
from enum import StrEnum
from typing import Final

from services.interop.domain.receipt import Fault
from services.interop.edge.hl7.header import Header

#: MSH-11 and MSH-12 are required: what they are in an answer to nobody.
_NOBODY: Final = Header(version="2.5.1", processing_id="P", charset="UNICODE UTF-8")
#: Characters of MSA-3, as the standard has it up to 2.6.
_SHORT: Final = 80
_CONTROL: Final = re.compile(r"[\x00-\x1f\x7f\x85\u2028\u2029]+")


class Outcome(StrEnum):
    """What became of a message, as far as its sender is concerned."""

    STORED = "stored"
    AGAIN = "again"  # not stored, by no fault of its own: to be sent again
    NEVER = "never"  # wrong, however often it is sent


class Code(StrEnum):
    """MSA-1, table 0008."""

    AA = "AA"
    AE = "AE"
    AR = "AR"
    CA = "CA"
    CE = "CE"
    CR = "CR"


#: Application acknowledgements, and the original mode's only ones.
APPLICATION: Final = {Outcome.STORED: Code.AA, Outcome.AGAIN: Code.AE, Outcome.NEVER: Code.AR}
#: Accept acknowledgements of the enhanced mode.
ACCEPT: Final = {Outcome.STORED: Code.CA, Outcome.AGAIN: Code.CE, Outcome.NEVER: Code.CR}

_ALL: Final = frozenset(Outcome)
#: Table 0155: on which outcomes MSH-15 or MSH-16 asks for an answer. An empty one asks for
#: none when the other is there.
CONDITIONS: Final = {
    "": frozenset[Outcome](),
    "AL": _ALL,
    "NE": frozenset[Outcome](),
    "ER": _ALL - {Outcome.STORED},
    "SU": frozenset({Outcome.STORED}),
}


def wanted(header: Header | None, outcome: Outcome) -> Code | None:
    """The code to answer with; None if the sender wants to hear nothing.

    Without MSH-15 and MSH-16 the original mode holds: always an application
    acknowledgement. In the enhanced mode MSH-15 decides on the accept acknowledgement. We
    know the application's word as soon as we accept, so whoever asks for that one only
    (MSH-16) gets it at once; whoever asks for both gets the accept acknowledgement. An
    unknown condition is taken as AL: an answer too many harms less than one too few.
    """
    if header is None:
        return APPLICATION[outcome]
    if not (header.accept_ack or header.application_ack):
        # An acknowledgement is never acknowledged, or two systems would do so for ever.
        return None if header.type == "ACK" else APPLICATION[outcome]
    if outcome in CONDITIONS.get(header.accept_ack, _ALL):
        return ACCEPT[outcome]
    if outcome in CONDITIONS.get(header.application_ack, _ALL):
        return APPLICATION[outcome]
    return None


def acknowledge(
    header: Header | None,
    code: Code,
    control_id: str,
    now: datetime,
    errors: Sequence[Fault] = (),
) -> bytes:
    """The acknowledgement (MSH, MSA, ERR), in the sender's version, separators and charset.

    ``control_id`` is the acknowledgement's own (MSH-10; at most 20 characters before 2.7),
    ``now`` aware, in the time zone that MSH-7 shall show.

    Without a header there is nothing to refer to. The standard requires MSA-2 and has no
    rule for this case; MSA-2 is left empty rather than invented, so that the answer can't be
    taken for one to another message.
    """
    to = header or _NOBODY
    segments = [_msh(to, control_id, now)]
    if to.since(2, 5):
        segments.append(_joined(to, "MSA", code.value, to.control_id))
        segments += [_err(to, code, error) for error in errors]
    else:
        text = _text(to, "; ".join(error.text for error in errors)[:_SHORT])
        segments.append(_joined(to, "MSA", code.value, to.control_id, text))
        if errors:
            segments.append(_old_err(to, errors))
    text = "".join(segment + "\r" for segment in segments)
    return text.encode(to.codec, errors="replace")


def _msh(to: Header, control_id: str, now: datetime) -> str:
    c = to.component
    fields = (
        to.encoding,
        to.receiving_application,
        to.receiving_facility,
        to.sending_application,
        to.sending_facility,
        to.escaped(now.strftime("%Y%m%d%H%M%S%z")),  # of a sender that separates by plus
        "",
        f"ACK{c}{to.trigger}{c}ACK" if to.trigger else "ACK",
        control_id,
        to.processing_id,
        to.version or to.escaped(_NOBODY.version),
        *[""] * 5,
        to.charset,
    )
    return _joined(to, "MSH", *fields)


def _err(to: Header, code: Code, error: Fault) -> str:
    """ERR of 2.5 and later, one for each error."""
    c = to.component
    field = str(error.field) if error.field else ""
    location = c.join((_text(to, error.segment), str(error.sequence), field)).rstrip(c)
    condition = c.join((_text(to, error.code), _meaning(error.code), "HL70357"))
    severity = "W" if code in (Code.AA, Code.CA) else "E"
    return _joined(to, "ERR", "", location, condition, severity, "", "", "", _text(to, error.text))


def _old_err(to: Header, errors: Sequence[Fault]) -> str:
    """ERR before 2.5: one segment, whose ERR-1 is repeated for each error."""
    c, s = to.component, to.subcomponent
    repeated = []
    for error in errors:
        field = str(error.field) if error.field else ""
        condition = s.join((_text(to, error.code), _meaning(error.code), "HL70357"))
        repeated.append(c.join((_text(to, error.segment), str(error.sequence), field, condition)))
    return _joined(to, "ERR", to.repetition.join(repeated))


def _joined(to: Header, *fields: str) -> str:
    return to.separator.join(fields).rstrip(to.separator)


def _text(to: Header, text: str) -> str:
    """``text`` with its separators escaped, on one line."""
    return to.escaped(_CONTROL.sub(" ", text))


#: Table 0357, HL7 2.8.
CONDITION_NAMES: Final = {
    "0": "Message accepted",
    "100": "Segment sequence error",
    "101": "Required field missing",
    "102": "Data type error",
    "103": "Table value not found",
    "104": "Value too long",
    "200": "Unsupported message type",
    "201": "Unsupported event code",
    "202": "Unsupported processing id",
    "203": "Unsupported version id",
    "204": "Unknown key identifier",
    "205": "Duplicate key identifier",
    "206": "Application record locked",
    "207": "Application internal error",
}


def _meaning(code: str) -> str:
    return CONDITION_NAMES.get(code, "")
