"""In which words do a doctor and a pharmacist say no, and why was any step taken?

They say it by a code of the policy's closed list, which has the words for the patient; what
only they can say stands in the comment.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Final

from pydantic import Field

from libs.common.decision import Refusal
from libs.common.events import Sensitive
from services.prescriptions.domain.documents import Step
from services.prescriptions.domain.fulfilment import Irregular
from services.prescriptions.domain.parameters import Language, Text
from services.prescriptions.domain.policy import RenewalPolicy
from services.prescriptions.domain.reasons import Reason
from services.prescriptions.domain.transitions import Action

#: Words that stay in this service.
Comment = Sensitive[Annotated[str, Field(min_length=1, max_length=1000)] | None]

#: The steps that need a code, by the answer that takes them.
NO: dict[str, Action] = {
    "decline": Action.DECLINE,
    "visit_needed": Action.NEED_VISIT,
    "return": Action.RETURN,
    "refuse": Action.REJECT,
}
#: The steps whose comment is said to the patient's side; any other is between colleagues.
TO_THE_PATIENT: Final = frozenset({Action.DECLINE, Action.NEED_VISIT, Action.REJECT})

#: Why a step was taken for which no rule of the policy has words.
TEXTS: Final[Mapping[str, Text]] = {
    Reason.VALIDITY_OVER: {
        "zh-CN": "处方在有效期内没有取药，已失效。如仍需要，可以重新申请。",
        "en": "It was not dispensed while it was valid. It can be asked for again.",
    },
    Reason.ALLERGY_TO_COMPARE: {
        "zh-CN": "病历中新增或更改了过敏记录，须由医生核对是否与这种药品有关。"
        "请勿自行停药或改变用量，请尽快联系开药科室；如出现过敏症状，请立即就医。",
        "en": "An allergy was recorded, or its record changed, and a doctor has to see whether it"
        " concerns this medicine. Don't stop or change it by yourself: contact the department that"
        " treats you. If you notice signs of an allergy, get medical help at once.",
    },
    Irregular.NOT_EFFECTIVE: {
        "zh-CN": "续方没有生效，药房却已调配，请与医院药师核实。",
        "en": "It was dispensed and is not in effect. Please ask the hospital's pharmacist.",
    },
    Irregular.BEFORE_EFFECTIVE: {
        "zh-CN": "药房在续方生效前已调配，请与医院药师核实。",
        "en": "It was dispensed before it took effect. Please ask the hospital's pharmacist.",
    },
    Irregular.WITHHELD: {
        "zh-CN": "处方作废后，药房仍调配或发出了药品。请先咨询医生再服用，并与医院药师核实。",
        "en": "It was dispensed or handed out after it had become void. Ask a doctor before taking"
        " it, and the hospital's pharmacist.",
    },
    Irregular.AFTER_VALIDITY: {
        "zh-CN": "药房在处方有效期过后调配，请与医院药师核实。",
        "en": "It was dispensed after its last day. Please ask the hospital's pharmacist.",
    },
}


def said_why(
    policy: RenewalPolicy, answer: str, reason: str | None, comment: str | None
) -> Refusal | None:
    """What is wrong with the reason that is given for ``answer``, if anything is."""
    if answer not in NO:
        if reason is None:
            return None
        return Refusal(Reason.NOT_OF_THIS_DECISION, extra={"fields": "reason"})
    codes = policy.codes_of(answer)
    if reason is None:
        return Refusal(Reason.REASON_MISSING, extra={"codes": ", ".join(codes)})
    if reason not in codes:
        return Refusal(Reason.REASON_UNKNOWN, extra={"field": "reason", "codes": ", ".join(codes)})
    if comment is None and policy.answers.codes[reason].needs_comment:
        return Refusal(Reason.COMMENT_MISSING)
    return None


def reason_text(step: Step, policy: RenewalPolicy | None, language: Language) -> str | None:
    """Why ``step`` was taken, in the words for the patient; None if it has none."""
    reason = step.reason
    if reason is None or step.action is Action.CANCEL:  # that is a word of the patient's side
        return None
    if reason in TEXTS:
        return TEXTS[reason][language]
    if policy is None:
        return None
    if step.action not in NO.values():
        return policy.words(reason, language)
    coded = policy.answers.codes.get(reason)
    return coded.text[language] if coded is not None else None
