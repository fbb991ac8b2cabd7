"""How is a signed prescription had, as the text that was signed and on paper?

By whoever may see the renewal, its text also by the system of the pharmacy that is to
dispense it; recorded as a read; only once it is in effect, so that
nobody carries half a prescription to a pharmacy.
"""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any, Final

from fastapi import APIRouter, Request, Response
from fastapi.responses import JSONResponse
from pydantic import BaseModel, ConfigDict, Field

from libs.common.auth import Role
from libs.common.decision import Common
from libs.common.http import words
from libs.common.http.access import PUBLIC, Access, Caller
from libs.common.http.idempotency import etag
from libs.common.http.problems import Problem
from libs.common.http.reads import Reads
from services.prescriptions.api.printing import Page, printed
from services.prescriptions.api.reading import PATIENT_SIDE, STAFF, Policy, Prescriptions, shown
from services.prescriptions.domain.documents import Refill, SignedForm

router = APIRouter(prefix="/v1", tags=["signatures"])
#: The page that a QR code opens is for people: it is not documented as an API.
pages = APIRouter(include_in_schema=False)

_FOLDER: Final = Path(__file__).resolve().parent.parent / "pages"
_PAGE = {name: (_FOLDER / name).read_bytes() for name in ("verify.html", "verify.js", "verify.css")}
_PAGE_HEADERS: Final = {
    "Content-Security-Policy": "default-src 'none'; script-src 'self'; style-src 'self'; "
    "connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    "Referrer-Policy": "no-referrer",
}


class CopyView(BaseModel):
    """What ``POST /v1/prescriptions/verification`` takes, and the code."""

    model_config = ConfigDict(frozen=True)

    document: str = Field(description="The text that was signed, byte by byte.")
    signatures: tuple[str, ...] = Field(description="Detached JWS, the doctor's first.")
    code: str = Field(description="The verification code: the hash of the text.")
    link: str = Field(description="Where anyone may verify it: what the QR code holds.")


class Pdf(Response):
    media_type = "application/pdf"


@router.get("/refills/{id}/prescription", response_model=CopyView)
async def signed_text(
    request: Request, id: str, caller: Caller, store: Prescriptions, policy: Policy, reads: Reads
) -> Any:
    """The prescription as it was signed. 409 before it is in effect."""
    refill = await shown(request, id, caller, store, policy, reads, pharmacy=True)
    form = _in_effect(refill)
    copy = CopyView(
        document=form.text,
        signatures=tuple(s.jws for s in form.signatures),
        code=form.digest,
        link=_link(request, refill, form),
    )
    return JSONResponse(copy.model_dump(mode="json"), headers={"ETag": etag(refill.version)})


@router.get("/refills/{id}/prescription.pdf", response_class=Pdf)
async def on_paper(
    request: Request, id: str, caller: Caller, store: Prescriptions, policy: Policy, reads: Reads
) -> Response:
    """The same as a PDF (A5) with a QR code for the pharmacy, in Chinese or English."""
    refill = await shown(request, id, caller, store, policy, reads)
    form = _in_effect(refill)
    language = words.language(request.headers.get("accept-language"))
    page = Page(form, policy, _link(request, refill, form), language, refill.paper_status)
    return Pdf(
        await asyncio.to_thread(printed, page),
        headers={
            "ETag": etag(refill.version),
            "Content-Language": language,
            "Content-Disposition": 'inline; filename="prescription.pdf"',
            "Vary": "Accept-Language",
        },
    )


def _in_effect(refill: Refill) -> SignedForm:
    if refill.effective_at is None or not refill.forms:
        raise Problem(409, Common.WRONG_STATUS, extra={"status": refill.status})
    return refill.forms[-1]


def _link(request: Request, refill: Refill, form: SignedForm) -> str:
    base = request.app.state.runtime.settings.prescriptions_public_url
    # In the fragment, which browsers send to nobody.
    return f"{base}/verify#h={refill.hospital}&p={refill.new_prescription_id}&c={form.digest}"


@pages.get("/verify")
async def page() -> Response:
    """The same for everybody; its script asks for whoever opened it with a code."""
    return Response(_PAGE["verify.html"], media_type="text/html", headers=_PAGE_HEADERS)


@pages.get("/verify.js")
async def script() -> Response:
    return Response(_PAGE["verify.js"], media_type="text/javascript", headers=_PAGE_HEADERS)


@pages.get("/verify.css")
async def style() -> Response:
    return Response(_PAGE["verify.css"], media_type="text/css", headers=_PAGE_HEADERS)


_PARTIES: Final = PATIENT_SIDE | STAFF

ACCESS: Access = {
    ("GET", "/v1/refills/{id}/prescription"): _PARTIES | {Role.INTEGRATION},
    ("GET", "/v1/refills/{id}/prescription.pdf"): _PARTIES,
    ("GET", "/verify"): PUBLIC,
    ("GET", "/verify.js"): PUBLIC,
    ("GET", "/verify.css"): PUBLIC,
}
