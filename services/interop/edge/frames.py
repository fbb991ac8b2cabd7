"""Where does one message end and the next begin? Pure: bytes in, whole messages out.

HL7's Minimal Lower Layer Protocol, Release 1: ``<VT> message <FS><CR>``. A message holds no
byte below 0x20 but CR, so an FS ends it for certain; whoever forgets the CR after it is
still understood, at once. It says nothing of an answer: that is the message's own affair.
"""

from __future__ import annotations

from enum import StrEnum
from typing import Final

VT: Final = b"\x0b"
FS: Final = b"\x1c"
CR: Final = b"\x0d"
LF: Final = b"\x0a"
#: A sender that broke off and began again on the same connection. A VT alone does not say
#: so: word processors write it as a line break, and it comes along in free text.
_AGAIN: Final = VT + b"MSH"


class Broken(StrEnum):
    """Why nothing more can be read from a stream."""

    FRAME_TOO_LARGE = "frame_too_large"
    TOO_MUCH_JUNK = "too_much_junk"


def framed(message: bytes) -> bytes:
    return b"".join((VT, message, FS, CR))


class Frames:
    """The frames of one stream. Holds at most ``limit`` bytes, the longest message allowed.

    ``junk_limit``: bytes between two frames that are skipped before the stream is taken for
    something else than MLLP. ``limit`` counts a frame's content without VT, FS and CR.
    """

    def __init__(self, limit: int, junk_limit: int = 64 * 1024) -> None:
        self._limit, self._junk_limit = limit, junk_limit
        self._content = bytearray()
        self._junk = 0  # since the last frame
        self._ended = False  # by the byte before: then CR and LF belong to its end
        self.open = False  # a frame has begun and not ended
        self.skipped = 0  # bytes of junk in all, with those of frames that were begun again
        self.broken: Broken | None = None

    @property
    def held(self) -> int:
        """Bytes of the unfinished frame."""
        return len(self._content)

    def feed(self, data: bytes) -> list[bytes]:
        """The messages that ``data`` completes, in order, without their framing.

        What comes after ``broken`` is ignored; the messages before it are whole.
        """
        whole: list[bytes] = []
        at = 0
        while at < len(data) and self.broken is None:
            at = self._within(data, at, whole) if self.open else self._between(data, at)
        return whole

    def _between(self, data: bytes, at: int) -> int:
        begin = data.find(VT, at)
        junk = data[at:] if begin < 0 else data[at:begin]
        if self._ended and junk:
            junk = junk.lstrip(CR + LF)
            self._ended = not junk
        self._junk += len(junk)
        self.skipped += len(junk)
        if self._junk > self._junk_limit:
            self.broken = Broken.TOO_MUCH_JUNK
        if begin < 0 or self.broken:
            return len(data)
        self.open = True
        return begin + 1

    def _within(self, data: bytes, at: int, whole: list[bytes]) -> int:
        end = data.find(FS, at)
        stop = len(data) if end < 0 else end
        if len(self._content) + stop - at > self._limit:
            self._content = bytearray()
            self.open, self.broken = False, Broken.FRAME_TOO_LARGE
            return len(data)
        self._content += data[at:stop]
        if end < 0:
            return stop
        again = self._content.rfind(_AGAIN)
        begin = 0 if again < 0 else again + 1
        self.skipped += begin
        whole.append(bytes(self._content[begin:] if begin else self._content))
        self._content = bytearray()
        self.open, self._ended, self._junk = False, True, 0
        return end + 1
