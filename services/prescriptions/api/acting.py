"""How do people ask for renewals, and how do doctors and pharmacists decide on them?

A rule's no is answered in the words of the policy by which it was decided.
"""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Request, Response
from pydantic import Field

from libs.common.auth import Role
from libs.common.decision import Input
from libs.common.http import commands, words
from libs.common.http.access import Access
from libs.common.http.bodies import NotText
from libs.common.http.idempotency import IdempotencyKey, IfMatch, RequiredIfMatch
from libs.common.http.problems import Problem
from services.prescriptions.api.signing import with_signature
from services.prescriptions.domain import doctor, pharmacist
from services.prescriptions.domain.doctor import DoctorDecision
from services.prescriptions.domain.ending import CancelRefill
from services.prescriptions.domain.pharmacist import PharmacistReview
from services.prescriptions.domain.policy import RenewalPolicies
from services.prescriptions.domain.request import RefillRequest
from services.prescriptions.domain.views import Receipt
from services.prescriptions.handlers import CANCEL, DOCTOR_DECISION, PHARMACIST_REVIEW, REQUEST

router = APIRouter(prefix="/v1", tags=["renewals"])


class DoctorDecisionBody(DoctorDecision):
    """Approve and sign, or decline."""

    valid_days: Annotated[int, Field(ge=1, le=366), NotText] | None = Field(
        default=None,
        description="Days on which it may be dispensed; the policy's usual number if absent.",
    )
    days_supply: Annotated[int, Field(ge=1, le=366), NotText] | None = Field(
        default=None,
        description="For how many days; needed where the prescription does not say.",
    )


@router.post("/refills", status_code=201, response_model=Receipt)
async def ask(request: Request, body: RefillRequest, key: IdempotencyKey) -> Response:
    """Ask for a renewal. 422 with the reason in plain words if a rule says no."""
    input = commands.command(request, REQUEST, body, idempotency_key=key)
    return await _decided(request, input, status=201)


@router.post("/refills/{id}/doctor-decision", response_model=Receipt)
async def decide(
    request: Request, id: str, body: DoctorDecisionBody, if_match: RequiredIfMatch
) -> Response:
    """Approve and sign, or decline: a doctor of the treating department, or the prescriber."""
    input = commands.command(request, DOCTOR_DECISION, body, subject=id, if_match=if_match)
    input = input._replace(data=doctor.SignedDecision(**body.model_dump()))
    return await _decided(request, await with_signature(request, input, doctor.ROLE))


@router.post("/refills/{id}/pharmacist-review", response_model=Receipt)
async def review(
    request: Request, id: str, body: PharmacistReview, if_match: RequiredIfMatch
) -> Response:
    """Pass, return to the doctor who signed, or refuse: another person than that doctor."""
    input = commands.command(request, PHARMACIST_REVIEW, body, subject=id, if_match=if_match)
    input = input._replace(data=pharmacist.SignedReview(**body.model_dump()))
    return await _decided(request, await with_signature(request, input, pharmacist.ROLE))


@router.post("/refills/{id}/cancel", response_model=Receipt)
async def cancel(
    request: Request, id: str, if_match: IfMatch, body: CancelRefill | None = None
) -> Response:
    """Take a request back, as long as it is not effective."""
    input = commands.command(request, CANCEL, body or CancelRefill(), subject=id, if_match=if_match)
    return await _decided(request, input)


async def _decided(request: Request, input: Input, status: int = 200) -> Response:
    outcome = await commands.submit(request, input)
    try:
        return commands.answer(outcome, status=status)
    except Problem as problem:
        # In the words of the version that decided, not of the one in force when it is read.
        policies: RenewalPolicies = request.app.state.runtime.policy
        decided_by = policies.version(str(problem.extra.get("policy")))
        if decided_by is not None:
            language = words.language(request.headers.get("accept-language"))
            problem.detail = decided_by.words(problem.reason, language) or problem.detail
        raise


_PATIENT_SIDE = frozenset({Role.PATIENT, Role.GUARDIAN})

ACCESS: Access = {
    ("POST", "/v1/refills"): _PATIENT_SIDE,
    ("POST", "/v1/refills/{id}/cancel"): _PATIENT_SIDE,
    ("POST", "/v1/refills/{id}/doctor-decision"): frozenset({Role.DOCTOR}),
    ("POST", "/v1/refills/{id}/pharmacist-review"): frozenset({Role.PHARMACIST}),
}

#: What no rule of the policy has words for.
TEXTS: words.Texts = {
    "reason_missing": {
        "zh-CN": "请用 reason 说明原因。",
        "en": "Say why: give a reason.",
    },
    "days_supply_missing": {
        "zh-CN": "原处方没有用量天数，请用 days_supply 填写本次开具的天数。",
        "en": "The prescription does not say for how many days it lasts: give days_supply.",
    },
    "days_supply_fixed": {
        "zh-CN": "续方的用量天数须与原处方一致（{days_supply} 天）。",
        "en": "A renewal is for as many days as the prescription, {days_supply}.",
    },
    "record_missing": {
        "zh-CN": "处方须写明患者姓名、性别和年龄，但医院尚未传来该患者的档案。请稍后再试。",
        "en": "A prescription states the patient's name, sex and age, but the hospital has not sent"
        " this patient's record yet. Please try again later.",
    },
    "unsigned": {
        "zh-CN": "处方须经电子签名后方可办理。",
        "en": "This step needs an electronic signature.",
    },
    "unsigned_by_doctor": {
        "zh-CN": "该续方尚无医师电子签名，请退回原医师重新批准。",
        "en": "The doctor's electronic signature is missing: return it to be approved again.",
    },
    "key_of_another": {
        "zh-CN": "签名所用密钥不属于您，请联系医院信息科。",
        "en": "The signature was made with a key that is not yours. Please ask the hospital's IT.",
    },
    "no_signing_certificate": {
        "zh-CN": "您尚未开通电子签名，请联系医院信息科。",
        "en": "You have no certificate to sign with. Please ask the hospital's IT.",
    },
    "signing_unavailable": {
        "zh-CN": "电子签名服务暂时不可用，处方未签署，状态未改变。请稍后再试。",
        "en": "The signing service can't be reached. Nothing was signed or changed; try again"
        " later.",
    },
    "signature_not_taken": {
        "zh-CN": "电子签名服务返回的签名无法通过验证，处方未签署，状态未改变。请联系医院信息科。",
        "en": "The signing service's signature can't be verified. Nothing was signed or changed."
        " Please ask the hospital's IT.",
    },
}
