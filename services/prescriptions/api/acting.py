"""How do people ask for renewals, and how do doctors and pharmacists decide on them?

A rule's no is answered in the words of the policy by which it was decided.
"""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Request, Response
from pydantic import Field, FiniteFloat

from libs.common.auth import Role
from libs.common.decision import Input
from libs.common.events import Quantity
from libs.common.http import commands, words
from libs.common.http.access import Access
from libs.common.http.bodies import Body, NotText
from libs.common.http.idempotency import IdempotencyKey, IfMatch, RequiredIfMatch
from libs.common.http.problems import Problem
from services.prescriptions.api.checking import with_checks
from services.prescriptions.api.reading import PATIENT_SIDE
from services.prescriptions.api.signing import with_signature
from services.prescriptions.domain import doctor, pharmacist, saying
from services.prescriptions.domain.consenting import GiveConsent
from services.prescriptions.domain.doctor import DoctorDecision
from services.prescriptions.domain.ending import CancelRefill
from services.prescriptions.domain.instead import Instead, as_extra
from services.prescriptions.domain.pharmacist import PharmacistReview
from services.prescriptions.domain.policy import RenewalPolicies
from services.prescriptions.domain.receipt import Receipt
from services.prescriptions.domain.request import CheckedRequest, RefillRequest
from services.prescriptions.handlers import (
    CANCEL,
    CONSENT,
    DOCTOR_DECISION,
    PHARMACIST_REVIEW,
    REQUEST,
)

router = APIRouter(prefix="/v1", tags=["renewals"])


class QuantityBody(Quantity):
    """How much, in the unit of the prescription."""

    model_config = Body.model_config

    value: Annotated[FiniteFloat, Field(gt=0, le=100_000), NotText] = Field(
        description="The number."
    )


class DoctorDecisionBody(DoctorDecision):
    """Approve and sign, as it is, with changes or replaced; decline; or ask for a visit."""

    quantity: QuantityBody | None = Field(
        default=None, description="`change`, `replace`: how much instead."
    )
    refills_allowed: Annotated[int, Field(ge=0, le=64), NotText] | None = Field(
        default=None,
        description="`change`, `replace`: so many renewals after this one until the next visit in "
        "person, if fewer than the rules allow.",
    )

    valid_days: Annotated[int, Field(ge=1, le=366), NotText] | None = Field(
        default=None,
        description="Days on which it may be dispensed; the policy's usual number if absent.",
    )
    days_supply: Annotated[int, Field(ge=1, le=366), NotText] | None = Field(
        default=None,
        description="For how many days; needed where the prescription does not say, and with "
        "`replace`. With `change` it follows from the quantity.",
    )


@router.post("/refills", status_code=201, response_model=Receipt)
async def ask(request: Request, body: RefillRequest, key: IdempotencyKey) -> Response:
    """Ask for a renewal. 422 with the reason in plain words if a rule says no."""
    input = commands.command(request, REQUEST, body, idempotency_key=key)
    input = input._replace(data=CheckedRequest(**body.model_dump()))
    return await decided(request, await with_checks(request, input), status=201)


@router.post("/refills/{id}/doctor-decision", response_model=Receipt)
async def decide(
    request: Request, id: str, body: DoctorDecisionBody, if_match: RequiredIfMatch
) -> Response:
    """Approve and sign (as it is, with changes, or replaced by another dosing), decline, or ask
    for a visit: a doctor of the treating department, or the prescriber."""
    input = commands.command(request, DOCTOR_DECISION, body, subject=id, if_match=if_match)
    input = input._replace(data=doctor.SignedDecision(**body.model_dump()))
    input = await with_checks(request, input)
    return await decided(request, await with_signature(request, input, doctor.ROLE))


@router.post("/refills/{id}/pharmacist-review", response_model=Receipt)
async def review(
    request: Request, id: str, body: PharmacistReview, if_match: RequiredIfMatch
) -> Response:
    """Pass, return to the doctor who signed, or refuse: another person than that doctor."""
    input = commands.command(request, PHARMACIST_REVIEW, body, subject=id, if_match=if_match)
    input = input._replace(data=pharmacist.SignedReview(**body.model_dump()))
    input = await with_checks(request, input)
    return await decided(request, await with_signature(request, input, pharmacist.ROLE))


@router.post("/refills/{id}/consent", response_model=Receipt)
async def consent(request: Request, id: str, if_match: IfMatch, body: GiveConsent) -> Response:
    """Sign for a supply of more days than usual (`long_supply` of `GET /v1/declaration`): the
    patient, or who may act for them, as long as it lies with a doctor."""
    input = commands.command(request, CONSENT, body, subject=id, if_match=if_match)
    return await decided(request, input)


@router.post("/refills/{id}/cancel", response_model=Receipt)
async def cancel(
    request: Request, id: str, if_match: IfMatch, body: CancelRefill | None = None
) -> Response:
    """Take a request back, as long as it is not effective."""
    input = commands.command(request, CANCEL, body or CancelRefill(), subject=id, if_match=if_match)
    return await decided(request, input)


async def decided(request: Request, input: Input, status: int = 200) -> Response:
    outcome = await commands.submit(request, input)
    try:
        return commands.answer(outcome, status=status)
    except Problem as problem:
        # In the words of the version that decided, not of the one in force when it is read.
        policies: RenewalPolicies = request.app.state.runtime.policy
        decided_by = policies.version(str(problem.extra.get("policy")))
        language = words.language(request.headers.get("accept-language"))
        if "instead" in problem.extra:
            told = Instead.model_validate(problem.extra["instead"]).told(language)
            problem.extra = {**problem.extra, "instead": as_extra(told)}
        if decided_by is not None:
            problem.detail = decided_by.words(problem.reason, language) or problem.detail
        raise


ACCESS: Access = {
    ("POST", "/v1/refills"): PATIENT_SIDE,
    ("POST", "/v1/refills/{id}/cancel"): PATIENT_SIDE,
    ("POST", "/v1/refills/{id}/consent"): PATIENT_SIDE,
    ("POST", "/v1/refills/{id}/doctor-decision"): frozenset({Role.DOCTOR}),
    ("POST", "/v1/refills/{id}/pharmacist-review"): frozenset({Role.PHARMACIST}),
}

#: What no rule of the policy has words for.
TEXTS: words.Texts = {
    **saying.TEXTS,
    "reason_missing": {
        "zh-CN": "请用 reason 说明原因，可选：{codes}。",
        "en": "Say why: give a reason, one of {codes}.",
    },
    "reason_unknown": {
        "zh-CN": "reason 不在原因表内，此处可选：{codes}。",
        "en": "reason must be one of {codes} here.",
    },
    "comment_missing": {
        "zh-CN": "选择此原因时，请在 comment 中说明。",
        "en": "With this reason say in comment what it is.",
    },
    "not_of_this_decision": {
        "zh-CN": "此决定不能包含 {fields}。药量和续方次数用 change 更改，用法用量用 replace 更改。",
        "en": "This decision says nothing of {fields}. Quantity and number of renewals are changed"
        " with change, the dosing with replace.",
    },
    "no_change": {
        "zh-CN": "与原处方没有不同，请用 approve 批准；replace 须更改 dosage 或 strength。",
        "en": "Nothing differs from the prescription: use approve. (replace changes dosage or"
        " strength.)",
    },
    "unit_fixed": {
        "zh-CN": "quantity.unit 须与原处方一致（{unit}）；需要更改时请用 replace。",
        "en": "quantity.unit has to be that of the prescription, {unit}; to change it use replace.",
    },
    "days_of_quantity": {
        "zh-CN": "按原用法用量，这一药量（quantity）可用 {days_supply} 天，days_supply 须与此一致；"
        "更改用法用量请用 replace。",
        "en": "At the prescribed dosing this quantity lasts {days_supply} days: leave days_supply"
        " out, or change quantity with it. To change the dosing use replace.",
    },
    "refills_too_many": {
        "zh-CN": "refills_allowed 最多为 {most}：医师只能减少规定的续方次数。",
        "en": "refills_allowed is {most} at most: a doctor may only allow fewer than the rules do.",
    },
    "dosage_missing": {
        "zh-CN": "处方须写明用法用量，不得写“遵医嘱”“自用”：请用 replace 在 dosage 中写明；"
        "到院再定请用 visit_needed。药师请退回医师。",
        "en": "A prescription says how it is taken, and not “as directed”: use replace and give"
        " dosage. To decide on it in person use visit_needed. A pharmacist returns it.",
    },
    "quantity_missing": {
        "zh-CN": "处方须写明药量：请用 change（或 replace）并填 quantity。药师请退回医师。",
        "en": "A prescription says how much is dispensed: use change (or replace) and give"
        " quantity. A pharmacist returns it.",
    },
    "strength_fixed": {
        "zh-CN": "原处方的规格未单独注明（或写在药名中），不能在线更改 strength，请到院开具。",
        "en": "The prescription states no strength apart from the medicine's name, so it can't be"
        " changed here. Prescribe it at a visit.",
    },
    "days_supply_missing": {
        "zh-CN": "请用 days_supply 填写本次开具的天数。",
        "en": "Say for how many days it lasts: give days_supply.",
    },
    "days_supply_fixed": {
        "zh-CN": "days_supply 须与原处方一致（{days_supply} 天）；更改请用 change 并填 quantity。",
        "en": "A renewal is for as many days as the prescription, {days_supply}. To alter it use"
        " change with a quantity.",
    },
    "consent_outdated": {
        "zh-CN": "签署内容已更新，请重新读取 GET /v1/declaration 并再次签署。",
        "en": "The text to sign has changed. Read GET /v1/declaration again and sign that.",
    },
    "record_missing": {
        "zh-CN": "处方须写明患者姓名、性别和年龄，但医院尚未传来该患者的档案。请稍后再试。",
        "en": "A prescription states the patient's name, sex and age, but the hospital has not sent"
        " this patient's record yet. Please try again later.",
    },
    "unchecked": {
        "zh-CN": "该步骤须先经合理用药审查，请重试。",
        "en": "This step has to be checked clinically first. Send it again.",
    },
    "unsigned": {
        "zh-CN": "处方须经电子签名后方可办理，请重试。",
        "en": "This step needs an electronic signature. Send it again.",
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
