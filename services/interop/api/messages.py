"""What has come in, what was refused and why, and how is it taken up again?

For whoever runs the interfaces. A message holds a patient's data: each read is recorded.
"""

from __future__ import annotations

import asyncio
from datetime import datetime
from typing import Annotated, Any, Final

from fastapi import APIRouter, Depends, Query, Request, Response
from fastapi.responses import JSONResponse
from pydantic import BaseModel

from libs.common.auth import Role
from libs.common.decision import Common
from libs.common.http.access import Access, Caller
from libs.common.http.idempotency import etag
from libs.common.http.paging import PageOf, Paging
from libs.common.http.problems import Problem
from libs.common.http.reads import Reads
from services.interop.domain.receipt import Fault, Format, Receipt, Standing
from services.interop.edge.hl7 import charset
from services.interop.edge.hl7.refused import Refused
from services.interop.store import Store, keyset

#: The FHIR type of what is read here.
RESOURCE: Final = "MessageHeader"
WHO: Final = frozenset({Role.OPS})

router = APIRouter(prefix="/v1", tags=["messages"])

ACCESS: Access = {
    ("GET", "/v1/messages"): WHO,
    ("GET", "/v1/messages/{id}"): WHO,
}


class EventRef(BaseModel):
    type: str
    id: str


class MessageItem(BaseModel):
    """A message without its content. ``control_id`` is the sender's (MSH-10; FHIR: the
    Bundle's identifier or id)."""

    id: str
    format: Format
    sender: str
    control_id: str
    type: str
    received_at: datetime
    standing: Standing
    faults: list[Fault]
    notes: list[str]
    events: list[EventRef]


class MessageView(MessageItem):
    """``raw`` as it came, in the character set that it names; segments end with CR. In place of
    an embedded document of more than 64 KiB stands the SHA-256 of its content."""

    raw: str


def _store(request: Request) -> Store:
    return Store(request.app.state.runtime.database)


Messages = Annotated[Store, Depends(_store)]


def _item(receipt: Receipt) -> dict[str, Any]:
    return {
        "id": receipt.id,
        "format": receipt.format,
        "sender": receipt.sender,
        "control_id": receipt.control.rpartition("|")[2],
        "type": receipt.type,
        "received_at": receipt.received_at,
        "standing": receipt.standing,
        "faults": [fault.model_dump() for fault in receipt.faults],
        "notes": list(receipt.notes),
        "events": [{"type": type, "id": id} for type, id in receipt.events],
    }


def _text(format: Format, raw: bytes) -> str:
    if format is Format.FHIR:
        return raw.decode("utf-8", "backslashreplace")
    try:
        return charset.decode(raw)[0]
    except Refused:
        return raw.decode("ascii", "backslashreplace")


@router.get("/messages", response_model=PageOf[MessageItem])
async def messages(
    caller: Caller,
    store: Messages,
    page: Paging,
    standing: Annotated[Standing | None, Query(description="accepted, refused …")] = None,
) -> Any:
    """The newest first."""
    rows = await store.receipts(
        caller.hospital, standing, after=page.after(tuple[datetime, str]), limit=page.fetch
    )
    return page.of(rows, key=keyset, item=_item)


@router.get("/messages/{id}", response_model=MessageView)
async def message(id: str, caller: Caller, store: Messages, reads: Reads) -> Response:
    """One message with its content."""
    receipt = await store.receipt(caller.hospital, id)
    if receipt is None:
        raise Problem(404, Common.NOT_FOUND)
    await reads.of(receipt.patient_id, RESOURCE, id)
    text = await asyncio.to_thread(_text, receipt.format, (await store.body(receipt)).raw)
    body = MessageView(**_item(receipt), raw=text)
    return JSONResponse(body.model_dump(mode="json"), headers={"ETag": etag(receipt.version)})
