"""Which figures may a hospital set for each rule, and within which bounds?

A bound that a law sets stands here, so a policy that loosens it fails at the start.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Literal, get_args

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, model_validator

from libs.common.events import LinkScope, VisitClass
from libs.common.events.base import Word
from services.prescriptions.domain.facts import Severity

Language = Literal["zh-CN", "en"]


def in_every_language(text: Mapping[Language, str]) -> Mapping[Language, str]:
    missing = set(get_args(Language)) - {k for k, v in text.items() if v}
    if missing:
        raise ValueError(f"no text in {sorted(missing)}")
    return text


Text = Annotated[Mapping[Language, str], AfterValidator(in_every_language)]

#: An account keeps this many renewals, the newest; no limit may be above it.
RENEWALS_KEPT = 64


class Parameters(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class AtHome(Parameters):
    """What also concerns a medicine that was handed out already."""

    at_home: bool = Field(
        description="Whether who has it is told to ask a doctor before taking more of it."
    )


class Authority(Parameters):
    scopes: frozenset[LinkScope] = Field(min_length=1, description="Links that suffice.")


class Child(Parameters):
    years: int = Field(ge=6, le=18, description="Younger than this: seen in person only.")


class AtcClass(Parameters):
    atc: tuple[str, ...] = Field(min_length=1, description="ATC codes or beginnings of them.")


class NeverClasses(Parameters):
    classes: Mapping[str, AtcClass]


class Listed(AtcClass):
    icd10: tuple[str, ...] = Field(
        default=(), description="Codes of the condition, or beginnings; none: not compared."
    )


class RestrictedList(Parameters):
    conditions: Mapping[str, Listed] = Field(
        min_length=1, description="What may be renewed, by the condition that it is for."
    )


class Window(Parameters):
    days: int = Field(ge=1, le=366, description="Calendar days since it was prescribed.")


class Limit(Parameters):
    renewals: int = Field(ge=1, le=RENEWALS_KEPT, description="Since the last visit in person.")
    visit_classes: frozenset[VisitClass] = Field(min_length=1, description="What is in person.")


class Early(Parameters):
    days_left: int = Field(ge=0, le=84, description="It may be asked for when no more are left.")


class Medicines(Parameters):
    medicines: int = Field(ge=1, le=5, description="Of one patient on one day.")


class StableCondition(Parameters):
    known_days: int = Field(
        ge=1, le=3660, description="For so long a diagnosis that is recorded again is not new."
    )


class Supply(Parameters):
    days: int = Field(ge=1, le=84, description="No renewal is for longer.")


class ReasonedSupply(Parameters):
    days: int = Field(ge=1, le=7, description="For longer, the reason is noted.")


class LongSupply(Parameters):
    days: int = Field(ge=1, le=28, description="For longer, assessed, noted and signed for.")
    consent: Text = Field(description="What the patient signs; {days} is the figure above.")

    def shown(self, language: Language) -> str:
        return self.consent[language].format(days=self.days)


class Question(Parameters):
    """Something that the patient's side answers with yes or no."""

    id: Word
    wanted: Literal["yes", "no"] = Field(description="Any other answer leads to a visit.")
    text: Text


class Declaration(Parameters):
    questions: tuple[Question, ...] = Field(min_length=1, max_length=16)

    @model_validator(mode="after")
    def _each_once(self) -> Declaration:
        if len({q.id for q in self.questions}) != len(self.questions):
            raise ValueError("every question needs an id of its own")
        return self


class Replacement(Parameters):
    replacements: int = Field(ge=0, le=RENEWALS_KEPT, description="Since the last visit. 0: none.")
    days: int = Field(ge=1, le=28, description="With a changed dosing no supply is for longer.")


class Contraindications(Parameters):
    severities: frozenset[Severity] = Field(
        min_length=1, description="Alerts that nobody may go on in spite of."
    )
    grace_days: int = Field(
        ge=0, le=90, description="A medicine counts as taken so long after its supply is over."
    )

    @model_validator(mode="after")
    def _contraindicated_is_no(self) -> Contraindications:
        if Severity.CONTRAINDICATED not in self.severities:
            raise ValueError("what is contraindicated can't be acknowledged: name it here")
        return self


class Alerts(Parameters):
    severities: frozenset[Severity] = Field(
        description="Alerts that doctor and pharmacist each have to acknowledge, with a reason."
    )


class Practice(Parameters):
    years: int = Field(ge=3, le=60, description="Of independent practice, to the day.")
    unknown: Literal["not_checked", "refused"] = Field(
        description="What follows if the hospital has not told since when."
    )


class Deadlines(Parameters):
    doctor_hours: int = Field(ge=1)
    pharmacist_hours: int = Field(ge=1)
    told_hours: int = Field(ge=1, description="How long a notification is worth sending.")
    choice_hours: int = Field(
        ge=1, le=72, description="After these somebody who has not chosen a pharmacy is reminded."
    )
    address_days: int = Field(
        ge=1, le=366, description="Where to deliver it is deleted after these, or when it is there."
    )
    claim_minutes: int = Field(ge=5, le=240, description="Then what one claimed is free again.")
    hand_over_hours: int = Field(ge=1, le=24, description="The same of what one was handed.")
    remind_hours: int = Field(ge=1, description="Left when those with whom it lies are reminded.")
    escalate_hours: int = Field(ge=1, description="Left when the head is told.")
    heads: Mapping[str, str] = Field(
        description="Who is told then, by department; elsewhere those with the role ops."
    )

    @model_validator(mode="after")
    def _in_turn(self) -> Deadlines:
        if self.escalate_hours >= self.remind_hours:
            raise ValueError("escalate_hours must be less than remind_hours")
        return self


class Validity(Parameters):
    usual_days: int = Field(ge=1, le=3, description="1: valid on the day.")
    maximum_days: int = Field(ge=1, le=3, description="What a doctor may extend it to.")
    pharmacies_report: bool = Field(
        description="Pharmacies tell what they dispense: what none told of was not dispensed."
    )


#: How a doctor or pharmacist may say no.
No = Literal["decline", "visit_needed", "return", "refuse"]


class Code(Parameters):
    """A reason that a doctor or pharmacist may give, in words for the patient."""

    of: frozenset[No] = Field(min_length=1, description="The answers that it is a reason for.")
    text: Text
    needs_comment: bool = Field(default=False, description="It says nothing by itself.")


class Codes(Parameters):
    """A closed list, so that what was said can be counted and is understood by patients."""

    source: tuple[str, ...] = Field(min_length=1)
    codes: Mapping[Word, Code]

    @model_validator(mode="after")
    def _for_every_answer(self) -> Codes:
        missing = set(get_args(No)) - {no for code in self.codes.values() for no in code.of}
        if missing:
            raise ValueError(f"no reason to {sorted(missing)}")
        return self
