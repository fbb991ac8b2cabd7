"""What was checked clinically, by which engine, and what did it find?

The arithmetic is elsewhere and so is the knowledge: a check is made before a command is
decided, of the facts that the rule names, and the rule then takes it only if these are still
the facts. No answer is *not checked*; it is shown, and it is never a yes.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import datetime
from enum import StrEnum
from typing import Annotated, Any

from pydantic import BaseModel, Field, StringConstraints

from libs.common.events import Quantity, Sensitive
from services.prescriptions.domain.facts import Alert, Severity, Value

#: What an engine calls one alert; the same finding has the same id each time.
AlertId = Annotated[str, StringConstraints(max_length=128, pattern=r"^[A-Za-z0-9][^\s|/]*$")]


class CheckName(StrEnum):
    """What is looked for (医疗机构处方审核规范 2018 asks a review for these, among others)."""

    ALLERGY = "allergy"
    DUPLICATE = "duplicate"
    INTERACTION = "interaction"
    DOSE = "dose"
    PREGNANCY = "pregnancy"
    AGE = "age"


class CheckVerdict(StrEnum):
    PASSED = "passed"
    ALERT = "alert"
    NOT_CHECKED = "not_checked"


class NotChecked(StrEnum):
    """Why something was not checked."""

    UNAVAILABLE = "unavailable"  # the engine gave no answer in time
    UNREADABLE = "unreadable"  # its answer is not the one agreed on
    NOT_ANSWERED = "not_answered"  # it said nothing of this check
    UNKNOWN = "unknown"  # what it would look at is not known
    NOT_COVERED = "not_covered"  # it has no rule for the medicine, or for it with another
    CHANGED = "changed"  # what was checked is no longer so


class ClinicalCheck(Value):
    """One finding: an alert, or that a check passed or was not made."""

    id: str
    check: CheckName
    verdict: CheckVerdict
    severity: Severity | None = None  # of an alert
    text: Sensitive[Mapping[str, str]] = Field(default_factory=dict)  # by language
    source: tuple[str, ...] = ()
    figures: Sensitive[Mapping[str, Any]] = Field(default_factory=dict)
    why: NotChecked | None = None


class ClinicalChecks(Value):
    """What one engine found at one moment; each kind of check has one finding at least."""

    id: str
    engine: str
    version: str
    at: datetime
    checks: tuple[ClinicalCheck, ...]

    def alerts(self) -> tuple[Alert, ...]:
        return tuple(
            Alert(id=c.id, severity=c.severity) for c in self.checks if c.severity is not None
        )

    def unchecked(self) -> tuple[CheckName, ...]:
        found = (c.check for c in self.checks if c.verdict is CheckVerdict.NOT_CHECKED)
        return tuple(dict.fromkeys(found))

    def says_the_same_as(self, other: ClinicalChecks | None) -> bool:
        return other is not None and (self.engine, self.version, self.checks) == (
            other.engine,
            other.version,
            other.checks,
        )


class Acknowledgement(Value):
    """That a doctor or pharmacist goes on in spite of an alert, and why."""

    alert: str
    reason: Sensitive[str]


def not_checked(check: CheckName, why: NotChecked, **figures: Any) -> ClinicalCheck:
    return ClinicalCheck(
        id=check, check=check, verdict=CheckVerdict.NOT_CHECKED, why=why, figures=figures
    )


def passed(check: CheckName, **figures: Any) -> ClinicalCheck:
    return ClinicalCheck(id=check, check=check, verdict=CheckVerdict.PASSED, figures=figures)


def complete(found: Iterable[ClinicalCheck]) -> tuple[ClinicalCheck, ...]:
    """``found``, the gravest first, with a *not checked* for each kind that nobody answered."""
    known = tuple(found)
    answered = {c.check for c in known}
    missing = (not_checked(k, NotChecked.NOT_ANSWERED) for k in CheckName if k not in answered)
    grave = [*Severity, None]
    verdicts = [CheckVerdict.ALERT, CheckVerdict.NOT_CHECKED, CheckVerdict.PASSED]
    return tuple(
        sorted(
            (*known, *missing),
            key=lambda c: (verdicts.index(c.verdict), grave.index(c.severity), c.check, c.id),
        )
    )


def nothing_checked(id: str, engine: str, at: datetime, why: NotChecked) -> ClinicalChecks:
    checks = tuple(not_checked(kind, why) for kind in CheckName)
    return ClinicalChecks(id=id, engine=engine, version="", at=at, checks=checks)


# -- what is asked --------------------------------------------------------------------------


class Medicine(Value):
    """A medicine as it was prescribed."""

    code: str
    name: str
    ingredient_code: str
    form: str | None = None
    strength: str | None = None
    dosage: str
    quantity: Quantity | None = None
    days_supply: int | None = None


class Current(Medicine):
    """Another medicine that the patient counts as taking."""

    since: datetime
    #: Whether it is known for how long it lasts; what nobody told counts as taken.
    supply_known: bool


class KnownAllergy(Value):
    code: str | None
    system: str | None
    text: str


class Question(Value):
    """All that an engine is told: no name, no birth date, no address."""

    patient_id: str
    sex: str | None
    age: int | None = Field(description="Completed years.")
    conditions: tuple[str, ...] = Field(description="ICD-10 codes, present ones.")
    allergies: tuple[KnownAllergy, ...] | None = Field(description="None: none was ever told.")
    order: Medicine
    current: tuple[Current, ...]


class Checked(Value):
    """A question and what was found."""

    question: Question
    checks: ClinicalChecks


#: Why somebody goes on in spite of each alert, by its id.
Reasons = Sensitive[
    Annotated[
        Mapping[AlertId, Annotated[str, StringConstraints(min_length=1, max_length=1000)]],
        Field(
            max_length=64,
            description="Alerts in spite of which this is done, by their ids, each with why.",
        ),
    ]
]


class Checks(BaseModel):
    """What a command carries whose step has to be checked. Never read from a client."""

    checked: Checked | None = None
