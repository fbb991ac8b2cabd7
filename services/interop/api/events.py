"""How do systems without Kafka publish events? CloudEvents over HTTP.

The answer comes when all of it is durable. Who may write what stands in ``policies/partners``.
"""

from __future__ import annotations

import asyncio
from hashlib import blake2b
from typing import Any, Final

from fastapi import APIRouter, Request
from fastapi.responses import JSONResponse
from pydantic import BaseModel

from libs.common.auth import Principal, Role
from libs.common.decision import Input
from libs.common.fates import Fate, OtherBody, Outcome
from libs.common.http.access import Access, Caller
from libs.common.http.commands import command, submit
from libs.common.http.problems import Problem
from libs.common.http.words import Texts
from services.interop.api.policy import Policy
from services.interop.domain.partners import NotAllowed, Partners
from services.interop.domain.publishing import Invalid, Publish
from services.interop.edge.cloudevents import BATCH, MOST, STRUCTURED, NoBatch, NotRead, Published
from services.interop.edge.cloudevents import read as read_events
from services.interop.handlers import PUBLISH

#: Larger requests are read beside the event loop.
LARGE: Final = 64 * 1024

router = APIRouter(prefix="/v1", tags=["events"])

ACCESS: Access = {("POST", "/v1/events"): frozenset({Role.INTEGRATION})}

TEXTS: Texts = {
    Invalid.BATCH: {
        "zh-CN": "批量请求的正文须为含 1 到 {most} 个 CloudEvents 事件的 JSON 数组。",
        "en": "The body of a batch must be a JSON array of 1 to {most} CloudEvents.",
    },
    Invalid.EVENT: {
        "zh-CN": "第 {index} 个事件无法读取（{fault}）：{place}。整个请求均未保存，请改正后重发。",
        "en": "Event {index} can't be read ({fault}): {place}. Nothing of the request is stored: "
        "mend it and send it again.",
    },
    Invalid.HOSPITAL: {
        "zh-CN": "第 {index} 个事件的 hospital 不是本凭证所属的医院；可省略该属性。",
        "en": "The hospital of event {index} is not that of your credential; it may be left out.",
    },
    Invalid.ID_REUSED: {
        "zh-CN": "第 {index} 个事件的 source 与 id 已用于内容不同的事件；请使用新的 id。"
        "其余事件已保存。",
        "en": "The source and id of event {index} were used for another body: give it a new id. "
        "All others are stored.",
    },
    NotAllowed.UNKNOWN_PARTNER: {
        "zh-CN": "本凭证未登记为合作系统，请联系医院的系统管理员。",
        "en": "Your credential is no partner's; ask the hospital's administrators.",
    },
    NotAllowed.TOPIC: {
        "zh-CN": "第 {index} 个事件的类型属于主题 {topic}，本合作系统无权写入。",
        "en": "The type of event {index} is on the topic {topic}, which you may not write.",
    },
    NotAllowed.SOURCE: {
        "zh-CN": "第 {index} 个事件的 source 未登记给本合作系统。",
        "en": "The source of event {index} is not one of yours.",
    },
}


class Taken(BaseModel):
    """How many events are stored now; ``repeated`` of them were before."""

    accepted: int
    repeated: int


_ANY: Final[dict[str, Any]] = {"schema": {"type": "object"}}
_BODY: Final[dict[str, Any]] = {
    "x-body": "CloudEvents 1.0",
    "requestBody": {
        "required": True,
        "description": "Binary mode (the attributes in `ce-*` headers), structured mode, or a "
        f"batch of at most {MOST} structured events. An event has 64 KiB at most.",
        "content": {
            "application/json": _ANY,
            STRUCTURED: _ANY,
            BATCH: {"schema": {"type": "array", "items": {"type": "object"}, "maxItems": MOST}},
        },
    },
}


@router.post("/events", status_code=202, response_model=Taken, openapi_extra=_BODY)
async def publish(request: Request, caller: Caller) -> JSONResponse:
    """Publish one event or several. 202: all of them are stored and will reach Kafka, in
    their order for each patient. What is sent again is answered again and tells nothing twice."""
    policy: Policy = request.app.state.runtime.policy
    client = caller.actor.person
    if policy.partners.of(client, caller.hospital) is None:
        raise Problem(403, NotAllowed.UNKNOWN_PARTNER)
    events = await _read(request, caller.hospital)
    for index, published in enumerate(events):
        _check(policy.partners, caller, index, published)
    inputs = [_input(request, published) for published in events]
    # Handed over in their order, in which they are decided.
    outcomes = await asyncio.gather(*(submit(request, input) for input in inputs))
    _settled(outcomes)
    repeated = sum(outcome.fate is Fate.DUPLICATE for outcome in outcomes)
    return JSONResponse({"accepted": len(outcomes), "repeated": repeated}, status_code=202)


async def _read(request: Request, hospital: str) -> list[Published]:
    body = await request.body()
    now = request.app.state.ports.clock.now()
    try:
        if len(body) > LARGE:
            return await asyncio.to_thread(
                read_events, request.headers.items(), body, hospital, now
            )
        return read_events(request.headers.items(), body, hospital, now)
    except NoBatch:
        raise Problem(422, Invalid.BATCH, extra={"most": MOST}) from None
    except NotRead as error:
        told = {"index": error.index, "fault": error.reason, "place": error.detail}
        raise Problem(422, Invalid.EVENT, extra=told) from None


def _check(partners: Partners, caller: Principal, index: int, published: Published) -> None:
    event = published.event
    if event.hospital != caller.hospital:
        raise Problem(403, Invalid.HOSPITAL, extra={"index": index})
    topic = event.data.TOPIC
    found = partners.publishing(caller.actor.person, caller.hospital, topic, event.source)
    if isinstance(found, NotAllowed):
        raise Problem(403, found, extra={"index": index, "topic": topic})


def _input(request: Request, published: Published) -> Input:
    """The command, under the event's own identity: a repetition is known by it. The prefix
    keeps it apart from the same event when it comes back from Kafka."""
    event, original = published
    asked = command(request, PUBLISH, None, subject=event.subject)
    return asked._replace(
        id=event.id,
        source=f"/v1/events:{event.source}",
        data=Publish(event=event.data, original=original),
        body_hash=blake2b(original.value, digest_size=16).digest(),
        traceparent=event.traceparent or asked.traceparent,
    )


def _settled(outcomes: list[Outcome]) -> None:
    for index, outcome in enumerate(outcomes):
        if outcome.fate is Fate.REFUSED and outcome.note == OtherBody.IDEMPOTENCY_KEY_REUSED:
            raise Problem(409, Invalid.ID_REUSED, extra={"index": index})
        if outcome.fate is Fate.REJECTED:
            raise Problem(500, "unexpected")  # a bug of ours, logged where it struck
