"""How do other systems' identifiers, codes and texts become ours?

Without the place where they stand: who knows it turns ``None`` into a refusal.
"""

from __future__ import annotations

import re
from datetime import date
from typing import Final

_SHORT: Final = re.compile(r"[A-Za-z0-9._-]{1,8}", re.ASCII)
_NOT_IN_ID: Final = re.compile(r"[^A-Za-z0-9._:@-]")
#: Of an id made of parts: what joins them stands in none of them.
_NOT_IN_PART: Final = re.compile(r"[^A-Za-z0-9._-]")
_NOT_IN_CODE: Final = re.compile(r"[\s/|~]")
_IDENTITY: Final = re.compile(r"\d{6}(\d{4})(\d{2})(\d{2})\d{3}[\dXx]", re.ASCII)
#: The number of a renewal's prescription (``decision.derived_id``).
_OURS: Final = re.compile(
    r"[0-9a-f]{8}-[0-9a-f]{4}-5[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}", re.ASCII
)
#: ICD-10 with national extensions: I63.9, I63.900x001, M80.9900/3.
_ICD10: Final = re.compile(r"[A-Z]\d[0-9A-Z](\.?[0-9A-Za-z+*]{0,12})?", re.ASCII)


def as_id(text: str) -> str | None:
    """``text`` as an id of the platform: what may not stand there becomes ``~`` and its
    bytes in hexadecimal, so that two never become one. ``None`` if it is empty or too long."""
    return checked_id(id_text(text))


def id_text(text: str) -> str:
    return _escaped(_NOT_IN_ID, text)


def id_part(text: str) -> str:
    return _escaped(_NOT_IN_PART, text)


def checked_id(found: str) -> str | None:
    if found[:1] and not found[0].isalnum():
        found = f"0~~{found}"
    return found if 0 < len(found) <= 128 else None


def as_code(text: str) -> str | None:
    """``text`` as a code, by the same rule."""
    found = _escaped(_NOT_IN_CODE, text)
    return found if 0 < len(found) <= 64 else None


def as_icd10(text: str) -> str | None:
    """``text`` as a code of ICD-10, if it looks like one."""
    return text[:1].upper() + text[1:] if _ICD10.fullmatch(text.upper()) else None


def as_ours(text: str) -> str | None:
    """``text`` as a number that we have given, if it looks like one."""
    return text.lower() if _OURS.fullmatch(text.lower()) else None


def _escaped(unwanted: re.Pattern[str], text: str) -> str:
    # Longer than any id or code may be, in any case: no need to escape all of it.
    return unwanted.sub(lambda m: _hex(m[0]), text[:129])


def _hex(char: str) -> str:
    return "".join(f"~{byte:02x}" for byte in char.encode("utf-8", errors="replace"))


def line(text: str | None, limit: int = 256) -> str | None:
    """A text that fits on a line, shortened visibly."""
    if text is None:
        return None
    one = " ".join(text.split())
    return (one if len(one) <= limit else f"{one[: limit - 1]}…") or None


def shown(code: str) -> str:
    """``code`` if it looks like one: what stands in its place may be a name or a finding."""
    return code if _SHORT.fullmatch(code) else "(not shown)"


def is_identity_number(text: str) -> bool:
    """18 characters as on an identity card (GB 11643), whatever type the sender gives them:
    right in the check digit or with a day of birth in their place."""
    found = _IDENTITY.fullmatch(re.sub(r"[\s-]", "", text[:40]))
    if found is None:
        return False
    digits = [10 if char in "Xx" else int(char) for char in found[0]]
    if sum(d * pow(2, 17 - n, 11) for n, d in enumerate(digits)) % 11 == 1:
        return True
    year, month, day = int(found[1]), int(found[2]), int(found[3])
    try:
        return date(year, month, day).year in range(1850, 2100)
    except ValueError:
        return False
