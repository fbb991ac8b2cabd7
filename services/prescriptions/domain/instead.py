"""What can somebody do instead who may not renew a medicine now?

Every no comes with a next step: see the department, wait until a day, ask a guardian. A day
is named only if the rules would then say yes; a no that waiting does not mend is a visit.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import date, datetime, timedelta
from enum import StrEnum
from typing import Any

from pydantic import BaseModel, ConfigDict, Field

from libs.common.events import Department
from services.prescriptions.domain.facts import Facts
from services.prescriptions.domain.parameters import Language, Text
from services.prescriptions.domain.policy import RenewalPolicy
from services.prescriptions.domain.reasons import Reason
from services.prescriptions.domain.rules import LISTING, evaluate, refusal


class NextStep(StrEnum):
    VISIT = "visit"  # the department that treats the patient
    WAIT = "wait"  # until a day
    FOLLOW = "follow"  # the renewal that is under way
    ASK_GUARDIAN = "ask_guardian"
    ANSWER_DECLARATION = "answer_declaration"
    ASK_HOSPITAL = "ask_hospital"  # to send the patient's record
    ASK_PRESCRIBER = "ask_prescriber"  # the hospital that prescribed it
    NONE = "none"


#: What follows from a reason. Any other leads to a visit: a doctor can always be seen.
STEPS: Mapping[str, NextStep] = {
    Reason.PATIENT_DECEASED: NextStep.NONE,
    Reason.AGE_UNKNOWN: NextStep.ASK_HOSPITAL,
    Reason.GUARDIAN_NEEDED: NextStep.ASK_GUARDIAN,
    Reason.OTHER_HOSPITAL: NextStep.ASK_PRESCRIBER,
    Reason.OPEN_REQUEST: NextStep.FOLLOW,
    Reason.TOO_EARLY: NextStep.WAIT,
    Reason.TOO_MANY_MEDICINES: NextStep.WAIT,
    Reason.DECLARATION_MISSING: NextStep.ANSWER_DECLARATION,
}

TEXTS: Mapping[NextStep, Text] = {
    NextStep.VISIT: {
        "zh-CN": "请到{department}就诊，由医师当面评估。",
        "en": "Please see {department} in person.",
    },
    NextStep.WAIT: {
        "zh-CN": "{on} 起可以申请续方。",
        "en": "You can ask for it from {on} on.",
    },
    NextStep.FOLLOW: {
        "zh-CN": "请在“我的续方”中查看正在办理的申请。",
        "en": "Follow the renewal that is under way.",
    },
    NextStep.ASK_GUARDIAN: {
        "zh-CN": "请由监护人用自己的账号申请。",
        "en": "Have a guardian ask for it, with an account of their own.",
    },
    NextStep.ANSWER_DECLARATION: {
        "zh-CN": "请回答关于病情和用药的问题后再提交。",
        "en": "Answer the questions about your condition and how you take it, and ask again.",
    },
    NextStep.ASK_HOSPITAL: {
        "zh-CN": "请稍后再试；如仍不能申请，请联系医院核对档案。",
        "en": "Try again later; if it stays so, ask the hospital to check your record.",
    },
    NextStep.ASK_PRESCRIBER: {
        "zh-CN": "请联系开具处方的医院，或到本院就诊。",
        "en": "Ask the hospital that prescribed it, or see a doctor here.",
    },
    NextStep.NONE: {
        "zh-CN": "无需办理。",
        "en": "There is nothing to do.",
    },
}

_THE_DEPARTMENT: Text = {"zh-CN": "开药科室", "en": "the department that treats you"}


class Instead(BaseModel):
    """What to do instead."""

    model_config = ConfigDict(frozen=True)

    step: NextStep
    department: Department | None = Field(default=None, description="Where to: `visit`.")
    on: date | None = Field(
        default=None, description="The first day on which it can be asked for: `wait`."
    )
    refill_id: str | None = Field(default=None, description="Which one: `follow`.")
    text: str | None = Field(default=None, description="The same in words.")

    def words(self, language: Language) -> str:
        named = self.department.name if self.department is not None else None
        return TEXTS[self.step][language].format(
            on=self.on, department=named or _THE_DEPARTMENT[language]
        )

    def told(self, language: Language) -> Instead:
        return self.model_copy(update={"text": self.words(language)})


def instead(
    reason: Reason,
    facts: Facts,
    department: Department,
    open_refill: str | None,
    now: datetime,
    policy: RenewalPolicy,
) -> Instead:
    """What to do where ``reason`` says no to a renewal with these facts."""
    step = STEPS.get(reason, NextStep.VISIT)
    if step is NextStep.WAIT:
        day, then = _first_day(facts, now, policy)
        if then is None:
            return Instead(step=step, on=day)
        step = STEPS.get(then, NextStep.VISIT)
    if step is NextStep.VISIT:
        return Instead(step=step, department=department)
    if step is NextStep.FOLLOW:
        return Instead(step=step, refill_id=open_refill)
    return Instead(step=step)


def _first_day(facts: Facts, now: datetime, policy: RenewalPolicy) -> tuple[date, Reason | None]:
    """The day on which what only takes time is over, and what says no even then."""
    day = today = policy.day(now)
    rules = policy.rules
    if facts.others_today >= rules.medicines_a_day.parameters.medicines:
        day = today + timedelta(days=1)
    last = facts.dispensed
    if last is not None and last.days is not None:
        spare = rules.not_too_early.parameters.days_left
        day = max(day, policy.day(last.at) + timedelta(days=last.days - spare))
    then = facts.model_copy(update={"others_today": 0})
    outcomes = evaluate(then, policy, policy.end_of(day - timedelta(days=1)), LISTING)
    return day, refusal(outcomes, policy)


def as_extra(one: Instead) -> dict[str, Any]:
    """As it stands in a refusal, before it is known in which language it is read."""
    return one.model_dump(mode="json", exclude_none=True)
