"""How does a receiver find what it lacks, and fetch it?

By the number: a gap between two deliveries, or between the last one and a heartbeat's
``last``, is read here. Each read of a patient's event is recorded.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Sequence
from datetime import datetime
from typing import Annotated, Any, Final

from fastapi import APIRouter, Query, Request
from pydantic import BaseModel, Field

from libs.common.auth import Role
from libs.common.http.access import Access, Caller
from libs.common.http.reads import PatientReads, Reads
from services.interop.api.subscriptions import Store, Theirs, policy_of
from services.interop.domain.delivery import Delivery, DeliveryStatus

#: The FHIR type of what is read here.
RESOURCE: Final = "Communication"
#: Events of one page: each may have 64 KiB.
MOST: Final = 200

router = APIRouter(prefix="/v1/subscriptions", tags=["subscriptions"])

ACCESS: Access = {
    ("GET", "/v1/subscriptions/{id}/events"): frozenset({Role.INTEGRATION, Role.OPS}),
}


class EventItem(BaseModel):
    """One numbered event. ``event`` is the CloudEvent as it is delivered; operators, and
    partners that may not have its type any more, do not see it, and of one that was dropped
    (``discarded``) it is gone."""

    number: int
    id: str = Field(description="The delivery, and its `webhook-id`.")
    type: str
    status: DeliveryStatus
    attempt: int
    reason: str = Field(description="Why the last attempt failed.")
    at: datetime
    next_attempt_at: datetime | None
    event: dict[str, Any] | None


class Events(BaseModel):
    """``next`` goes into the next request as ``since``, null at the end; ``last`` is the number
    of the last event that there is; up to ``dropped`` what was not delivered is gone."""

    items: list[EventItem]
    next: int | None
    last: int
    dropped: int


async def recorded(deliveries: Sequence[Delivery], reads: PatientReads) -> None:
    """Who reads events has read of these patients."""
    by_patient: dict[str, list[str]] = {}
    for delivery in deliveries:
        by_patient.setdefault(delivery.patient_id, []).append(delivery.id)
    await asyncio.gather(*(reads.of(p, RESOURCE, *ids) for p, ids in by_patient.items() if p))


@router.get("/{id}/events", response_model=Events)
async def events(
    request: Request,
    found: Theirs,
    caller: Caller,
    store: Store,
    reads: Reads,
    since: Annotated[int, Query(ge=0, le=10**15, description="The last number you have.")] = 0,
    status: Annotated[DeliveryStatus | None, Query(description="Only those: parked …")] = None,
    limit: Annotated[int, Query(ge=1, le=MOST)] = 100,
) -> Any:
    """What was numbered after ``since``, delivered or not, in order of the numbers. Delivered
    events stay for some days (14, if the hospital has not set another number)."""
    subscription, agenda = found
    rows = await store.events(subscription, since=since, status=status, limit=limit + 1)
    shown, more = rows[:limit], len(rows) > limit
    partner = policy_of(request).partners.of(caller.actor.person, caller.hospital)
    allowed = frozenset() if partner is None else partner.types
    readable = subscription.client == caller.actor.person
    there = [d for d in shown if d.status is not DeliveryStatus.DISCARDED]
    told = [d for d in there if readable and d.type in allowed]
    await recorded(told, reads)
    visible = {d.id for d in told}
    return {
        "items": [
            {
                "number": d.number,
                "id": d.id,
                "type": d.type,
                "status": d.status,
                "attempt": d.attempt,
                "reason": d.reason,
                "at": d.at,
                "next_attempt_at": d.next_attempt_at,
                "event": json.loads(d.event) if d.id in visible else None,
            }
            for d in shown
        ],
        "next": shown[-1].number if more else None,
        "last": agenda.number,
        "dropped": agenda.dropped,
    }
