"""How do people read and write in their groups, and staff find what waits for them?

A group that is not the caller's does not exist for them (404). Members see it as long as
they are in it; doctors and nurses of its department always. A read of a group's messages
concerns all who write there: it is recorded once, under the group.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Annotated, Any, Final

from fastapi import APIRouter, Depends, Path, Query, Request, Response
from pydantic import AwareDatetime
from sse_starlette import EventSourceResponse

from libs.common.audit import Outcome
from libs.common.auth import Principal, Role
from libs.common.decision import Common
from libs.common.http.access import Access, Caller
from libs.common.http.commands import answer, command, submit
from libs.common.http.idempotency import IdempotencyKey
from libs.common.http.paging import PageOf, Paging
from libs.common.http.problems import Problem, invalid
from libs.common.http.reads import Reads
from libs.common.http.sse import LastEventId, Pushed
from libs.common.http.words import Language, Texts, language
from libs.common.wakes import Wakes, woken
from services.messaging.api.views import (
    GroupDetail,
    GroupView,
    MessageView,
    Posted,
    QuestionView,
    group_view,
    message_view,
    named_in,
)
from services.messaging.domain.group import Group, Voice
from services.messaging.domain.message import Message, QuestionStatus
from services.messaging.domain.talking import PostMessage
from services.messaging.handlers import POST
from services.messaging.store import Store

GroupId = Annotated[str, Path(max_length=128)]
Number = Annotated[int | None, Query(ge=0, le=2**53, description="Only what came after it.")]
RESOURCE: Final = "Communication"
#: Messages that a stream reads at a time.
PAGE: Final = 100


def _store(request: Request) -> Store:
    return Store(request.app.state.runtime.database)


def _language(request: Request) -> Language:
    return language(request.headers.get("accept-language"))


Groups = Annotated[Store, Depends(_store)]
Reader = Annotated[Language, Depends(_language)]


async def _mine(
    store: Store, caller: Principal, group_id: str, reads: Reads
) -> tuple[Group, Voice]:
    """The caller's group, or 404; either way it is recorded that it was read."""
    found = await store.group(caller.hospital, group_id, caller.actor)
    outcome = Outcome.SUCCESS if found else Outcome.MINOR_FAILURE
    await reads.of("", RESOURCE, group_id, outcome=outcome)
    if found is None:
        raise Problem(404, Common.NOT_FOUND)
    return found


async def _shown(
    store: Store, messages: list[Message], hospital: str, reader: Voice, words: Language
) -> list[MessageView]:
    names = await store.names(hospital, named_in(messages))
    return [message_view(m, reader, names, words) for m in messages]


def router(wakes: Wakes) -> APIRouter:
    routes = APIRouter(prefix="/v1", tags=["groups"])

    @routes.get("/groups", response_model=PageOf[GroupView])
    async def groups(caller: Caller, store: Groups, page: Paging) -> Any:
        """My groups; for staff those of their departments, too."""
        after = page.after(tuple[str])
        mine = await store.groups(caller.hospital, caller.actor)
        rows = [pair for pair in mine if after is None or pair[0].id > after[0]]
        return page.of(rows[: page.fetch], lambda r: (r[0].id,), lambda r: group_view(*r))

    @routes.get("/groups/{group_id}", response_model=GroupDetail)
    async def group(
        group_id: GroupId, caller: Caller, store: Groups, reads: Reads, words: Reader
    ) -> GroupDetail:
        """A group with its rules and education sheets."""
        found, reader = await _mine(store, caller, group_id, reads)
        pinned = await store.pinned(found)
        shown = await _shown(store, pinned, caller.hospital, reader, words)
        return GroupDetail(**group_view(found, reader).model_dump(), pinned=shown)

    @routes.get("/groups/{group_id}/messages", response_model=PageOf[MessageView])
    async def messages(
        group_id: GroupId,
        caller: Caller,
        store: Groups,
        reads: Reads,
        words: Reader,
        page: Paging,
        after: Number = None,
    ) -> Any:
        """The messages of a group, the newest first; with `after` (a `number`) those that
        came since, the oldest first. Numbers have no gaps for staff and never come late, so
        whoever has all up to a number needs to ask only for what comes after it."""
        found, reader = await _mine(store, caller, group_id, reads)
        cursor = page.after(tuple[int])
        bound = cursor[0] if cursor else None
        if bound is not None and not 0 <= bound <= 2**53:
            raise invalid("query", "cursor", "cursor", "invalid_cursor")
        if after is None:
            rows = await store.messages(found, reader, limit=page.fetch, before=bound)
        else:
            since = after if bound is None else max(after, bound)
            rows = await store.messages(found, reader, limit=page.fetch, after=since)
        shown = await _shown(store, rows, caller.hospital, reader, words)
        return page.of(shown, lambda m: (m.number,))

    @routes.get("/groups/{group_id}/live", response_class=EventSourceResponse)
    async def live(
        request: Request,
        group_id: GroupId,
        caller: Caller,
        store: Groups,
        reads: Reads,
        words: Reader,
        last_event_id: LastEventId = None,
    ) -> Response:
        """New messages as server-sent events, each with its `number` as id; from now on, or
        after `Last-Event-ID`. It ends when the caller is no longer in the group."""
        found, _ = await _mine(store, caller, group_id, reads)
        given = last_event_id or ""
        number = int(given) if given.isascii() and given.isdecimal() else found.last_number
        number = min(number, found.last_number)

        async def events() -> AsyncIterator[Pushed]:
            last = number
            with wakes.waiting([(caller.hospital, group_id)]) as event:
                while True:
                    event.clear()
                    mine = await store.group(caller.hospital, group_id, caller.actor)
                    if mine is None:
                        return
                    rows = await store.messages(*mine, limit=PAGE, after=last)
                    for m in await _shown(store, rows, caller.hospital, mine[1], words):
                        yield Pushed(str(m.number), "message", m.model_dump(mode="json"))
                        last = m.number
                    if len(rows) < PAGE:
                        await woken(event)

        streams = request.app.state.streams
        response: Response = streams.response(events(), until=caller.expires)
        return response

    @routes.post("/groups/{group_id}/messages", status_code=201, response_model=Posted)
    async def post(
        request: Request, group_id: GroupId, body: PostMessage, key: IdempotencyKey
    ) -> Response:
        """Say something. A reply by staff to a question answers it."""
        input = command(request, POST, body, subject=group_id, idempotency_key=key)
        return answer(await submit(request, input), status=201)

    @routes.get("/questions", response_model=PageOf[QuestionView])
    async def questions(
        caller: Caller,
        store: Groups,
        reads: Reads,
        words: Reader,
        page: Paging,
        status: QuestionStatus = QuestionStatus.UNANSWERED,
    ) -> Any:
        """What members of my groups have asked, the oldest first."""
        after = page.after(tuple[AwareDatetime, str])
        groups = {
            g.id: (g, v) for g, v in await store.groups(caller.hospital, caller.actor) if v.is_staff
        }
        rows = await store.questions(caller.hospital, groups, status, after=after, limit=page.fetch)
        shown = rows[: page.limit]
        for patient in sorted({m.patient_id or "" for m in shown}):
            ids = [m.id for m in shown if (m.patient_id or "") == patient]
            await reads.of(patient, RESOURCE, *ids)
        names = await store.names(caller.hospital, named_in(shown))

        def view(m: Message) -> QuestionView:
            group, reader = groups[m.group_id]
            return QuestionView(
                group_name=group.name, message=message_view(m, reader, names, words)
            )

        return page.of(rows, lambda m: (m.sent_at, m.id), view)

    return routes


_STAFF: Final = frozenset({Role.DOCTOR, Role.NURSE})
_MEMBERS: Final = _STAFF | {Role.PATIENT, Role.GUARDIAN}

ACCESS: Access = {
    ("GET", "/v1/groups"): _MEMBERS,
    ("GET", "/v1/groups/{group_id}"): _MEMBERS,
    ("GET", "/v1/groups/{group_id}/messages"): _MEMBERS,
    ("GET", "/v1/groups/{group_id}/live"): _MEMBERS,
    ("POST", "/v1/groups/{group_id}/messages"): _MEMBERS,
    ("GET", "/v1/questions"): _STAFF,
}

TEXTS: Texts = {
    "group_closed": {
        "zh-CN": "该群已关闭，不能再发言，历史消息仍可查看。",
        "en": "This group is closed: nothing can be written any more, but it can still be read.",
    },
    "reply_not_found": {
        "zh-CN": "所回复的消息不在本群中。",
        "en": "The message that it answers is not in this group.",
    },
}
