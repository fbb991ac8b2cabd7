"""A small world for the page's tests: people, events, spans."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import UTC, date, datetime
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from zoneinfo import ZoneInfo

from fastapi import FastAPI

from libs.common.cloudevents import CloudEvent, encode
from libs.common.devstack.page.app import build
from libs.common.devstack.page.settings import Settings
from libs.common.devstack.page.store import Store
from libs.common.devstack.page.traces import SpanRow
from libs.common.devstack.page.views import World
from libs.common.events import (
    Event,
    InvitationAccepted,
    InvitationIssued,
    MemberRole,
    PatientRegistered,
)
from libs.common.kafka.record import Record

T0 = datetime(2026, 11, 18, 2, 0, tzinfo=UTC)
TRACE = "0af7651916cd43dd8448eb211c80319c"
TRACEPARENT = f"00-{TRACE}-b7ad6b7169203331-01"


def event(data: Event, id: str = "e-1", source: str = "/services/enrollment") -> CloudEvent:
    return CloudEvent(
        id=id,
        source=source,
        type=data.TYPE,
        subject=str(getattr(data, data.SUBJECT)),
        time=T0,
        hospital="h1",
        data=data,
        traceparent=TRACEPARENT,
    )


def record(event: CloudEvent, timestamp: int = 1000) -> Record:
    encoded = encode(event)
    made: Any = SimpleNamespace(
        topic=event.data.TOPIC,
        partition=0,
        offset=1,
        key=encoded.key,
        value=encoded.value,
        headers=encoded.headers,
        timestamp=timestamp,
    )
    return made  # type: ignore[no-any-return]


def registered(name: str = "林晓梅", id: str = "p-1", webhook: str | None = None) -> Event:
    return PatientRegistered(
        patient_id=id,
        name=name,
        birth_date=date(1960, 1, 1),
        email=f"{id}@example.org",
        webhook=webhook,
        updated_at=T0,
    )


INVITATION: dict[str, Any] = {
    "invitation_id": "inv-1",
    "patient_id": "p-1",
    "person_id": "p-1",
    "role": MemberRole.PATIENT,
    "group_id": "g-1",
    "programme_id": "stroke",
    "group_number": 1,
    "expires_at": T0,
}


def invited() -> Event:
    return InvitationIssued(**INVITATION, issued_at=T0)


def accepted() -> Event:
    return InvitationAccepted(**INVITATION, accepted_at=T0)


def span(
    name: str,
    start: int = 0,
    end: int = 10,
    *,
    id: str | None = None,
    trace: str = TRACE,
    parent: str = "",
    links: tuple[tuple[str, str], ...] = (),
    batch: bool = False,
) -> SpanRow:
    return SpanRow(
        trace_id=trace,
        span_id=id or name,
        parent_id=parent,
        service="enrollment",
        name=name,
        kind="internal",
        start=start,
        end=end,
        error=False,
        attributes={"messaging.batch.message_count": 3} if batch else {},
        links=links,
    )


async def nothing() -> AsyncIterator[Record]:
    none: list[Record] = []
    for record in none:
        yield record


def page(folder: Path) -> tuple[FastAPI, World]:
    settings = Settings(
        port=8000,
        smtp_port=8025,
        bootstrap="",
        folder=folder,
        topics=folder,
        services={"enrollment": "http://127.0.0.1:8001", "notify": "http://127.0.0.1:8005"},
        issuer="http://127.0.0.1:8000/dev-issuer",
        audience="lianxin",
        zone=ZoneInfo("Asia/Shanghai"),
    )
    app = build(settings, nothing, Store())
    return app, app.state.world
