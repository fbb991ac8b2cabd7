"""Which figures may a hospital set for each rule, and within which bounds?

A bound that a law sets stands here, so a policy that loosens it fails at the start.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal, get_args

from pydantic import BaseModel, ConfigDict, Field, model_validator

from libs.common.events import LinkScope, VisitClass
from libs.common.events.base import Word

Language = Literal["zh-CN", "en"]
Text = Mapping[Language, str]

#: An account keeps this many renewals, the newest; no limit may be above it.
RENEWALS_KEPT = 64


class Parameters(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Authority(Parameters):
    scopes: frozenset[LinkScope] = Field(min_length=1, description="Links that suffice.")


class Child(Parameters):
    years: int = Field(ge=6, le=18, description="Younger than this: seen in person only.")


class AtcClass(Parameters):
    atc: tuple[str, ...] = Field(min_length=1, description="ATC codes or beginnings of them.")


class NeverClasses(Parameters):
    classes: Mapping[str, AtcClass]


class RestrictedList(Parameters):
    conditions: Mapping[str, AtcClass] = Field(
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


class Supply(Parameters):
    days: int = Field(ge=1, le=84, description="No renewal is for longer.")


class ReasonedSupply(Parameters):
    days: int = Field(ge=1, le=7, description="For longer, the reason is noted.")


class LongSupply(Parameters):
    days: int = Field(ge=1, le=28, description="For longer, assessed, noted and signed for.")


class Question(Parameters):
    """Something that the patient's side answers with yes or no."""

    id: Word
    wanted: Literal["yes", "no"] = Field(description="Any other answer leads to a visit.")
    text: Text

    @model_validator(mode="after")
    def _in_every_language(self) -> Question:
        missing = set(get_args(Language)) - {k for k, v in self.text.items() if v}
        if missing:
            raise ValueError(f"question {self.id}: no text in {sorted(missing)}")
        return self


class Declaration(Parameters):
    questions: tuple[Question, ...] = Field(min_length=1, max_length=16)

    @model_validator(mode="after")
    def _each_once(self) -> Declaration:
        if len({q.id for q in self.questions}) != len(self.questions):
            raise ValueError("every question needs an id of its own")
        return self


class Practice(Parameters):
    years: int = Field(ge=3, le=60, description="Of independent practice, to the day.")
    unknown: Literal["not_checked", "refused"] = Field(
        description="What follows if the hospital has not told since when."
    )


class Deadlines(Parameters):
    doctor_hours: int = Field(ge=1)
    pharmacist_hours: int = Field(ge=1)
    told_hours: int = Field(ge=1, description="How long a notification is worth sending.")


class Validity(Parameters):
    usual_days: int = Field(ge=1, le=3, description="1: valid on the day.")
    maximum_days: int = Field(ge=1, le=3, description="What a doctor may extend it to.")
