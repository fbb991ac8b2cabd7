"""In which character set did the sender write?

The whole message is decoded before it is split: in GB18030 the second byte of a character
may be that of ``|``, ``^``, ``\\`` or ``~``. CR and LF never are, so the MSH line can be
found in the bytes and asked for MSH-18.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Final

from services.interop.edge.hl7.refused import ErrorCode, Refused

UTF8: Final = "utf-8"
GB: Final = "gb18030"
LATIN: Final = "iso-8859-1"

#: HL7 table 0211 and what senders write instead, in upper case without blanks and hyphens.
CODECS: Final[Mapping[str, str]] = {
    "UNICODEUTF8": UTF8,
    "UTF8": UTF8,
    "UNICODE": UTF8,
    "GB18030": GB,
    "GB180302000": GB,
    "GB180302005": GB,
    "GB180302022": GB,
    "GBK": GB,
    "GB2312": GB,
    "8859/1": LATIN,
    "ISO88591": LATIN,
    "8859/15": "iso-8859-15",
    # What calls itself ASCII and is not is read as if nothing had been said.
    "ASCII": "ascii",
    "ISOIR6": "ascii",
}
_NOT_ASCII: Final = re.compile(rb"[\x80-\xff]+")
#: The order of trial. UTF-8 first: by chance alone nothing else is valid UTF-8.
TRIED: Final = (UTF8, GB)


def decode(raw: bytes) -> tuple[str, str, str | None]:
    """The text, the codec that read it, and what was odd about it, if anything was."""
    if raw.startswith((b"\xff\xfe", b"\xfe\xff")):
        raise Refused("MSH", 1, 18, ErrorCode.DATA_TYPE, "UTF-16 cannot travel over MLLP")
    raw = raw.removeprefix(b"\xef\xbb\xbf").strip(b"\x0b\x1c\r\n\t \x00")
    declared = _declared(raw.replace(b"\n", b"\r").split(b"\r", 1)[0])
    codec = CODECS.get(_plain(declared))
    if codec is not None:
        text = _read(raw, codec)
        if text is not None:
            return text, codec, None
    if not declared and _is_gb_by_chance_utf8(raw):
        return raw.decode(GB), GB, "no character set declared: both UTF-8 and GB18030, read as this"
    for tried in TRIED:
        text = _read(raw, tried)
        if text is not None:
            wrong = bool(declared) and not raw.isascii()
            return text, tried, f"not in the declared character set: {tried}" if wrong else None
    return raw.decode(LATIN), LATIN, "neither UTF-8 nor GB18030: read as ISO-8859-1"


def _is_gb_by_chance_utf8(raw: bytes) -> bool:
    """Whether ``raw`` is valid as both, and more likely GB18030.

    One Chinese name of two characters in fifty is also two letters in UTF-8 (路隆 is ·¡).
    Chinese in UTF-8 has characters above U+07FF; other scripts' letters, read as GB 2312, are
    no common characters, or single ones (é is 茅).
    """
    if raw.isascii():
        return False
    text = _read(raw, UTF8)
    if text is None or max(text) > "\u07ff" or _read(raw, "gb2312") is None:
        return False
    return all(len(run) >= 4 for run in _NOT_ASCII.findall(raw))


def _declared(line: bytes) -> str:
    """MSH-18, by the first codec that agrees with what it reads there."""
    found = ""
    for codec in (*TRIED, LATIN):
        text = _read(line, codec)
        if text is None or len(text) < 8:
            continue
        fields = text.split(text[3])
        # A repetition names further sets, for escapes that we do not read.
        name = fields[17].split(text[5])[0].strip() if len(fields) > 17 else ""
        if CODECS.get(_plain(name)) == codec:
            return name
        found = found or name
    return found


def _plain(name: str) -> str:
    return name.upper().replace("-", "").replace(" ", "").replace("_", "")[:32]


def _read(raw: bytes, codec: str) -> str | None:
    try:
        return raw.decode(codec)
    except UnicodeDecodeError:
        return None
