"""How do a hospital's systems send FHIR R4?

``POST /fhir`` takes bundles, ``/fhir/{type}`` one resource. What was taken is durable before
the answer goes out; what was refused is kept, too (``api/messages.py``). Answers are FHIR's,
also where something is wrong.
"""

from __future__ import annotations

import asyncio
from typing import Annotated, Any, Final
from urllib.parse import quote

from fastapi import APIRouter, Depends, Header, Path, Query, Request
from fastapi.responses import JSONResponse
from starlette.convertors import StringConvertor, register_url_convertor

from libs.common.auth import Principal, Role
from libs.common.fates import Fate
from libs.common.http.access import PUBLIC, Access, Caller
from libs.common.http.commands import command
from libs.common.http.dialect import Dialect
from libs.common.http.problems import Problem
from libs.common.http.words import Texts
from libs.common.mongo.errors import Unavailable
from services.interop.api import taking
from services.interop.api.policy import Policy
from services.interop.api.taking import Taken
from services.interop.domain.partners import NotAllowed
from services.interop.edge.fhir import outcome, receive
from services.interop.edge.fhir.bundle import Request as Sent
from services.interop.edge.fhir.outcome import MEDIA_TYPE
from services.interop.handlers import RECEIVE

BASE: Final = "/fhir"


class _TypeConvertor(StringConvertor):
    """Types begin with a capital; ``metadata`` is none."""

    regex = "[A-Z][A-Za-z]{1,63}"


register_url_convertor("resource", _TypeConvertor())

router = APIRouter(prefix=BASE, tags=["fhir"])

_WHO: Final = frozenset({Role.INTEGRATION})
ACCESS: Access = {
    ("POST", "/fhir"): _WHO,
    ("GET", "/fhir/metadata"): PUBLIC,
    ("POST", "/fhir/{type}"): _WHO,
    ("PUT", "/fhir/{type}"): _WHO,
    ("PUT", "/fhir/{type}/{id}"): _WHO,
}

TEXTS: Texts = {
    "media_type": {
        "zh-CN": "此处只使用 application/fhir+json。",
        "en": "Only application/fhir+json is spoken here.",
    },
    "content_encoding": {
        "zh-CN": "请求正文请勿压缩。",
        "en": "Send the body as it is, not compressed.",
    },
    "body_too_slow": {
        "zh-CN": "请求正文传输过慢，请重发。",
        "en": "The body took too long to arrive; send it again.",
    },
    "if_match_unsupported": {
        "zh-CN": "此处不为发送方保留版本，请去掉 If-Match。",
        "en": "Versions are not kept for senders: leave If-Match out.",
    },
    "contended": {
        "zh-CN": "同一资源正被其他请求修改，请稍后重发。",
        "en": "Other requests are changing the same resources; send it again.",
    },
}


def dialect(max_body: int) -> Dialect:
    """FHIR's clients read OperationOutcomes, whatever is wrong."""
    return Dialect(
        prefix=BASE,
        media_type=MEDIA_TYPE,
        problem=outcome.of_problem,
        schema=outcome.SCHEMA,
        max_body=max_body,
    )


#: ``_format`` is what FHIR's clients add by themselves; ``_pretty`` is a wish.
async def _json_only(
    request: Request,
    _format: Annotated[
        str | None, Query(alias="_format", max_length=64, description="JSON, in any spelling")
    ] = None,
    _pretty: Annotated[str | None, Query(alias="_pretty", max_length=8)] = None,
) -> None:
    """Refuse what is not JSON before it is read as such."""
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if request.method in ("POST", "PUT") and kind and not kind.endswith("json"):
        raise Problem(415, "media_type", detail=f"send {MEDIA_TYPE}")
    if request.headers.get("content-encoding", "identity").lower() != "identity":
        raise Problem(415, "content_encoding")
    if "xml" in (_format or "").lower():
        raise Problem(406, "media_type", detail=f"only {MEDIA_TYPE} is spoken here")


Type = Annotated[str, Path(pattern=r"^[A-Z][A-Za-z]{1,63}$", description="a type of resource")]
Id = Annotated[str, Path(pattern=r"^[A-Za-z0-9.-]{1,64}$", description="as FHIR has ids")]
IfNoneExist = Annotated[
    str | None,
    Header(
        alias="If-None-Exist",
        max_length=2_000,
        description="`identifier=system|value`: create it only where no resource has it",
    ),
]

_FHIR: Final[dict[str, Any]] = {MEDIA_TYPE: {"schema": {"type": "object"}}}
_BODY: Final[dict[str, Any]] = {
    "x-body": "FHIR R4",
    "requestBody": {"required": True, "content": _FHIR},
}


class FhirResponse(JSONResponse):
    media_type = MEDIA_TYPE


_ANSWER: Final[dict[int | str, dict[str, Any]]] = {
    200: {"description": "Stored: an OperationOutcome, or a Bundle for a Bundle", "content": _FHIR},
    201: {"description": "Stored, and new", "content": _FHIR},
}
_TAKES: Final[dict[str, Any]] = {
    "response_class": FhirResponse,
    "openapi_extra": _BODY,
    "responses": _ANSWER,
    "dependencies": [Depends(_json_only)],
}


@router.get(
    "/metadata",
    response_class=FhirResponse,
    responses={200: {"description": "A CapabilityStatement", "content": _FHIR}},
    dependencies=[Depends(_json_only)],
)
async def metadata() -> FhirResponse:
    """What is taken here."""
    return FhirResponse(outcome.capabilities())


@router.post("", **_TAKES)
async def take_bundle(request: Request, caller: Caller) -> FhirResponse:
    """Take a Bundle: transaction and message as a whole, a batch entry by entry."""
    _known(request, caller)
    raw = await taking.body(request)
    parts = await asyncio.to_thread(receive.parts, raw)
    if parts is None:
        return _answered(await _take(request, caller, raw, Sent()))
    # One after another: a later one may refer to an earlier one.
    entries: list[dict[str, Any]] = []
    for n, part in enumerate(parts):
        try:
            taken = await _take(request, caller, part, Sent())
        except (Problem, Unavailable) as error:
            # Those before it are stored, and a bug of ours in one is no reason to leave out
            # those behind it; but what can't be stored now is told of all that are left.
            if not isinstance(error, Problem) or error.status_code == 503:
                if n == 0:
                    raise
                reason = error.reason if isinstance(error, Problem) else "not_ready"
                entries += [outcome.failed(503, reason)] * (len(parts) - n)
                break
            entries.append(outcome.failed(error.status_code, error.reason))
        else:
            entries.append(outcome.entry_of(taken.exchange, taken.received, n))
    return FhirResponse(outcome.bundle("batch-response", entries))


@router.post("/{type:resource}", **_TAKES)
async def create(
    request: Request, caller: Caller, type: Type, if_none_exist: IfNoneExist = None
) -> FhirResponse:
    """Create one resource; it gets an id of ours."""
    return await _one(request, caller, Sent("POST", type, "", if_none_exist or ""))


@router.put("/{type:resource}", **_TAKES)
async def update_found(
    request: Request,
    caller: Caller,
    type: Type,
    identifier: Annotated[str, Query(max_length=2_000, description="system|value")],
) -> FhirResponse:
    """Replace the one resource that has an identifier, or create it."""
    condition = f"identifier={quote(identifier, safe='')}"
    return await _one(request, caller, Sent("PUT", type, "", condition))


@router.put("/{type:resource}/{id}", **_TAKES)
async def update(request: Request, caller: Caller, type: Type, id: Id) -> FhirResponse:
    """Replace one resource under the sender's own id, or create it."""
    return await _one(request, caller, Sent("PUT", type, id))


async def _one(request: Request, caller: Principal, sent: Sent) -> FhirResponse:
    _known(request, caller)
    if "if-match" in request.headers:
        raise Problem(412, "if_match_unsupported")
    return _answered(await _take(request, caller, await taking.body(request), sent))


def _known(request: Request, caller: Principal) -> None:
    policy: Policy = request.app.state.runtime.policy
    if policy.partners.of(caller.actor.person, caller.hospital) is None:
        raise Problem(403, NotAllowed.UNKNOWN_PARTNER)


async def _take(request: Request, caller: Principal, raw: bytes, sent: Sent) -> Taken:
    asked = command(request, RECEIVE, None)
    taken = await taking.take(request, caller.hospital, caller.actor.person, raw, sent, asked)
    if taken.outcome.fate is Fate.REJECTED:
        raise Problem(500, "unexpected")  # a bug of ours: nothing of it is stored
    return taken


def _answered(taken: Taken) -> FhirResponse:
    if taken.faults:
        body, status = outcome.of_faults(taken.faults), outcome.status_of(taken.faults)
        return FhirResponse(body, status)
    status, headers = outcome.head(taken.exchange, BASE)
    return FhirResponse(outcome.answered(taken.exchange), status, headers)
