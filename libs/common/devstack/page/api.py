"""What can a test or a script ask the page, as JSON?"""

from __future__ import annotations

from dataclasses import asdict
from typing import Annotated, Any

from fastapi import APIRouter, HTTPException, Query

from libs.common.devstack.page.timeline import Entry
from libs.common.devstack.page.traces import SpanRow
from libs.common.devstack.page.views import World


def router(world: World) -> APIRouter:
    routes = APIRouter(prefix="/api")

    @routes.get("/timeline")
    async def timeline(limit: Annotated[int, Query(ge=1, le=5000)] = 1000) -> dict[str, Any]:
        """The newest entries first."""
        return {"entries": [_entry(world, e) for e in world.timeline.latest(limit)]}

    @routes.get("/traces")
    async def traces(limit: Annotated[int, Query(ge=1, le=1000)] = 200) -> dict[str, Any]:
        """The newest traces of records and requests first; times in unix ns."""
        return {"traces": [asdict(t) for t in world.traces.latest(limit)]}

    @routes.get("/traces/{trace_id}")
    async def trace(trace_id: str) -> dict[str, Any]:
        """Its spans, and (``linked``) those of the batches that it is linked with."""
        own, linked = world.traces.get(trace_id)
        if not own:
            raise HTTPException(404, "no such trace")
        return {
            "trace_id": trace_id,
            "services": list(dict.fromkeys(s.service for s in own)),
            "spans": [_span(s, False) for s in own] + [_span(s, True) for s in linked],
        }

    @routes.get("/phones")
    async def phones() -> dict[str, Any]:
        """What arrived on each phone, the newest first; times in unix ms."""
        return {
            "phones": [
                {
                    "hospital": p.owner.hospital,
                    "person": p.owner.id,
                    "name": p.owner.name,
                    "roles": sorted(p.owner.roles),
                    "messages": [asdict(m) for m in p.messages],
                }
                for p in world.phones.all()
            ]
        }

    @routes.get("/services")
    async def services() -> dict[str, Any]:
        return {
            name: {"url": url, "status": world.health.status[name]}
            for name, url in world.health.urls.items()
        }

    return routes


def _entry(world: World, entry: Entry) -> dict[str, Any]:
    event = entry.event
    return {
        "id": entry.id,
        "kind": entry.kind,
        "at": entry.at,
        "time": entry.occurred.isoformat(),
        "service": entry.service,
        "type": event.type if event else None,
        "hospital": event.hospital if event else None,
        "subject": event.subject if event else None,
        "patient": world.timeline.patient(entry, "zh"),
        "zh": world.timeline.told(entry, "zh"),
        "en": world.timeline.told(entry, "en"),
        "trace_id": entry.trace_id,
    }


def _span(span: SpanRow, linked: bool) -> dict[str, Any]:
    return {**asdict(span), "linked": linked}
