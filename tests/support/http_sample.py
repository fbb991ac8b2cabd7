"""A small service over HTTP, for the tests of ``libs/common/http`` itself."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from typing import Annotated, Any

from fastapi import APIRouter, FastAPI, Request, Response
from pydantic import BaseModel, Field

from libs.common.audit import Audit
from libs.common.auth import Role
from libs.common.clock import Ports
from libs.common.decision import Input
from libs.common.fates import Fate, Outcome
from libs.common.http.access import ANY_ROLE, PUBLIC, Access, Caller
from libs.common.http.app import create_app
from libs.common.http.bodies import Body, Day, Moment, NotText, YesNo
from libs.common.http.commands import answer, command, submit
from libs.common.http.idempotency import IdempotencyKey, IfMatch, RequiredIfMatch
from libs.common.http.paging import PageOf, Paging
from libs.common.http.reads import Reads
from libs.common.http.sse import EventStream, LastEventId, Pushed
from libs.common.http.words import Texts
from tests.support.access import Callers

START = datetime(2026, 3, 1, 8, 0, tzinfo=UTC)


@dataclass
class SetClock:
    """A clock that stands still until it is moved."""

    at: datetime = START
    elapsed: float = 0.0
    sleepers: list[tuple[float, asyncio.Future[None]]] = field(default_factory=list)
    has_sleepers: asyncio.Event = field(default_factory=asyncio.Event)

    def now(self) -> datetime:
        return self.at

    def monotonic(self) -> float:
        return self.elapsed

    async def sleep(self, seconds: float) -> None:
        woken: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self.sleepers.append((self.elapsed + seconds, woken))
        self.has_sleepers.set()
        await woken

    def advance(self, seconds: float) -> None:
        self.elapsed += seconds
        self.at += timedelta(seconds=seconds)
        for due, woken in self.sleepers:
            if due <= self.elapsed and not woken.done():
                woken.set_result(None)


@dataclass
class CountedIds:
    given: int = 0

    def new(self) -> str:
        self.given += 1
        return f"id-{self.given}"


class Shade(StrEnum):
    LIGHT = "light"
    DARK = "dark"


class Item(Body):
    name: str = Field(min_length=1, max_length=20)
    count: Annotated[int, Field(ge=1), NotText]


class Order(Body):
    title: str = Field(min_length=1, max_length=40)
    items: list[Item] = Field(max_length=3)
    shade: Shade = Shade.LIGHT
    at: Moment | None = None
    day: Day | None = None
    urgent: YesNo = False


class Change(Body):
    title: str


class Ordered(BaseModel):
    id: str
    version: int


TEXTS: Texts = {
    "limit_reached": {
        "zh-CN": "最多 {limit} 次，请到医院复诊。",
        "en": "At most {limit} times; please see the doctor.",
    }
}

#: Nested prefixes, because the template of a route then has several sources.
orders = APIRouter(prefix="/orders")


@orders.post("", status_code=201, response_model=Ordered)
async def place(request: Request, body: Order, key: IdempotencyKey, caller: Caller) -> Response:
    input = command(request, "order.place", body, subject=caller.actor.person, idempotency_key=key)
    return answer(await submit(request, input), status=201)


@orders.put("/{id}", response_model=Ordered)
async def change(request: Request, id: str, body: Change, if_match: RequiredIfMatch) -> Response:
    input = command(request, "order.change", body, subject=id, if_match=if_match)
    return answer(await submit(request, input))


@orders.post("/{id}/cancellation", response_model=Ordered)
async def cancel(request: Request, id: str, key: IdempotencyKey, if_match: IfMatch) -> Response:
    input = command(
        request, "order.cancel", None, subject=id, if_match=if_match, idempotency_key=key
    )
    return answer(await submit(request, input))


@orders.get("/{id}", response_model=Ordered)
async def show(id: str, reads: Reads) -> Any:
    await reads.of("patient-1", "MedicationRequest", id)
    return {"id": id, "version": 3}


@orders.get("", response_model=PageOf[int])
async def listing(page: Paging) -> Any:
    after = page.after(tuple[int, str])
    first = after[0] + 1 if after else 0
    rows = list(range(first, 120))[: page.fetch]
    return page.of(rows, key=lambda n: (n, str(n)))


other = APIRouter()


@other.get("/stream", response_class=EventStream)
async def stream(request: Request, caller: Caller, last: LastEventId = None) -> Response:
    return request.app.state.streams.response(  # type: ignore[no-any-return]
        request.app.state.events(last), until=caller.expires
    )


@other.get("/broken/{id}")
async def broken(id: str) -> None:
    raise ValueError(f"a secret about {id}")


@other.post("/welcome")
async def welcome(request: Request, body: Change) -> Response:
    input = command(request, "welcome", body, hospital="h9")
    return answer(await submit(request, input))


def routers() -> list[APIRouter]:
    v1 = APIRouter(prefix="/v1")
    v1.include_router(orders)
    v1.include_router(other)
    return [v1]


ACCESS: Access = {
    ("POST", "/v1/orders"): frozenset({Role.PATIENT, Role.GUARDIAN}),
    ("GET", "/v1/orders"): frozenset({Role.DOCTOR}),
    ("GET", "/v1/orders/{id}"): frozenset({Role.PATIENT, Role.DOCTOR}),
    ("PUT", "/v1/orders/{id}"): frozenset({Role.DOCTOR}),
    ("POST", "/v1/orders/{id}/cancellation"): frozenset({Role.PATIENT}),
    ("GET", "/v1/stream"): ANY_ROLE,
    ("GET", "/v1/broken/{id}"): frozenset({Role.OPS}),
    ("POST", "/v1/welcome"): PUBLIC,
}


@dataclass
class RecordedCommands:
    """In place of the runtime: keeps what is submitted, answers what it is told."""

    outcome: Outcome | Exception = field(
        default_factory=lambda: Outcome(Fate.DONE, "done", {"id": "o1", "version": 1})
    )
    inputs: list[Input] = field(default_factory=list)

    async def submit(self, input: Input) -> Outcome:
        self.inputs.append(input)
        if isinstance(self.outcome, Exception):
            raise self.outcome
        return self.outcome


@dataclass
class RecordedAudit:
    """An audit trail in memory. It fails while ``broken``; each write waits for ``open``."""

    writes: list[list[Mapping[str, Any]]] = field(default_factory=list)
    broken: bool = False
    open: asyncio.Event = field(default_factory=asyncio.Event)

    def __post_init__(self) -> None:
        self.open.set()

    async def insert_many(self, rows: Sequence[Mapping[str, Any]], /) -> None:
        await self.open.wait()
        if self.broken:
            raise OSError("no disk")
        self.writes.append(list(rows))

    @property
    def rows(self) -> list[Mapping[str, Any]]:
        return [row for write in self.writes for row in write]


@dataclass
class Sample:
    """The application with everything that a test may want to touch."""

    app: FastAPI
    callers: Callers
    clock: SetClock
    commands: RecordedCommands
    audit: RecordedAudit


def sample(
    *, not_ready: Callable[[], list[str]] = list, access: Access = ACCESS, **more: Any
) -> Sample:
    clock = SetClock()
    ports = Ports(clock=clock, ids=CountedIds())
    callers = Callers(ports)
    app = create_app(
        title="sample",
        routers=more.pop("routers", None) or routers(),
        access=access,
        verifier=callers.verifier,
        ports=ports,
        not_ready=not_ready,
        texts=TEXTS,
        **more,
    )
    commands = RecordedCommands()
    app.state.commands = commands

    trail = RecordedAudit()
    app.state.audit = Audit(service="sample", sink=trail, ports=ports)

    async def events(last: str | None) -> AsyncIterator[Pushed]:
        known = int(last) if last in ("1", "2", "3") else 0
        for n in range(known + 1, 4):
            yield Pushed(str(n), "counted", {"n": n})

    app.state.events = events
    return Sample(app, callers, clock, commands, trail)
