"""How is a pharmacy found and chosen, and how does it learn where to deliver?

Where somebody is, and where they live, travels in bodies and answers only: addresses end up
in logs. Of pharmacies' systems only the chosen one's sees a renewal, once it is in effect;
every read is recorded.
"""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, Request, Response
from fastapi.responses import JSONResponse
from pydantic import Field

from libs.common.auth import Role
from libs.common.http import commands, words
from libs.common.http.access import Access, Caller
from libs.common.http.bodies import Body, NotText, YesNo
from libs.common.http.idempotency import RequiredIfMatch, etag
from libs.common.http.reads import Reads
from services.prescriptions.api.acting import decided
from services.prescriptions.api.reading import (
    PATIENT_SIDE,
    STAFF,
    Policy,
    Prescriptions,
    reader_of,
    shown,
)
from services.prescriptions.domain.choosing import Choice
from services.prescriptions.domain.fulfilment_view import (
    FulfilmentView,
    PharmaciesFound,
    found,
    fulfilment_view,
)
from services.prescriptions.domain.pharmacies import Place
from services.prescriptions.domain.receipt import Receipt
from services.prescriptions.handlers import CHOOSE

router = APIRouter(prefix="/v1", tags=["fulfilment"])


class Near(Body):
    """What to look for."""

    place: Place | None = Field(
        default=None, description="From where; not kept. Absent: all, in no order of distance."
    )
    delivering: YesNo = Field(
        default=False, description="Only those that deliver there (without `place`: at all)."
    )
    limit: Annotated[int, Field(ge=1, le=100), NotText] = Field(default=20)


@router.post("/pharmacies/search", response_model=PharmaciesFound)
async def nearest(request: Request, body: Near) -> Any:
    """Pharmacies, the nearest first. A POST, since a place in an address would be logged."""
    reader = reader_of(request, "patient")
    seen = reader.policies.pharmacies.nearest(body.place, delivering=body.delivering)[: body.limit]
    return PharmaciesFound(items=tuple(found(near, body.place, reader) for near in seen))


@router.put("/refills/{id}/fulfilment", response_model=Receipt)
async def choose(request: Request, id: str, body: Choice, if_match: RequiredIfMatch) -> Response:
    """Choose a pharmacy to collect it at, or one to deliver it; until it is dispensed."""
    input = commands.command(request, CHOOSE, body, subject=id, if_match=if_match)
    return await decided(request, input)


@router.get("/refills/{id}/fulfilment", response_model=FulfilmentView)
async def fulfilment(
    request: Request, id: str, caller: Caller, store: Prescriptions, policy: Policy, reads: Reads
) -> Response:
    """Where it comes from and how far it is, with the address; no doctor needs that."""
    refill = await shown(request, id, caller, store, policy, reads, pharmacy=True, doctors=False)
    view = fulfilment_view(refill, await store.fulfilments(refill), reader_of(request, "patient"))
    return JSONResponse(view.model_dump(mode="json"), headers={"ETag": etag(refill.version)})


ACCESS: Access = {
    ("POST", "/v1/pharmacies/search"): PATIENT_SIDE | STAFF,
    ("PUT", "/v1/refills/{id}/fulfilment"): PATIENT_SIDE,
    ("GET", "/v1/refills/{id}/fulfilment"): PATIENT_SIDE | {Role.PHARMACIST, Role.INTEGRATION},
}

#: What no rule of the policy has words for.
TEXTS: words.Texts = {
    "unknown_pharmacy": {
        "zh-CN": "没有这家药房，请用 POST /v1/pharmacies/search 查询后填写 pharmacy_id。",
        "en": "There is no such pharmacy: take pharmacy_id from POST /v1/pharmacies/search.",
    },
    "not_delivered_there": {
        "zh-CN": "该药房不配送到此地址，请另选药房（pharmacy_id），"
        "或改为到店自取（method: pickup）。",
        "en": "This pharmacy does not deliver there: choose another pharmacy_id, or collect it"
        " (method: pickup).",
    },
}
