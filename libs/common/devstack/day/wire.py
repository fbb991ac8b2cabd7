"""How do a hospital's systems and the people of a day reach the platform?

Systems publish to Kafka, people call the services with tokens of the development issuer,
and what the services tell is heard on their topics. Tests use the same.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections import defaultdict
from collections.abc import Awaitable, Callable, Iterator, Mapping
from contextlib import aclosing
from dataclasses import dataclass
from typing import Any, Self, TypeVar, cast

import httpx

from libs.common import bus, telemetry
from libs.common.bus import BusError
from libs.common.clock import Ports
from libs.common.cloudevents import CloudEvent, Undecodable, UnknownType, decode, encode
from libs.common.dev_issuer import DevelopmentIssuer
from libs.common.devstack import topics
from libs.common.devstack.day.cast import Caller
from libs.common.devstack.places import SERVICES
from libs.common.devstack.stack import Stack
from libs.common.events import Event

HOSPITAL = "h1"
#: The hospital's information system, as the ``source`` of its events.
HIS = f"/hospitals/{HOSPITAL}/his"
#: Seconds within which anything must have happened. Far more than it takes: the machine may
#: be busy.
DEADLINE = 30.0
LOOK_EVERY = 0.2

Query = Mapping[str, str | int]
E = TypeVar("E", bound=Event)
T = TypeVar("T")


class Failed(Exception):
    """What should have been and was not, in words for people."""


@dataclass(frozen=True, slots=True)
class _Row:
    topic: str
    key: bytes
    value: bytes
    headers: list[tuple[str, bytes]]


class Wire:
    """``async with Wire.of(stack) as wire``: everything between the day and the platform."""

    def __init__(
        self,
        bootstrap: str,
        services: Mapping[str, str],
        page: str,
        issuer: DevelopmentIssuer,
        *,
        idempotent: bool = True,
    ) -> None:
        self.services, self.page, self.issuer = services, page, issuer
        self.ports = Ports()
        self._bootstrap, self._idempotent = bootstrap, idempotent
        self._tokens: dict[Caller, str] = {}
        self._heard: defaultdict[type[Event], list[CloudEvent]] = defaultdict(list)
        self._news = asyncio.Event()
        self._began = 0
        self._known: set[tuple[str, str]] = set()
        #: (topic, reason) of every dead letter since the beginning.
        self.dead_letters: list[tuple[str, str]] = []

    @classmethod
    def of(cls, stack: Stack) -> Wire:
        return cls(
            stack.bootstrap,
            {name: stack.service_url(name) for name in SERVICES},
            f"http://127.0.0.1:{stack.ports.page}",
            stack.issuer(),
            idempotent=stack.environment.get("KAFKA_IDEMPOTENCE") != "off",
        )

    async def __aenter__(self) -> Self:
        self._began = time.time_ns() // 1_000_000
        self._http = httpx.AsyncClient(timeout=DEADLINE, trust_env=False)
        self._telemetry = telemetry.setup("hospital", endpoint=self.page, install=False)
        self._tracer = self._telemetry.provider.get_tracer(__name__)
        self._producer = bus.Producer(self._bootstrap, idempotent=self._idempotent)
        await self._producer.start()
        self._listening = asyncio.create_task(self._listen(), name="day-listens")
        return self

    async def __aexit__(self, *_: object) -> None:
        self._listening.cancel()
        with contextlib.suppress(asyncio.CancelledError, BusError):
            await self._listening
        await self._producer.abandon()
        await self._http.aclose()
        await asyncio.to_thread(self._telemetry.shutdown)

    # -- systems ------------------------------------------------------------------------

    @contextlib.contextmanager
    def tracing(self, name: str) -> Iterator[str]:
        """What is published and called inside belongs to one trace, whose id this yields."""
        with self._tracer.start_as_current_span(name) as span:
            yield f"{span.get_span_context().trace_id:032x}"

    def event(self, data: Event, *, id: str = "", source: str = HIS) -> CloudEvent:
        """``data`` as the hospital's system sends it now."""
        return CloudEvent(
            id=id or self.ports.ids.new(),
            source=source,
            type=data.TYPE,
            subject=str(getattr(data, data.SUBJECT)),
            time=self.ports.clock.now(),
            hospital=HOSPITAL,
            data=data,
            traceparent=telemetry.current_traceparent(),
        )

    async def publish(self, *events: Event | CloudEvent) -> list[str]:
        """Send, wait for the broker's acknowledgement; the events' ids."""
        sent = [e if isinstance(e, CloudEvent) else self.event(e) for e in events]
        await self.send([(e.data.TOPIC, *encode(e)) for e in sent])
        return [e.id for e in sent]

    async def send(self, records: list[tuple[str, bytes, bytes, list[tuple[str, bytes]]]]) -> None:
        """Send raw records: (topic, key, value, headers)."""
        rows = [_Row(*r) for r in records]
        while rows:
            taken = set(map(id, await self._producer.send(rows)))
            rows = [r for r in rows if id(r) not in taken]

    # -- what is told -------------------------------------------------------------------

    async def _listen(self) -> None:
        names = [t.name for t in topics.specs()]
        while True:
            try:
                records = bus.read_all(self._bootstrap, names)
                async with aclosing(records):  # type: ignore[type-var]
                    async for record in records:
                        if record.timestamp >= self._began:
                            self._hear(record)
            except BusError:
                await asyncio.sleep(1)

    def _hear(self, record: bus.Record) -> None:
        if record.topic.endswith(".dlq"):
            reason = dict(record.headers).get("dlq_reason", b"").decode(errors="replace")
            self.dead_letters.append((record.topic, reason))
        else:
            with contextlib.suppress(Undecodable, UnknownType):
                event = decode(record.headers, record.value)
                if (event.source, event.id) not in self._known:  # they may come twice
                    self._known.add((event.source, event.id))
                    self._heard[type(event.data)].append(event)
        self._news.set()
        self._news = asyncio.Event()

    def heard(self, kind: type[E], **fields: object) -> list[CloudEvent]:
        """The events of one class since the beginning whose data have these fields."""
        return [e for e in self._heard[kind] if _has(e.data, fields)]

    async def hears(
        self, kind: type[E], what: str = "", within: float = DEADLINE, **fields: object
    ) -> E:
        """The first such event, which must come; ``what`` says so to people."""
        try:
            async with asyncio.timeout(within):
                seen = 0
                while True:
                    news, events = self._news, self._heard[kind]
                    for event in events[seen:]:
                        if _has(event.data, fields):
                            return cast(E, event.data)
                    seen = len(events)
                    await news.wait()
        except TimeoutError:
            told = what or f"{kind.TYPE} with {fields}"
            raise Failed(f"{told}: not told within {within:.0f} s") from None

    # -- people -------------------------------------------------------------------------

    def token(self, who: Caller) -> str:
        if who not in self._tokens:
            self._tokens[who] = self.issuer.token(
                person=who.id, hospital=HOSPITAL, roles=who.roles, departments=who.departments
            )
        return self._tokens[who]

    async def call(
        self,
        who: Caller | None,
        method: str,
        service: str,
        path: str,
        *,
        body: Any = None,
        expect: int | None = 200,
        headers: Mapping[str, str] | None = None,
        query: Query | None = None,
    ) -> httpx.Response:
        """One request; another status than ``expect`` (None: any) is a failure."""
        told = {"Idempotency-Key": self.ports.ids.new()} if method == "POST" else {}
        if who is not None:
            told["Authorization"] = f"Bearer {self.token(who)}"
        if (traceparent := telemetry.current_traceparent()) is not None:
            told["traceparent"] = traceparent
        answer = await self._http.request(
            method,
            self.services.get(service, self.page) + path,
            json=body,
            params=query,
            headers={**told, **(headers or {})},
        )
        if expect is not None and answer.status_code != expect:
            raise Failed(
                f"{method} {service}{path} as {who.roles[0] if who else 'anybody'}: "
                f"{answer.status_code} instead of {expect}: {answer.text[:300]}"
            )
        return answer

    async def get(
        self,
        who: Caller | None,
        service: str,
        path: str,
        query: Query | None = None,
        expect: int = 200,
    ) -> Any:
        answer = await self.call(who, "GET", service, path, expect=expect, query=query)
        return answer.json()

    async def post(
        self,
        who: Caller | None,
        service: str,
        path: str,
        body: Any = None,
        expect: int = 200,
        headers: Mapping[str, str] | None = None,
    ) -> Any:
        answer = await self.call(
            who, "POST", service, path, body=body, expect=expect, headers=headers
        )
        return answer.json()

    async def items(
        self, who: Caller, service: str, path: str, query: Query | None = None
    ) -> list[dict[str, Any]]:
        """All items of a list, page by page."""
        found: list[dict[str, Any]] = []
        asked = {"limit": 200, **(query or {})}
        while True:
            page = await self.get(who, service, path, asked)
            found += page["items"]
            if page["next"] is None:
                return found
            asked["cursor"] = page["next"]

    async def inbox(self, who: Caller) -> list[dict[str, Any]]:
        """The person's in-app inbox, the latest first."""
        return await self.items(who, "notify", "/v1/inbox")

    async def told(self, who: Caller, template: str, count: int = 1, **fields: object) -> Any:
        """The latest of ``count`` messages of ``template`` that must come to the inbox."""

        async def look() -> Any:
            found = [
                m
                for m in await self.inbox(who)
                if m["template"] == template and all(m.get(k) == v for k, v in fields.items())
            ]
            return found[0] if len(found) >= count else None

        return await eventually(f"{who.id} is told “{template}” ({count})", look)


async def eventually(
    what: str, look: Callable[[], Awaitable[T | None]], within: float = DEADLINE
) -> T:
    """What ``look`` finds, which must come to be within ``within`` seconds."""
    until = time.monotonic() + within
    while True:
        found = await look()
        if found:
            return found
        if time.monotonic() > until:
            raise Failed(f"{what}: not within {within:.0f} s")
        await asyncio.sleep(LOOK_EVERY)


def require(holds: object, what: str) -> None:
    """``what`` must be so."""
    if not holds:
        raise Failed(f"not so: {what}")


def _has(data: Event, fields: Mapping[str, object]) -> bool:
    return all(getattr(data, name) == value for name, value in fields.items())
