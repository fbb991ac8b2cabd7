"""Which characters did the sender mean by an escape sequence (HL7 2.x, section 2.7)?"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Final

#: Layout within a text (``.sp+3`` and ``.in-2`` too, so the figures are cut off). What
#: starts a new line is one; the rest is of no use to a reader.
LAYOUT: Final[Mapping[str, str]] = {
    ".br": "\n",
    ".sp": "\n",
    ".ce": "\n",
    ".sk": " ",
    ".fi": "",
    ".nf": "",
    ".in": "",
    ".ti": "",
    "H": "",
    "N": "",
}


@dataclass(frozen=True, slots=True)
class Separators:
    """MSH-1 and MSH-2, and the codec of the message (for hexadecimal escapes)."""

    field: str = "|"
    component: str = "^"
    repetition: str = "~"
    escape: str = "\\"
    sub: str = "&"
    codec: str = "utf-8"

    def unescape(self, text: str) -> str:
        """``text`` with its escapes replaced; what is no escape stays as it stands."""
        if not self.escape or self.escape not in text:
            return text
        return _pattern(self.escape).sub(lambda m: self._meant(m[1], m[0]), text)

    def _meant(self, name: str, whole: str) -> str:
        plain = {
            "F": self.field,
            "S": self.component,
            "R": self.repetition,
            "E": self.escape,
            "T": self.sub,
            "P": "#",
        }
        if name in plain:
            return plain[name]
        layout = LAYOUT.get(name[:3].rstrip("+-0123456789"))
        if layout is not None:
            return layout
        if name[:1] == "X":
            return self._hexadecimal(name[1:], whole)
        return whole

    def _hexadecimal(self, digits: str, whole: str) -> str:
        try:
            return bytes.fromhex(digits).decode(self.codec, errors="replace")
        except ValueError:
            return whole


@lru_cache(maxsize=32)
def _pattern(escape: str) -> re.Pattern[str]:
    # Names are short, except for hexadecimal ones: a lone backslash must not eat a report.
    one = re.escape(escape)
    return re.compile(f"{one}(X[0-9A-Fa-f]*|[A-Za-z.][A-Za-z0-9.+-]{{0,15}}){one}")
