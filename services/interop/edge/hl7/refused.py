"""Why is a message not taken, and in which field of which segment does it say so?

The one exception of this package: the caller turns it into an acknowledgement's ERR segment.
Its text quotes codes at most, never a name, a date or a finding: it goes into logs.
"""

from __future__ import annotations

from enum import IntEnum


class ErrorCode(IntEnum):
    """HL7 table 0357, as far as we say it."""

    SEGMENT_SEQUENCE = 100
    REQUIRED_FIELD_MISSING = 101
    DATA_TYPE = 102
    TABLE_VALUE_NOT_FOUND = 103
    UNSUPPORTED_MESSAGE_TYPE = 200
    UNSUPPORTED_EVENT = 201
    UNKNOWN_KEY = 204
    INTERNAL = 207


class Refused(Exception):
    """The message as a whole is refused; ``field`` 0 means the segment itself."""

    def __init__(self, segment: str, sequence: int, field: int, code: ErrorCode, text: str) -> None:
        place = f"{segment}-{field}" if field else segment
        super().__init__(f"{place} ({sequence}): {text}")
        self.segment = segment
        self.sequence = sequence
        self.field = field
        self.code = code
        self.text = text
