"""By which dated rules is a renewal decided?

The shape of ``policies/renewal/*.yaml``. A figure or a list stands there and not in the
code, with its source beside it and the words in which people are told. The version in
force on the hospital's calendar day decides, and every decision records it. Who is an adult
on a day is the same for all services and comes from outside.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, date, datetime, time, timedelta
from typing import Any, Generic, Literal, TypeVar, get_args
from zoneinfo import ZoneInfo

from pydantic import BaseModel, ConfigDict, Field, model_validator

from libs.common.events import LinkScope, VisitClass

Language = Literal["zh-CN", "en"]

#: An account keeps this many renewals, the newest; no limit may be above it.
RENEWALS_KEPT = 64


class Parameters(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Authority(Parameters):
    scopes: frozenset[LinkScope] = Field(min_length=1, description="Links that suffice.")


class Window(Parameters):
    days: int = Field(ge=1, le=366, description="Calendar days since it was prescribed.")


class AtcClass(Parameters):
    atc: tuple[str, ...] = Field(min_length=1, description="ATC codes or beginnings of them.")


class NeverClasses(Parameters):
    classes: Mapping[str, AtcClass]


class RestrictedList(Parameters):
    atc: tuple[str, ...] = Field(min_length=1, description="ATC codes or beginnings of them.")


class Limit(Parameters):
    renewals: int = Field(ge=1, le=RENEWALS_KEPT, description="Since the last visit in person.")
    visit_classes: frozenset[VisitClass] = Field(min_length=1, description="What is in person.")


class Deadlines(Parameters):
    doctor_hours: int = Field(ge=1)
    pharmacist_hours: int = Field(ge=1)
    told_hours: int = Field(ge=1, description="How long a notification is worth sending.")


class Validity(Parameters):
    usual_days: int = Field(ge=1, le=3, description="1: valid on the day.")
    maximum_days: int = Field(ge=1, le=3, description="What a doctor may extend it to.")


P = TypeVar("P", bound=Parameters)


class Rule(BaseModel, Generic[P]):
    """One rule: whose it is, where it stands, its figures, and its words for ``reason``."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    kind: Literal["law", "hospital_policy"]
    reason: str
    source: tuple[str, ...] = Field(min_length=1)
    parameters: P
    texts: Mapping[Language, str]

    @model_validator(mode="before")
    @classmethod
    def _no_parameters(cls, value: Any) -> Any:
        return {"parameters": {}, **value} if isinstance(value, dict) else value

    @model_validator(mode="after")
    def _has_words(self) -> Rule[P]:
        # A missing language or name fails at the start, not when a patient is refused.
        for language in get_args(Language):
            self.words(language)
        return self

    def words(self, language: Language) -> str:
        return self.texts[language].format(**self.parameters.model_dump())


class Rules(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")

    authority: Rule[Authority]
    this_hospital: Rule[Parameters]
    stable_regimen: Rule[Parameters]
    window: Rule[Window]
    never_classes: Rule[NeverClasses]
    restricted_list: Rule[RestrictedList]
    one_at_a_time: Rule[Parameters]
    limit: Rule[Limit]
    separation_of_duties: Rule[Parameters]
    same_doctor: Rule[Parameters]
    deadlines: Rule[Deadlines]
    validity: Rule[Validity]


class RenewalPolicy(BaseModel):
    """One dated version of all rules, with the hospital's calendar."""

    model_config = ConfigDict(frozen=True, extra="forbid", arbitrary_types_allowed=True)

    version: str = Field(min_length=1, max_length=64)
    in_force_from: date
    rules: Rules
    zone: ZoneInfo
    adult_age: Callable[[date], int]

    def day(self, at: datetime) -> date:
        """The hospital's calendar day at ``at``."""
        return at.astimezone(self.zone).date()

    def end_of(self, day: date) -> datetime:
        """The first moment after the hospital's ``day``."""
        return datetime.combine(day + timedelta(days=1), time(), self.zone).astimezone(UTC)

    def words(self, reason: str, language: Language) -> str | None:
        """What to tell people who are refused for ``reason``, if a rule stands behind it."""
        for name in Rules.model_fields:
            rule: Rule[Parameters] = getattr(self.rules, name)
            if rule.reason == reason:
                return rule.words(language)
        return None


class RenewalPolicies:
    """All dated versions."""

    def __init__(
        self,
        files: Sequence[Mapping[str, Any]],
        zone: ZoneInfo,
        adult_age: Callable[[date], int],
    ) -> None:
        more = {"zone": zone, "adult_age": adult_age}
        versions = [RenewalPolicy.model_validate({**f, **more}) for f in files]
        self.versions = sorted(versions, key=lambda v: v.in_force_from)
        for distinct in ({v.in_force_from for v in versions}, {v.version for v in versions}):
            if not versions or len(distinct) != len(versions):
                raise ValueError("every policy needs a version and a day of its own")

    def at(self, now: datetime) -> RenewalPolicy:
        """The version in force at ``now``; before the first one's day, the first."""
        in_force = self.versions[0]
        for version in self.versions:
            if version.in_force_from <= version.day(now):
                in_force = version
        return in_force

    def version(self, name: str) -> RenewalPolicy | None:
        return next((v for v in self.versions if v.version == name), None)
