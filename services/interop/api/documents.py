"""How is a document that came with a message read?

By staff, and by the systems that an event sends here. A patient reads it with the report that it
belongs to, when and if that is released. Each read is recorded before the first byte leaves.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Final

from fastapi import APIRouter, Request
from fastapi.responses import StreamingResponse

from libs.common.audit import Outcome
from libs.common.auth import Role
from libs.common.blobs import StoredBlobs
from libs.common.decision import Common
from libs.common.events import ReportReady
from libs.common.http.access import Access, Caller
from libs.common.http.problems import Problem
from libs.common.http.reads import Reads
from services.interop.api.subscriptions import policy_of
from services.interop.domain.document import may_read
from services.interop.store import Store

#: The FHIR type of what is read here.
RESOURCE: Final = "Binary"

router = APIRouter(prefix="/v1", tags=["documents"])

ACCESS: Access = {
    ("GET", "/v1/documents/{id}"): frozenset({Role.OPS, Role.INTEGRATION, Role.DOCTOR, Role.NURSE}),
}


@router.get(
    "/documents/{id}",
    response_class=StreamingResponse,
    responses={200: {"content": {"*/*": {}}, "description": "The document, as it came"}},
)
async def document(id: str, request: Request, caller: Caller, reads: Reads) -> StreamingResponse:
    """One document, in its own media type; to be saved, not shown: it came from elsewhere."""
    database = request.app.state.runtime.database
    found = await Store(database).document(caller.hospital, id)
    if found is None:
        raise Problem(404, Common.NOT_FOUND)
    partner = policy_of(request).partners.of(caller.actor.person, caller.hospital)
    is_told = partner is not None and ReportReady.TOPIC in partner.subscribes
    if not may_read(found, caller.actor, is_told_reports=is_told):
        await reads.of(found.patient_id, RESOURCE, id, outcome=Outcome.MINOR_FAILURE)
        raise Problem(404, Common.NOT_FOUND)
    await reads.of(found.patient_id, RESOURCE, id)
    pieces = StoredBlobs(database).read(caller.hospital, found.sha256)
    first = await anext(pieces)  # before the status leaves: the database may be away

    async def content() -> AsyncIterator[bytes]:
        yield first
        async for piece in pieces:
            yield piece

    headers = {
        "Content-Length": str(found.size),
        "Content-Disposition": f'attachment; filename="{id}"',
        "X-Content-Type-Options": "nosniff",
        "Content-Security-Policy": "sandbox; default-src 'none'",
        "Cache-Control": "no-store",
        "ETag": f'"{found.sha256}"',
    }
    return StreamingResponse(content(), media_type=found.content_type, headers=headers)
