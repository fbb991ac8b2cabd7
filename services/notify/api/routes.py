"""What can people and operators ask of notify?

A person's inbox, live or in pages, and for operators what became of a notification. The
texts are for the person alone.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterable
from contextlib import aclosing
from datetime import datetime, timedelta
from typing import Annotated, Any

from fastapi import APIRouter, Path, Query, Request, Response

from libs.common.auth import Role
from libs.common.http.access import ANY_ROLE, Access, Caller
from libs.common.http.commands import answer, command, submit
from libs.common.http.paging import PageOf, Paging
from libs.common.http.problems import Problem, invalid, unavailable
from libs.common.http.reads import PatientReads, Reads
from libs.common.http.sse import EventStream, LastEventId, Pushed
from libs.common.wakes import Wakes
from services.notify.api.live import messages_after
from services.notify.api.shapes import (
    InboxItem,
    NotificationState,
    ReadAnswer,
    inbox_item,
    notification_state,
)
from services.notify.domain.inbox import InboxMessage, ReadMessage
from services.notify.domain.texts import Language
from services.notify.handlers import READ
from services.notify.store import InboxReader, NotificationReader

MessageId = Annotated[str, Path(max_length=128, pattern=r"^[A-Za-z0-9][A-Za-z0-9._:@~-]*$")]
#: The largest number that the database keeps as an integer.
_NUMBER_MAX = 2**63 - 1

ACCESS: Access = {
    ("GET", "/v1/inbox"): ANY_ROLE - {Role.INTEGRATION},
    ("GET", "/v1/inbox/live"): ANY_ROLE - {Role.INTEGRATION},
    ("POST", "/v1/inbox/{message_id}/read"): ANY_ROLE - {Role.INTEGRATION},
    ("GET", "/v1/notifications/{notification_id}"): frozenset({Role.OPS}),
}


async def _seen(reads: PatientReads, messages: Iterable[InboxMessage]) -> None:
    """Record whose patients' messages are about to be shown."""
    of: dict[str, list[str]] = {}
    for message in messages:
        if message.patient_id is not None:
            of.setdefault(message.patient_id, []).append(message.id)
    for patient_id, ids in of.items():
        await reads.of(patient_id, "Communication", *ids)


def router(wakes: Wakes) -> APIRouter:
    """The routes; ``wakes`` is what the process's own commits wake live streams by."""
    routes = APIRouter()

    @routes.get("/v1/inbox", response_model=PageOf[InboxItem], tags=["inbox"])
    async def read_inbox(
        request: Request, caller: Caller, reads: Reads, page: Paging
    ) -> dict[str, object]:
        """The caller's messages, the latest first."""
        before = page.after(tuple[datetime, str])
        if before is not None and before[0].tzinfo is None:
            raise invalid("query", "cursor", "cursor", "invalid_cursor")
        inbox = _inbox(request)
        person = await inbox.person(caller.hospital, caller.actor.person)
        found = await inbox.page(person, before=before, limit=page.fetch)
        await _seen(reads, found[: page.limit])
        default = _default_language(request)
        return page.of(found, lambda m: (m.at, m.id), lambda m: inbox_item(m, person, default))

    @routes.get(
        "/v1/inbox/live",
        tags=["inbox"],
        response_class=EventStream,
    )
    async def live_inbox(
        request: Request,
        caller: Caller,
        reads: Reads,
        last_event_id: LastEventId = None,
        after: Annotated[
            int | None,
            Query(
                ge=0, le=_NUMBER_MAX, description="Begin after this number; else with what is new."
            ),
        ] = None,
    ) -> Response:
        """New messages as server-sent events ``message``; each event's id is its number."""
        inbox = _inbox(request)
        person = await inbox.person(caller.hospital, caller.actor.person)
        number = _number(last_event_id)
        if number is None:
            number = person.inbox_last if after is None else after
        default = _default_language(request)

        async def events() -> AsyncIterator[Pushed]:
            async with aclosing(messages_after(number, person, inbox=inbox, wakes=wakes)) as stream:
                async for message in stream:
                    await _seen(reads, [message])
                    item = inbox_item(message, person, default)
                    yield Pushed(str(message.number), "message", item.model_dump(mode="json"))

        settings = request.app.state.runtime.settings
        ends = request.app.state.ports.clock.now() + timedelta(seconds=settings.live_seconds)
        response: Response = request.app.state.streams.response(
            events(), until=min(caller.expires, ends)
        )
        return response

    @routes.post("/v1/inbox/{message_id}/read", response_model=ReadAnswer, tags=["inbox"])
    async def mark_read(request: Request, caller: Caller, message_id: MessageId) -> Response:
        """Mark a message of the caller's as read; said again, nothing changes."""
        data = ReadMessage(message_id=message_id)
        return answer(await submit(request, command(request, READ, data, subject=message_id)))

    @routes.get(
        "/v1/notifications/{notification_id}",
        response_model=NotificationState,
        tags=["operations"],
    )
    async def read_notification(
        request: Request, caller: Caller, reads: Reads, notification_id: MessageId
    ) -> NotificationState:
        """What became of a notification, by channel."""
        reader = NotificationReader(_runtime(request).database)
        found = await reader.read(caller.hospital, notification_id)
        if found is None:
            raise Problem(404, "not_found")
        notification, message, deliveries = found
        if notification.patient_id is not None:
            await reads.of(notification.patient_id, "Communication", notification.id)
        return notification_state(notification, message, deliveries)

    return routes


def _number(last_event_id: str | None) -> int | None:
    """The number that a client has seen last; what is not ours counts as nothing."""
    text = last_event_id or ""
    if text.isascii() and text.isdecimal() and len(text) < 19:
        return int(text)
    return None


def _runtime(request: Request) -> Any:
    runtime = getattr(request.app.state, "runtime", None)
    if runtime is None:
        raise unavailable("not_ready")
    return runtime


def _inbox(request: Request) -> InboxReader:
    return InboxReader(_runtime(request).database)


def _default_language(request: Request) -> Language:
    runtime = _runtime(request)
    default: Language = runtime.policy.at(runtime.ports.clock.now()).default_language
    return default
