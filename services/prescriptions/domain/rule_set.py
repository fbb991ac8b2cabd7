"""What is checked clinically where the hospital connects no engine of its own?

The shape of ``policies/clinical/*.yaml``, a small dated set. It answers for the medicines that
it has entries for; of others it says that it did not check.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import date
from typing import Any, get_args
from zoneinfo import ZoneInfo

from pydantic import BaseModel, ConfigDict, Field, model_validator

from libs.common.dated import Dated
from services.prescriptions.domain.checks import (
    AlertId,
    CheckName,
    CheckVerdict,
    ClinicalCheck,
    Medicine,
)
from services.prescriptions.domain.facts import Severity
from services.prescriptions.domain.parameters import Language, Text
from services.prescriptions.domain.rules import is_of
from services.prescriptions.domain.substances import Combinations

#: What a text may name.
NAMES = ("medicine", "other", "daily", "limit")


class Part(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Entry(Part):
    """An alert that may be raised: how grave it is, what it says, and where that stands."""

    id: AlertId
    severity: Severity
    source: tuple[str, ...] = Field(min_length=1)
    text: Text

    @model_validator(mode="after")
    def _has_words(self) -> Entry:
        self.words(dict.fromkeys(NAMES, ""))
        return self

    def words(self, figures: Mapping[str, Any]) -> Text:
        return {lang: self.text[lang].format(**figures) for lang in get_args(Language)}

    def alert(
        self, check: CheckName, medicine: Medicine, about: str = "", **figures: Any
    ) -> ClinicalCheck:
        """The alert; ``about`` tells apart several of one entry."""
        named = {"medicine": medicine.name, **figures}
        return ClinicalCheck(
            id=f"{self.id}:{about}" if about else self.id,
            check=check,
            verdict=CheckVerdict.ALERT,
            severity=self.severity,
            text=self.words({**dict.fromkeys(NAMES, ""), **named}),
            source=self.source,
            figures=figures,
        )


class Ages(Part):
    from_age: int | None = None
    below_age: int | None = None

    def holds_for(self, age: int | None) -> bool | None:
        """Whether it is for this age; None: that can't be told."""
        if self.from_age is None and self.below_age is None:
            return True
        if age is None:
            return None
        return (self.from_age or 0) <= age and (self.below_age is None or age < self.below_age)

    def says_of(self, age: int, adult: int) -> bool:
        """Whether it says anything of somebody so old: what is for a child says nothing of
        adults, and what is for the old nothing of children."""
        return (self.below_age if age < adult else self.from_age) is not None


class Atc(Part):
    atc: tuple[str, ...] = Field(min_length=1)

    def covers(self, names: Iterable[str]) -> bool:
        return any(is_of(name, self.atc) for name in names)


class Pair(Part):
    a: tuple[str, ...] = Field(min_length=1)
    b: tuple[str, ...] = Field(min_length=1)

    def joins(self, one: Iterable[str], other: Iterable[str]) -> bool:
        """Whether a name of the one is of ``a``, and one of the other of ``b``."""
        return any(is_of(n, self.a) for n in one) and any(is_of(n, self.b) for n in other)


class Interaction(Entry, Pair):
    above_mg_a_day: float | None = Field(default=None, gt=0)


class Complete(Pair):
    """Classes of which the interactions say all: two of these that none of them names pass."""

    source: tuple[str, ...] = Field(min_length=1)


class Dose(Atc, Ages, Part):
    id: AlertId
    severity: Severity
    source: tuple[str, ...] = Field(min_length=1)
    mg_a_day: float = Field(gt=0)
    forms: tuple[str, ...] = ()

    def is_for(self, medicine: Medicine, age: int | None) -> bool | None:
        """Whether it is for this form and age; None: that can't be told."""
        form = (
            True if not self.forms
            else None if medicine.form is None
            else any(word in medicine.form.lower() for word in self.forms)
        )  # fmt: skip
        both = (form, self.holds_for(age))
        return False if False in both else None if None in both else True

    def says_enough(self, medicine: Medicine, age: int | None, adult: int) -> bool:
        """Whether a dose that is not above it passes: it is for this form and age. Without ages it
        is an adult's, which is too much for a child and doesn't say how much is not."""
        aged = self.from_age is not None or self.below_age is not None
        grown = age is not None and age >= adult
        return self.is_for(medicine, age) is True and (aged or grown)


class OfPatient(Entry, Atc, Ages):
    """What is against a medicine for some patients."""


class Pregnancy(Ages):
    icd10: tuple[str, ...] = Field(min_length=1)
    entries: tuple[OfPatient, ...]


class Duplicates(Part):
    ingredient: Entry
    atc_class: Entry


class RuleSet(Part):
    """One dated version."""

    version: str = Field(min_length=1, max_length=64)
    in_force_from: date
    #: Who is no child by the body, in completed years.
    adults_from_age: int = Field(ge=1)
    combinations: Combinations
    interactions: tuple[Interaction, ...]
    complete: tuple[Complete, ...]
    doses: tuple[Dose, ...]
    dose_text: Text
    pregnancy: Pregnancy
    ages: tuple[OfPatient, ...]
    duplicates: Duplicates
    allergy: Entry

    @model_validator(mode="after")
    def _each_once(self) -> RuleSet:
        ids = [e.id for e in (*self.interactions, *self.ages, *self.pregnancy.entries)]
        ids += [e.id for e in self.doses]
        if len(set(ids)) != len(ids):
            raise ValueError("every entry needs an id of its own")
        for dose in self.doses:
            self.too_much(dose)
        return self

    def too_much(self, dose: Dose) -> Entry:
        """The alert that ``dose`` is exceeded."""
        return Entry(id=dose.id, severity=dose.severity, source=dose.source, text=self.dose_text)


class RuleSets(Dated[RuleSet]):
    """All dated versions."""

    def __init__(self, files: Sequence[Mapping[str, Any]], zone: ZoneInfo) -> None:
        super().__init__([RuleSet.model_validate(f) for f in files], zone)
