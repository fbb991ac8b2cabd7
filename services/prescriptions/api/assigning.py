"""How do doctors and pharmacists take a renewal, give it away, and say when they are away?"""

from __future__ import annotations

from fastapi import APIRouter, Request, Response
from fastapi.responses import JSONResponse
from pydantic import Field

from libs.common.http import commands, words
from libs.common.http.access import Access, Caller
from libs.common.http.bodies import Moment
from libs.common.http.idempotency import RequiredIfMatch, etag
from services.prescriptions.api.acting import decided
from services.prescriptions.api.reading import STAFF, Prescriptions
from services.prescriptions.domain.assigning import Claim, HandOver, Release
from services.prescriptions.domain.receipt import Receipt
from services.prescriptions.domain.staff import AbsenceView, OutOfOffice, absence_view
from services.prescriptions.handlers import CLAIM, HAND_OVER, OUT_OF_OFFICE, RELEASE

router = APIRouter(prefix="/v1", tags=["work lists"])


@router.post("/refills/{id}/claim", response_model=Receipt)
async def claim(request: Request, id: str, if_match: RequiredIfMatch) -> Response:
    """Take it from the pool, or keep it for longer. Others can't decide on it until then."""
    input = commands.command(request, CLAIM, Claim(), subject=id, if_match=if_match)
    return await decided(request, input)


@router.post("/refills/{id}/release", response_model=Receipt)
async def release(request: Request, id: str, if_match: RequiredIfMatch) -> Response:
    """Give what was claimed or handed over back to the pool."""
    input = commands.command(request, RELEASE, Release(), subject=id, if_match=if_match)
    return await decided(request, input)


@router.post("/refills/{id}/hand-over", response_model=Receipt)
async def hand_over(
    request: Request, id: str, body: HandOver, if_match: RequiredIfMatch
) -> Response:
    """Hand it to a colleague who may decide on it; they are told."""
    input = commands.command(request, HAND_OVER, body, subject=id, if_match=if_match)
    return await decided(request, input)


class OutOfOfficeBody(OutOfOffice):
    """While one is away a deputy may do, in their own name, what lies with one."""

    since: Moment | None = Field(default=None, alias="from", description="Absent: here, or back.")
    until: Moment | None = Field(default=None, description="Back from then on.")


@router.get("/me/out-of-office", response_model=AbsenceView)
async def out_of_office(caller: Caller, store: Prescriptions) -> Response:
    """When I am away, and who stands in."""
    absence = await store.absence(caller.hospital, caller.actor.person)
    return JSONResponse(absence_view(absence), headers={"ETag": etag(absence.version)})


@router.put("/me/out-of-office", response_model=AbsenceView)
async def go_out_of_office(
    request: Request, body: OutOfOfficeBody, if_match: RequiredIfMatch
) -> Response:
    """Say when I am away and who stands in; without times, that I am back."""
    input = commands.command(request, OUT_OF_OFFICE, body, if_match=if_match)
    return commands.answer(await commands.submit(request, input))


ACCESS: Access = {
    ("POST", "/v1/refills/{id}/claim"): STAFF,
    ("POST", "/v1/refills/{id}/release"): STAFF,
    ("POST", "/v1/refills/{id}/hand-over"): STAFF,
    ("GET", "/v1/me/out-of-office"): STAFF,
    ("PUT", "/v1/me/out-of-office"): STAFF,
}

TEXTS: words.Texts = {
    "not_claimed": {
        "zh-CN": "目前无人认领，无需释放。",
        "en": "Nobody holds it now, so there is nothing to release.",
    },
    "assigned_too_often": {
        "zh-CN": "它已被认领、转交或提醒 {times} 次，不能再认领或转交，请直接作出决定。",
        "en": "It has been claimed, handed over or reminded of {times} times, so it can't be"
        " claimed or handed over again. Decide on it.",
    },
    "receiver_unsuitable": {
        "zh-CN": "to 须为另一位在职同事：由医师办理时为开药科室的医师或原开方医师，"
        "由药师办理时为药师。",
        "en": "to must be a colleague who works here: a doctor of the treating department or the"
        " prescriber while it waits for a doctor, else a pharmacist.",
    },
    "receiver_away": {
        "zh-CN": "该同事目前不在岗，请转交其代理人 {deputy_id}。",
        "en": "This colleague is out of office. Hand it to the deputy, {deputy_id}.",
    },
    "deputy_missing": {
        "zh-CN": "请用 deputy_id 指定代理人；医院人员信息中没有您的代理人。",
        "en": "Name who stands in: give deputy_id. The hospital's record of you names nobody.",
    },
    "deputy_unsuitable": {
        "zh-CN": "deputy_id 须为另一位在职、与您角色相同的同事；医师须与您有共同科室。",
        "en": "deputy_id must be a colleague who works here in your role, and for a doctor in one"
        " of your departments.",
    },
    "deputy_away": {
        "zh-CN": "该代理人在此期间也不在岗，请在 deputy_id 中另选一位。",
        "en": "This deputy is out of office at that time, too. Name another one in deputy_id.",
    },
    "period_invalid": {
        "zh-CN": "请同时填写 from 和 until，且 until 晚于 from；都不填表示在岗。",
        "en": "Give both from and until, and until after from; or neither, if you are back.",
    },
}
