"""How is a message taken up again, when its profile or our mapping has been mended?

The outcome is what its sender would get by sending it again. What was accepted tells nothing
twice.
"""

from __future__ import annotations

import asyncio
from typing import Annotated, Final

from fastapi import APIRouter, Request, Response
from fastapi.responses import JSONResponse
from pydantic import BaseModel, Field

from libs.common.blobs import StoredBlobs
from libs.common.decision import Common, Input
from libs.common.events.base import Id
from libs.common.fates import Fate, Outcome
from libs.common.http.access import Access, Caller
from libs.common.http.bodies import Body
from libs.common.http.commands import answer, command, submit
from libs.common.http.idempotency import IdempotencyKey
from libs.common.http.problems import Problem
from services.interop.api.messages import WHO, Messages
from services.interop.api.policy import Policy
from services.interop.api.taking import take
from services.interop.domain.receipt import Fault, Format, Receipt, Result, Standing
from services.interop.edge.cuts import joined
from services.interop.edge.fhir.bundle import Request as Sent
from services.interop.handlers import RECEIVE
from services.interop.store import Store

#: Each is read, mapped and stored by itself.
MOST: Final = 100

router = APIRouter(prefix="/v1", tags=["messages"])

ACCESS: Access = {
    ("POST", "/v1/messages/{id}/reprocess"): WHO,
    ("POST", "/v1/reprocessing"): WHO,
}


class Chosen(Body):
    """Which messages to take up again."""

    ids: Annotated[list[Id], Field(min_length=1, max_length=MOST)]


class Again(BaseModel):
    """What became of one message. ``standing`` is null if it failed by a fault of ours."""

    id: str
    standing: Standing | None
    faults: list[Fault]


class AllAgain(BaseModel):
    """In the order in which they were taken up."""

    items: list[Again]


@router.post("/reprocessing", response_model=AllAgain)
async def reprocess_all(
    request: Request, body: Chosen, caller: Caller, store: Messages, key: IdempotencyKey
) -> Response:
    """Take several messages up again: in the order in which they came, whatever the order
    here, so that one patient's are told as they would have been."""
    receipts = await store.receipts_by_id(caller.hospital, set(body.ids))
    if len(receipts) < len(set(body.ids)):
        raise Problem(404, Common.NOT_FOUND)
    items = []
    for receipt in sorted(receipts, key=lambda r: (r.received_at, r.id)):
        asked = command(
            request, RECEIVE, None, subject=receipt.id, idempotency_key=f"{key}/{receipt.id}"
        )
        outcome = await _taken_up(request, store, receipt, asked)
        items.append(_again(receipt, outcome))
    return JSONResponse(AllAgain(items=items).model_dump(mode="json"))


@router.post("/messages/{id}/reprocess", response_model=Result)
async def reprocess(
    request: Request, id: str, caller: Caller, store: Messages, key: IdempotencyKey
) -> Response:
    """Take a refused message up again, as if its sender had sent it again."""
    receipt = await store.receipt(caller.hospital, id)
    if receipt is None:
        raise Problem(404, Common.NOT_FOUND)
    asked = command(request, RECEIVE, None, subject=id, idempotency_key=key)
    return answer(await _taken_up(request, store, receipt, asked))


def _again(receipt: Receipt, outcome: Outcome) -> Again:
    if outcome.fate is Fate.REJECTED or outcome.refusal is not None:
        return Again(id=receipt.id, standing=None, faults=[])
    result = Result.model_validate(outcome.result)
    return Again(id=receipt.id, standing=result.standing, faults=list(result.faults))


async def _taken_up(request: Request, store: Store, receipt: Receipt, asked: Input) -> Outcome:
    body = await store.body(receipt)
    if receipt.format is Format.FHIR:
        sent = Sent.of(body.request)
        arrived, sender = receipt.received_at, receipt.sender
        taken = await take(request, receipt.hospital, sender, body.raw, sent, asked, arrived)
        return taken.outcome
    policy: Policy = request.app.state.runtime.policy
    now = request.app.state.ports.clock.now()
    blobs = StoredBlobs(request.app.state.runtime.database)
    pieces = {c.sha256: await blobs.whole(receipt.hospital, c.sha256) for c in body.cuts}
    raw = await asyncio.to_thread(joined, body.raw, body.cuts, pieces)
    again = await asyncio.to_thread(policy.senders.received, raw, now, receipt.certificate)
    await blobs.put(receipt.hospital, again.blobs)
    again = again.model_copy(update={"blobs": {}})
    return await submit(request, asked._replace(data=again, size=len(again.raw)))
