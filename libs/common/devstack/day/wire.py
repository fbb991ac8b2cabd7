"""How do a hospital's systems and the people of a day reach the platform?

Systems publish to Kafka, people call the services with tokens of the development issuer,
and what the services tell is heard on their topics. Tests use the same.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Self

import httpx
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

from libs.common import telemetry
from libs.common.clock import Ports
from libs.common.cloudevents import CloudEvent, encode
from libs.common.dev_issuer import DevelopmentIssuer
from libs.common.devstack.day.cast import Caller
from libs.common.devstack.day.hearing import DEADLINE, Failed, Hearing, eventually
from libs.common.devstack.places import SERVICES
from libs.common.devstack.stack import Stack
from libs.common.events import Event
from libs.common.kafka.producer import Producer

HOSPITAL = "h1"
#: The hospital's information system, as the ``source`` of its events.
HIS = f"/hospitals/{HOSPITAL}/his"
PROPAGATOR = TraceContextTextMapPropagator()

Query = Mapping[str, str | int]


@dataclass(frozen=True, slots=True)
class _Row:
    topic: str
    key: bytes
    value: bytes
    headers: list[tuple[str, bytes]]


class Wire(Hearing):
    """``async with Wire.to(stack) as wire``: everything between the day and the platform."""

    def __init__(
        self,
        bootstrap: str,
        services: Mapping[str, str],
        page: str,
        issuer: DevelopmentIssuer,
        *,
        mllp: int,
        idempotent: bool = True,
    ) -> None:
        super().__init__(bootstrap)
        self.services, self.page, self.issuer, self.mllp = services, page, issuer, mllp
        self.ports = Ports()
        self._http = httpx.AsyncClient(timeout=DEADLINE, trust_env=False)
        self._producer = Producer(bootstrap, idempotent=idempotent)
        self._telemetry = telemetry.setup("hospital", endpoint=page, install=False)
        self._tracer = self._telemetry.provider.get_tracer(__name__)
        self._tokens: dict[Caller, str] = {}

    @classmethod
    @contextlib.asynccontextmanager
    async def to(
        cls, stack: Stack, services: Mapping[str, str] | None = None
    ) -> AsyncIterator[Self]:
        """Connected to all of ``stack``, hearing what is told from now on. ``services`` are the
        base URLs of those that run elsewhere."""
        wire = cls(
            stack.bootstrap,
            services or {name: stack.service_url(name) for name in SERVICES},
            f"http://127.0.0.1:{stack.ports.page}",
            stack.issuer(),
            mllp=stack.ports.mllp,
            idempotent=stack.environment.get("KAFKA_IDEMPOTENCE") != "off",
        )
        try:
            await wire._producer.start()
            async with wire.listening():
                yield wire
        finally:
            await wire._producer.abandon()
            await wire._http.aclose()
            await asyncio.to_thread(wire._telemetry.shutdown)

    # -- systems ------------------------------------------------------------------------

    @contextlib.contextmanager
    def tracing(self, name: str, goes_on: str = "") -> Iterator[str]:
        """What is published and called inside belongs to one trace: a new one, or that of the
        ``traceparent`` that ``goes_on``. Yields a ``traceparent``."""
        before = PROPAGATOR.extract({"traceparent": goes_on})
        with self._tracer.start_as_current_span(name, context=before):
            yield telemetry.current_traceparent() or ""

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

    async def outcome(self, traceparent: str, service: str, kind: type[Event]) -> str:
        """What ``service`` made of the event of this class in a trace, as its span tells."""
        path = f"/api/traces/{traceparent[3:35]}"

        async def look() -> Any:
            answer = await self.call(None, "GET", "page", path, expect=None)
            spans = answer.json()["spans"] if answer.status_code == 200 else ()
            return [
                s["attributes"]["lianxin.outcome"]
                for s in spans
                if s["service"] == service
                and s["attributes"].get("cloudevents.event_type") == kind.TYPE
            ]

        found = await eventually(f"{service} has decided on {kind.TYPE}", look)
        return str(found[0])

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
