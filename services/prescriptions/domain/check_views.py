"""What do doctor and pharmacist see of the clinical checks?

The patient's side sees none of it: a refusal tells it in plain words what to do.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from pydantic import Field

from services.prescriptions.domain.checks import (
    CheckName,
    CheckVerdict,
    ClinicalCheck,
    ClinicalChecks,
    NotChecked,
)
from services.prescriptions.domain.facts import Severity
from services.prescriptions.domain.parameters import Language
from services.prescriptions.domain.receipt import View


class CheckView(View):
    """One finding of the clinical checks."""

    id: str = Field(description="Of an alert: by which it is acknowledged.")
    check: CheckName
    verdict: CheckVerdict
    severity: Severity | None
    text: str | None = Field(description="In the reader's language, or the engine's.")
    source: tuple[str, ...]
    figures: Mapping[str, Any]
    why: NotChecked | None = Field(description="Why it was not checked.")


class ChecksView(View):
    """What was checked clinically. What was not checked is not safe, it is not known."""

    id: str
    engine: str
    version: str
    at: datetime
    checks: tuple[CheckView, ...]


#: Why something was not checked, in words.
_WHY: Mapping[NotChecked, Mapping[Language, str]] = {
    NotChecked.UNAVAILABLE: {
        "zh-CN": "合理用药系统无应答，未审查。",
        "en": "The rule engine gave no answer: not checked.",
    },
    NotChecked.UNREADABLE: {
        "zh-CN": "合理用药系统的应答无法读取，未审查。请联系医院信息科。",
        "en": "The rule engine's answer can't be read: not checked. Please tell the hospital's IT.",
    },
    NotChecked.NOT_ANSWERED: {
        "zh-CN": "合理用药系统未作此项审查。",
        "en": "The rule engine said nothing of this: not checked.",
    },
    NotChecked.UNKNOWN: {
        "zh-CN": "缺少审查所需的资料，未审查。",
        "en": "What it would look at is not known: not checked.",
    },
    NotChecked.NOT_COVERED: {
        "zh-CN": "审查规则未涵盖此药品，或未涵盖它与所列药品、过敏原的关系，因此未审查。",
        "en": "There is no rule for this medicine, or for it with what is named: not checked.",
    },
    NotChecked.CHANGED: {
        "zh-CN": "审查期间资料有变化，未审查。",
        "en": "What was known changed during the check: not checked.",
    },
}


def checks_view(checks: ClinicalChecks | None, language: Language) -> dict[str, Any] | None:
    if checks is None:
        return None
    return {
        **checks.model_dump(exclude={"checks"}),
        "checks": [
            {**check.model_dump(), "text": _words(check, language)} for check in checks.checks
        ],
    }


def _words(check: ClinicalCheck, language: Language) -> str | None:
    if check.why is not None:
        return _WHY[check.why][language]
    return check.text.get(language) or check.text.get("zh-CN")
