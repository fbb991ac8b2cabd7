"""How does a message go wrong? By segments, fields and separators rather than by bytes.

Bytes changed at random mostly give what is no message at all. These are messages that a
sender might write on a bad day: fields moved, missing, far too long, of another type.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Callable, Iterable
from random import Random

#: What has confused readers of HL7 before, as Latin-1 of whatever bytes.
# fmt: off
VALUES = [text.encode().decode("latin-1") for text in (
    "", '""', "0", "-1", "+5", "1e400", "NaN", "99999999999999999999", "٣", "１２", "1_000", "0x10",
    "20261120", "202611", "2026", "20260230", "20261120093000", "20261120093000.1234+0800",
    "99991231235959-1400", "00010101", "2026112009300060", "20261120250000", "20261120+9999",
    "F", "C", "P", "X", "W", "D", "R", "A", "U", "Y", "N", "M", "NW", "DC", "CA", "RP", "XO",
    "HH", "LL",
    "NM", "ST", "TX", "FT", "CE", "CWE", "ED", "RP", "SN", "DT", "TS", "^^Base64^JVBERi0xLjQK",
    "^>^5",
    "100^^^EMPI^MR", "100^^^EMPI&1.2.3&ISO^MR~200^^^X^PI", "^^^^MR", "a~b~c", "a^b&c^d", "~~~",
    "^^^", "&&",
    "\\F\\", "\\.br\\", "\\X00\\", "\\X0D\\", "\\XFF\\", "\\X1C0D\\", "\\E", "\\", "\\C2842\\",
    "\\Zx\\",
    "\x00", "\x0b", "\x07", "\ufeff", "\u200b", "\u2028", "\x85", "\xa0", "样例^甲", "𝔘", "é" * 3,
    "长" * 300,
    "x" * 5_000, "UNICODE UTF-8", "GB18030", "8859/1", "ASCII", "UNICODE", "8859/15", "ISO IR87",
    "2.1", "2.3", "2.5.1", "2.8", "2.x", "AL", "NE", "ER", "SU", "T", "ADT^A01", "ADT^A40",
    "ORU^R01", "RDE^O11",
    "ORM^O01", "OMG^O19", "SIU^S12", "SIU^S15", "MDM^T02", "ADT^A13", "ADT^A03", "ADT^A28", "ACK",
    "ACK^A01",
)]
# fmt: on
VALUES += ["\xff\xfe", "\xb2\xe2\xca\xd4", "\xed\xa0\x80", "\xc2\xb7\xc2\xa1", "\x81\x30\x81\x30"]
SEPARATORS = "|^~\\&#@!$%*+-/:;<=>?_`,. 1aA\t\"'"


class Pool:
    """Segments and fields of real messages, from which a mutation may take."""

    def __init__(self, messages: Iterable[bytes]) -> None:
        self.segments: list[str] = []
        self.fields: dict[tuple[str, int], list[str]] = defaultdict(list)
        for message in messages:
            for line in re.split("[\r\n]+", message.decode("latin-1")):
                self.segments.append(line)
                for n, field in enumerate(line.split("|")):
                    self.fields[line[:3], n].append(field)


def mutated(data: bytes, random: Random, pool: Pool) -> bytes:
    """``data`` with one to four changes to its structure."""
    text = data.decode("latin-1")
    for _ in range(random.choice((1, 1, 2, 4))):
        lines = text.split("\r")
        text = random.choice(_CHANGES)(lines, random, pool)
    return text.encode("latin-1", errors="replace")


Change = Callable[[list[str], Random, Pool], str]


def _delete(lines: list[str], random: Random, _pool: Pool) -> str:
    del lines[random.randrange(len(lines))]
    return "\r".join(lines)


def _repeat(lines: list[str], random: Random, _pool: Pool) -> str:
    line = random.choice(lines)
    at = random.randrange(len(lines) + 1)
    lines[at:at] = [line] * random.choice((1, 1, 1, 40))
    return "\r".join(lines)


def _move(lines: list[str], random: Random, _pool: Pool) -> str:
    line = lines.pop(random.randrange(len(lines)))
    lines.insert(random.randrange(len(lines) + 1), line)
    return "\r".join(lines)


def _insert(lines: list[str], random: Random, pool: Pool) -> str:
    lines.insert(random.randrange(len(lines) + 1), random.choice(pool.segments))
    return "\r".join(lines)


def _set_field(lines: list[str], random: Random, pool: Pool) -> str:
    at = random.randrange(len(lines))
    separator = lines[0][3:4] or "|"
    fields = lines[at].split(separator)
    n = random.randrange(1, len(fields) + 3)
    known = pool.fields.get((lines[at][:3], n))
    fields += [""] * (n + 1 - len(fields))
    fields[n] = random.choice(known if known and random.random() < 0.5 else VALUES)
    lines[at] = separator.join(fields)
    return "\r".join(lines)


def _set_part(lines: list[str], random: Random, _pool: Pool) -> str:
    """A component, repetition or sub-component of a field."""
    at = random.randrange(len(lines))
    field, splitter = lines[0][3:4] or "|", random.choice(lines[0][4:8] or "^")
    fields = lines[at].split(field)
    n = random.randrange(len(fields))
    parts = fields[n].split(splitter)
    parts[random.randrange(len(parts))] = random.choice(VALUES)
    if random.random() < 0.3:
        parts.insert(random.randrange(len(parts) + 1), random.choice(VALUES))
    fields[n] = splitter.join(parts)
    lines[at] = field.join(fields)
    return "\r".join(lines)


def _put_anywhere(lines: list[str], random: Random, _pool: Pool) -> str:
    text = "\r".join(lines)
    at = random.randrange(len(text) + 1)
    return text[:at] + random.choice(VALUES) + text[at + random.choice((0, 0, 1, 9)) :]


def _other_separator(lines: list[str], random: Random, _pool: Pool) -> str:
    """Everywhere, as such a sender would; or in MSH alone, as none should."""
    old, new = random.choice(lines[0][3:8] or "|"), random.choice(SEPARATORS)
    if random.random() < 0.3:
        lines[0] = lines[0].replace(old, new, 1)
        return "\r".join(lines)
    return "\r".join(lines).replace(old, new)


def _other_lines(lines: list[str], random: Random, _pool: Pool) -> str:
    return random.choice(("\n", "\r\n", "\r\r", "\x85", "\x0b")).join(lines)


def _cut(lines: list[str], random: Random, _pool: Pool) -> str:
    text = "\r".join(lines)
    return text[: random.randrange(len(text) + 1)]


_CHANGES: list[Change] = [
    *[_set_field] * 6,
    *[_set_part] * 5,
    *[_insert] * 2,
    *[_put_anywhere] * 2,
    _delete,
    _repeat,
    _move,
    _other_separator,
    _other_lines,
    _cut,
]
