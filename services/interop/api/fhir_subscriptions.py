"""How does a receiver of FHIR notifications ask for a subscription's status and events?

The operations ``$status`` and ``$events`` of the R4 backport, for the subscriptions of
``/v1/subscriptions`` whatever their format.
"""

from __future__ import annotations

import json
from typing import Annotated, Any, Final, Literal

from fastapi import APIRouter, Depends, Query, Request
from fastapi.responses import JSONResponse
from pydantic import BaseModel, ConfigDict, Field

from libs.common.auth import Role
from libs.common.http.access import Access, Caller
from libs.common.http.problems import invalid
from libs.common.http.reads import Reads
from services.interop.api.gaps import MOST, recorded
from services.interop.api.subscriptions import Store, Theirs, policy_of
from services.interop.domain.delivery import DeliveryStatus
from services.interop.edge.fhir_out.notifications import (
    MEDIA_TYPE,
    is_full,
    notification,
    statuses,
)

router = APIRouter(prefix="/fhir/Subscription", tags=["fhir"])

_WHO: Final = frozenset({Role.INTEGRATION})
ACCESS: Access = {
    (method, f"/fhir/Subscription/{{id}}/{operation}"): _WHO
    for method in ("GET", "POST")
    for operation in ("$status", "$events")
}


class Fhir(JSONResponse):
    media_type = MEDIA_TYPE


async def _status(found: Theirs) -> Fhir:
    """The status as a search set with one ``Parameters``."""
    return Fhir(statuses(*found))


class Range(BaseModel):
    """Which events are asked for, and how much of them."""

    model_config = ConfigDict(extra="ignore")

    since: int = Field(0, alias="eventsSinceNumber", ge=0, le=10**15)
    until: int | None = Field(None, alias="eventsUntilNumber", ge=0, le=10**15)
    content: Literal["empty", "id-only", "full-resource"] | None = None


async def _range(
    request: Request,
    since: Annotated[
        int, Query(alias="eventsSinceNumber", ge=0, le=10**15, description="The first one.")
    ] = 0,
    until: Annotated[
        int | None, Query(alias="eventsUntilNumber", ge=0, le=10**15, description="The last one.")
    ] = None,
    content: Annotated[
        Literal["empty", "id-only", "full-resource"] | None,
        Query(description="As the subscription, if absent."),
    ] = None,
) -> Range:
    """From the query, or, with POST, from a body of ``Parameters`` as FHIR has operations."""
    named = {"eventsSinceNumber": since, "eventsUntilNumber": until, "content": content}
    if request.method == "POST" and (body := await request.body()):
        try:
            named |= {
                part["name"]: next(v for k, v in part.items() if k.startswith("value"))
                for part in json.loads(body)["parameter"]
            }
            return Range.model_validate(named)
        except (ValueError, LookupError, TypeError, AttributeError, StopIteration):
            raise invalid("body", "Parameters.parameter", "value_error") from None
    return Range.model_validate(named)


async def _events(
    request: Request,
    found: Theirs,
    caller: Caller,
    store: Store,
    reads: Reads,
    asked: Annotated[Range, Depends(_range)],
) -> Fhir:
    """Events from one number to another, at most 200: as one notification."""
    subscription, agenda = found
    since, until, content = max(asked.since, 1) - 1, asked.until, asked.content
    rows = await store.events(subscription, since=since, until=until, limit=MOST)
    partner = policy_of(request).partners.of(caller.actor.person, caller.hospital)
    allowed = frozenset() if partner is None else partner.types
    told = [d for d in rows if d.type in allowed and d.status is not DeliveryStatus.DISCARDED]
    full = is_full(subscription) if content is None else content == "full-resource"
    if content != "empty":  # a resource's id may be its patient's
        await recorded(told, reads)
    now = request.app.state.ports.clock.now()
    whole = notification(
        subscription,
        "query-event",
        agenda.number,
        now,
        () if content == "empty" else told,
        full=full,
        dropped=agenda.dropped,
    )
    return Fhir(whole)


_ANSWER: Final[dict[int | str, dict[str, Any]]] = {
    200: {"content": {MEDIA_TYPE: {"schema": {"type": "object"}}}}
}
for _operation, _does in (("$status", _status), ("$events", _events)):
    for _method in ("GET", "POST"):
        router.add_api_route(
            f"/{{id}}/{_operation}",
            _does,
            methods=[_method],
            response_class=Fhir,
            responses=_ANSWER,
            name=f"{_method} {_operation}",
        )
