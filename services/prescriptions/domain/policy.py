"""By which dated rules is a renewal decided?

The shape of ``policies/renewal/*.yaml``. A figure or a list stands there and not in the
code, with its source beside it and the words in which people are told. The version in
force on the hospital's calendar day decides, and every decision records it. Who is an adult
on a day is the same for all services and comes from outside; so does what combinations hold.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, date, datetime, time, timedelta
from typing import Any, Generic, Literal, TypeVar, get_args
from zoneinfo import ZoneInfo

from pydantic import BaseModel, ConfigDict, Field, model_validator

from libs.common.dated import Dated
from services.prescriptions.domain.parameters import (
    Alerts,
    AtHome,
    Authority,
    Child,
    Codes,
    Contraindications,
    Deadlines,
    Declaration,
    Early,
    Language,
    Limit,
    LongSupply,
    Medicines,
    NeverClasses,
    Parameters,
    Practice,
    ReasonedSupply,
    Replacement,
    RestrictedList,
    StableCondition,
    Supply,
    Text,
    Validity,
    Window,
)
from services.prescriptions.domain.pharmacies import Pharmacies
from services.prescriptions.domain.substances import Combinations

Audience = Literal["patient", "staff"]

P = TypeVar("P", bound=Parameters)


class Rule(BaseModel, Generic[P]):
    """One rule: whose it is, where it stands, its figures, and its words for ``reason``."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    kind: Literal["law", "hospital_policy"]
    reason: str
    source: tuple[str, ...] = Field(min_length=1)
    parameters: P
    texts: Mapping[Audience, Text]

    @model_validator(mode="before")
    @classmethod
    def _no_parameters(cls, value: Any) -> Any:
        return {"parameters": {}, **value} if isinstance(value, dict) else value

    @model_validator(mode="after")
    def _has_words(self) -> Rule[P]:
        # A missing language or name fails at the start, not when a patient is refused.
        for audience in get_args(Audience):
            for language in get_args(Language):
                self.words(language, audience)
        return self

    def words(self, language: Language, audience: Audience = "patient") -> str:
        return self.texts[audience][language].format(**self.parameters.model_dump())


class Rules(BaseModel):
    """All rules by their ids; a file without one of them fails at the start."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    alive: Rule[Parameters]
    age_known: Rule[Parameters]
    authority: Rule[Authority]
    requester: Rule[Parameters]
    child: Rule[Child]
    this_hospital: Rule[Parameters]
    stable_regimen: Rule[AtHome]
    not_replaced: Rule[Parameters]
    never_classes: Rule[NeverClasses]
    restricted_list: Rule[RestrictedList]
    window: Rule[Window]
    one_at_a_time: Rule[Parameters]
    limit: Rule[Limit]
    not_too_early: Rule[Early]
    medicines_a_day: Rule[Medicines]
    supply: Rule[Supply]
    stable_condition: Rule[StableCondition]
    allergy: Rule[AtHome]
    clinical_checks: Rule[Contraindications]
    clinical_alerts: Rule[Alerts]
    declaration: Rule[Declaration]
    nothing_changed: Rule[Parameters]
    works_here: Rule[Parameters]
    separation_of_duties: Rule[Parameters]
    same_doctor: Rule[Parameters]
    practice: Rule[Practice]
    reasoned_supply: Rule[ReasonedSupply]
    long_supply: Rule[LongSupply]
    replacement: Rule[Replacement]
    validity: Rule[Validity]
    deadlines: Rule[Deadlines]


class RenewalPolicy(BaseModel):
    """One dated version of all rules, with the hospital's calendar."""

    model_config = ConfigDict(frozen=True, extra="forbid", arbitrary_types_allowed=True)

    version: str = Field(min_length=1, max_length=64)
    in_force_from: date
    rules: Rules
    #: Why a doctor or pharmacist may say no.
    answers: Codes
    #: The ids of the rules in the order of the file: of several refusals the first is told.
    order: tuple[str, ...]
    zone: ZoneInfo
    adult_age: Callable[[date], int]
    #: Which ATC codes are of several substances, at a moment.
    combinations: Callable[[datetime], Combinations]

    def day(self, at: datetime) -> date:
        """The hospital's calendar day at ``at``."""
        return at.astimezone(self.zone).date()

    def end_of(self, day: date) -> datetime:
        """The first moment after the hospital's ``day``."""
        return datetime.combine(day + timedelta(days=1), time(), self.zone).astimezone(UTC)

    def clock(self, at: datetime) -> str:
        """The hospital's day and time at ``at``, for people."""
        return at.astimezone(self.zone).strftime("%Y-%m-%d %H:%M")

    def rule(self, id: str) -> Rule[Any]:
        rule: Rule[Any] = getattr(self.rules, id)
        return rule

    def rule_of(self, reason: str) -> str | None:
        """The id of the rule that refuses for ``reason``, if a rule does."""
        return next((id for id in self.order if self.rule(id).reason == reason), None)

    def at_home(self, reason: str) -> bool:
        """Whether ``reason`` also concerns who has the medicine already."""
        id = self.rule_of(reason)
        parameters = self.rule(id).parameters if id is not None else None
        return isinstance(parameters, AtHome) and parameters.at_home

    def codes_of(self, answer: str) -> tuple[str, ...]:
        """The reasons that may be given for ``answer``, in the file's order."""
        return tuple(name for name, code in self.answers.codes.items() if answer in code.of)

    def words(self, reason: str, language: Language, audience: Audience = "patient") -> str | None:
        """What to tell people who are refused for ``reason``, if a rule stands behind it."""
        id = self.rule_of(reason)
        return None if id is None else self.rule(id).words(language, audience)


class RenewalPolicies(Dated[RenewalPolicy]):
    """All dated versions, and the pharmacies, which are as they are today."""

    def __init__(
        self,
        files: Sequence[Mapping[str, Any]],
        zone: ZoneInfo,
        adult_age: Callable[[date], int],
        pharmacies: Pharmacies | None = None,
        combinations: Callable[[datetime], Combinations] = lambda _: Combinations(),
    ) -> None:
        self.pharmacies = pharmacies or Pharmacies()
        more = {"zone": zone, "adult_age": adult_age, "combinations": combinations}
        versions = [
            RenewalPolicy.model_validate({**f, **more, "order": tuple(f["rules"])}) for f in files
        ]
        super().__init__(versions, zone)

    def version(self, name: str) -> RenewalPolicy | None:
        return next((v for v in self.versions if v.version == name), None)
