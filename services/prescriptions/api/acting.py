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
    return await _decided(
        request,
        commands.command(request, DOCTOR_DECISION, body, subject=id, if_match=if_match),
    )


@router.post("/refills/{id}/pharmacist-review", response_model=Receipt)
async def review(
    request: Request, id: str, body: PharmacistReview, if_match: RequiredIfMatch
) -> Response:
    """Pass, return to the doctor who signed, or refuse: another person than that doctor."""
    return await _decided(
        request,
        commands.command(request, PHARMACIST_REVIEW, body, subject=id, if_match=if_match),
    )


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
}
