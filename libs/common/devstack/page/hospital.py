"""How does a person play the hospital's systems by hand? With ``POST /events``.

The body is a CloudEvent in structured JSON mode, as in ``contracts/``; it goes to its topic
on Kafka like those of a real system. No page of another site can send it, because its
content type needs a permission (CORS) that is never given here.
"""

from __future__ import annotations

import secrets
import time
from dataclasses import dataclass
from typing import Any, Final

from fastapi import APIRouter, HTTPException, Request

from libs.common.cloudevents import MAX_BYTES, CloudEvent, Undecodable, UnknownType, decode, encode
from libs.common.devstack.page.traces import SpanRow
from libs.common.devstack.page.views import World
from libs.common.kafka.client import BusError
from libs.common.kafka.producer import Producer

CONTENT_TYPE: Final = "application/cloudevents+json"
#: The topics that a hospital's systems write.
TOPICS: Final = "hospital."


@dataclass(frozen=True, slots=True)
class _Row:
    topic: str
    key: bytes
    value: bytes
    headers: list[tuple[str, bytes]]


def router(world: World) -> APIRouter:
    routes = APIRouter()

    @routes.post("/events", status_code=202)
    async def publish(request: Request) -> dict[str, str]:
        """Put one event on its topic; ``trace`` is where to watch what comes of it."""
        event = _read(request.headers.get("content-type", ""), await request.body())
        topic = event.data.TOPIC
        span = _span(event)
        sent = event._replace(traceparent=f"00-{span.trace_id}-{span.span_id}-01")
        # The event's id makes a repetition harmless: no idempotent producer is needed.
        producer = Producer(world.settings.bootstrap, idempotent=False)
        try:
            await producer.start()
            await producer.send([_Row(topic, *encode(sent))])
        except BusError as error:
            raise HTTPException(503, f"Kafka does not take it: {error}") from error
        finally:
            await producer.abandon()
        world.traces.add([span])
        page = f"http://127.0.0.1:{world.settings.port}"
        return {"id": sent.id, "topic": topic, "trace": f"{page}/traces/{span.trace_id}"}

    return routes


def _read(content_type: str, body: bytes) -> CloudEvent:
    if content_type.partition(";")[0].strip().lower() != CONTENT_TYPE:
        raise HTTPException(415, f"Content-Type must be {CONTENT_TYPE}")
    if len(body) > MAX_BYTES:
        raise HTTPException(413, f"at most {MAX_BYTES} bytes")
    try:
        event = decode([("content-type", CONTENT_TYPE.encode())], body)
    except Undecodable as error:
        raise HTTPException(400, f"{error.reason}: {error.detail}") from None
    except UnknownType as error:
        raise HTTPException(400, f"{error} is none of the types in contracts/schemas") from None
    if not event.data.TOPIC.startswith(TOPICS):
        raise HTTPException(400, f"{event.type} is told by the platform, not by a hospital")
    return event


def _span(event: CloudEvent) -> SpanRow:
    """The beginning of the event's trace, or its place in the one that it names."""
    before = event.traceparent or ""
    attributes: dict[str, Any] = {
        "cloudevents.event_type": event.type,
        "cloudevents.event_id": event.id,
        "messaging.destination.name": event.data.TOPIC,
    }
    now = time.time_ns()
    return SpanRow(
        trace_id=before[3:35] or secrets.token_hex(16),
        span_id=secrets.token_hex(8),
        parent_id=before[36:52],
        service="hospital",
        name=f"publish {event.data.TOPIC}",
        kind="producer",
        start=now,
        end=now,
        error=False,
        attributes=attributes,
        links=(),
    )
