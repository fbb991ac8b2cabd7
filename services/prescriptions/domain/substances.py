"""Of which active substances is a medicine, as far as its ATC code tells?

The code of a combination stands below none of theirs: C09DB01 holds valsartan (C09CA03) and
amlodipine (C08CA01). ``policies/clinical`` lists which codes are combinations, and of many what
they hold; with the others nothing can be compared.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

from pydantic import BaseModel, ConfigDict, Field, model_validator

#: A whole code, and also a beginning of one, which is a class.
_ATC = re.compile(r"[A-Z]\d\d[A-Z]{2}\d\d")
_CLASS = re.compile(r"[A-Z](\d\d([A-Z]([A-Z](\d\d)?)?)?)?")
#: Characters of an ATC code that name its class, the 4th level: C08CA.
LEVEL = 5


def is_atc(code: str) -> bool:
    return _ATC.fullmatch(code.upper()) is not None


class Combinations(BaseModel):
    """Which ATC codes are of several substances. By default any may be: nobody told."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    source: tuple[str, ...] = ()
    classes: tuple[str, ...] = Field(default=("",), min_length=1)
    #: What one holds; a substance without a code of its own stands as the combination's.
    holds: Mapping[str, tuple[str, ...]] = {}

    @model_validator(mode="after")
    def _of_single_ones(self) -> Combinations:
        if self.holds and not self.source:
            raise ValueError("what combinations hold needs a source")
        for code, held in self.holds.items():
            single = (is_atc(s) and not s.startswith(self.classes) for s in held if s != code)
            if not (is_atc(code) and code.startswith(self.classes) and len(held) > 1):
                raise ValueError(f"{code} is no code of several substances below classes")
            if not all(single):
                raise ValueError(f"{code} holds what is no code of a single substance")
        return self

    def of(self, code: str) -> frozenset[str] | None:
        """The substances of a medicine, or those of a class, as the class; None: not known."""
        code = code.upper()
        if code in self.holds:
            return frozenset(self.holds[code])
        known = _CLASS.fullmatch(code) is not None and not code.startswith(self.classes)
        return frozenset({code}) if known else None

    def names(self, code: str) -> frozenset[str]:
        """Its own code and those of its substances, as far as these are known."""
        return frozenset({code.upper()}) | (self.of(code) or frozenset())

    def alike(self, one: str, other: str) -> bool:
        """Whether both are, or hold something, of one class of the 4th level."""
        first, second = (
            {n[:LEVEL] for n in self.names(c) if len(n) >= LEVEL} for c in (one, other)
        )
        return not first.isdisjoint(second)

    def is_against(self, allergy: str, code: str) -> bool | None:
        """Whether an allergy to ``allergy``, a substance, combination or class, is one to the
        medicine ``code``. None: that can't be told, as where only a part of what somebody is
        allergic to is in it."""
        allergy, code = allergy.upper(), code.upper()
        if not (_CLASS.fullmatch(code) and _CLASS.fullmatch(allergy)):
            return None
        if code.startswith(allergy) or allergy.startswith(code):
            return True
        held, to = self.of(code), self.of(allergy)
        if held is None or to is None or not is_atc(code):
            return None
        shared = [any(h.startswith(t) for h in held) for t in to]
        return True if all(shared) else None if any(shared) else False
