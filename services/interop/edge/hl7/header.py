"""Who sends what to whom, even if the rest of a message can't be read?

Lenient: only the first segment counts, and only that it is an MSH with a separator.
"""

from __future__ import annotations

import re
from typing import Final, NamedTuple

from services.interop.edge.hl7 import charset
from services.interop.edge.hl7.refused import Refused

#: Bytes of the first segment that are looked at; real ones have some hundred.
_LONGEST: Final = 16 * 1024
_BLANK: Final = b"\xef\xbb\xbf\r\n\t \x00"
_END: Final = re.compile(rb"[\r\n]")
_CONTROL: Final = re.compile(r"[\x00-\x1f\x7f]")
_DEFAULT: Final = "^~\\&"
_FIELDS: Final = {
    "sending_application": 3,
    "sending_facility": 4,
    "receiving_application": 5,
    "receiving_facility": 6,
    "time": 7,
    "message_type": 9,
    "control_id": 10,
    "processing_id": 11,
    "version": 12,
    "accept_ack": 15,
    "application_ack": 16,
    "charset": 18,
}


class Header(NamedTuple):
    """The fields of an MSH as they came, still escaped; empty if absent.

    ``codec`` is Python's, and what the header was read with: for ``charset`` (MSH-18) unless
    that is unknown or wrong.
    """

    separator: str = "|"
    encoding: str = _DEFAULT
    sending_application: str = ""
    sending_facility: str = ""
    receiving_application: str = ""
    receiving_facility: str = ""
    time: str = ""
    message_type: str = ""
    control_id: str = ""
    processing_id: str = ""
    version: str = ""
    accept_ack: str = ""
    application_ack: str = ""
    charset: str = ""
    codec: str = "utf-8"

    @property
    def component(self) -> str:
        return self.encoding[0]

    @property
    def repetition(self) -> str:
        return self.encoding[1]

    @property
    def escape(self) -> str:
        return self.encoding[2]

    @property
    def subcomponent(self) -> str:
        return self.encoding[3]

    @property
    def type(self) -> str:
        """MSH-9.1: ``ADT``."""
        return self._part(self.message_type, 0)

    @property
    def trigger(self) -> str:
        """MSH-9.2: ``A01``."""
        return self._part(self.message_type, 1)

    def since(self, *version: int) -> bool:
        """Whether the message is of ``version`` or a later one; so is one that doesn't say."""
        digits = re.findall(r"\d+", self._part(self.version, 0))
        return not digits or tuple(int(d[:4]) for d in digits) >= version

    def escaped(self, text: str) -> str:
        """``text`` as it may stand in a field of this message."""
        letters = zip(self.separator + self.encoding[:5], "FSRETP", strict=False)
        table = {ord(char): f"{self.escape}{letter}{self.escape}" for char, letter in letters}
        return text.translate(table)

    def _part(self, field: str, number: int) -> str:
        parts = field.split(self.repetition)[0].split(self.component)
        return parts[number].strip() if number < len(parts) else ""


def read_header(raw: bytes) -> Header | None:
    """The header of a message; None if it begins with no readable MSH."""
    segment = _END.split(raw[: 2 * _LONGEST].lstrip(_BLANK)[:_LONGEST], maxsplit=1)[0]
    try:
        text, codec, _ = charset.decode(segment)
    except Refused:
        return None
    text = _CONTROL.sub("", text)  # they would come back in the answer, where VT begins a frame
    separator = text[3:4]
    if not text.startswith("MSH") or not _separates(separator) or separator in _DEFAULT:
        return None
    encoding, *rest = text.split(separator, 18)[1:]
    encoding = encoding.strip()[:5]
    encoding += _DEFAULT[len(encoding) :]
    if len(set(encoding[:4] + separator)) < 5 or not all(map(_separates, encoding)):
        encoding = _DEFAULT
    msh = dict(enumerate(rest, 3))
    fields = {name: msh.get(number, "").strip() for name, number in _FIELDS.items()}
    if fields["control_id"]:
        fields["control_id"] = msh[10]  # compared by its sender, so given back to the blank
    for condition in ("accept_ack", "application_ack"):
        fields[condition] = fields[condition].upper()
    return Header(separator, encoding, **fields, codec=codec)


def _separates(char: str) -> bool:
    return len(char) == 1 and char.isprintable() and not char.isalnum() and char != " "
