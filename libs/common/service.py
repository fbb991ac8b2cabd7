"""How is a service put together, started and stopped?

A service is a :class:`ServiceSpec`; everything else is the same for all of them. The
process is alive at once, and ready once broker and database have answered and have its topics
and collections; from then on only the database counts, because without the broker people can
still read and act while the outbox waits.
"""

from __future__ import annotations

import asyncio
import gc
import signal
import socket
import sys
from collections.abc import AsyncIterator, Callable, Coroutine, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any, TypeVar

import structlog
import uvicorn
from fastapi import APIRouter, FastAPI

from libs.common import audit, logs, metrics, telemetry
from libs.common.auth import TokenVerifier
from libs.common.clock import Ports
from libs.common.commands import Commands
from libs.common.consumer import Consumer
from libs.common.dead_letters import DeadLetters
from libs.common.decision import Answer, Document, Handler, Input
from libs.common.dev_issuer import refuse_development_issuer
from libs.common.engine import Engine
from libs.common.events import EVENT_TYPES
from libs.common.http.access import Access
from libs.common.http.app import create_app
from libs.common.http.dialect import Dialect
from libs.common.http.words import Texts
from libs.common.jwks import fetch_keys
from libs.common.kafka.client import BusError
from libs.common.kafka.member import ConsumerClient
from libs.common.kafka.producer import Producer
from libs.common.kafka.topics import topics_missing
from libs.common.lease import Lease
from libs.common.loop_lag import tell_tasks_when_asked, watch_loop
from libs.common.migrate import Life, missing
from libs.common.mongo.collection import CollectionSpec
from libs.common.mongo.database import Database
from libs.common.mongo.errors import Unavailable, Unstorable
from libs.common.relay import Relay
from libs.common.replays import replay_topic
from libs.common.settings import Settings
from libs.common.timers import Timers
from libs.common.waiting import Wait, Waiting

log = structlog.get_logger()

#: Seconds after SIGTERM: requests in flight, then what was accepted, then leaving the group.
#: With LINGER_SECONDS (1) and the last spans (3) they make 24, before Kubernetes' 30.
GRACE, DRAIN, LEAVE = 8, 8, 4
#: Seconds that an idle connection is kept: longer than what stands before us keeps it, or a request
#: meets a connection that is just being closed. nginx keeps it for 60 s, Google's gateways for 600.
KEEP_ALIVE = 650

D = TypeVar("D", bound=Document)


def _ignore(_input: Input, _answer: Answer) -> None:
    return None


@dataclass(frozen=True, kw_only=True)
class ServiceSpec:
    """One service. ``handlers`` maps event types, commands and timers to their rules;
    ``background`` gives coroutines that run beside the consumer (they end by cancelling).
    ``listeners`` are such that take in what they have to answer, as from a port of their own:
    they end first, while what they still want decided is.
    """

    name: str
    settings: type[Settings]
    topics: Sequence[str]
    handlers: Mapping[str, Handler]
    collections: Sequence[CollectionSpec[Any]]
    routers: Sequence[APIRouter]
    access: Access
    texts: Texts = field(default_factory=dict)
    dialects: Callable[[Any], Sequence[Dialect]] = lambda _settings: ()
    policy: Callable[[Any], Any] = lambda _settings: None
    observe: Callable[[Input, Answer], None] = _ignore
    background: Callable[[Runtime], Sequence[Coroutine[Any, Any, None]]] = lambda _runtime: ()
    #: What routes need of the outside world; it may raise ``dev_issuer.Refused``.
    adapters: Callable[[Any], Any] = lambda _settings: None
    listeners: Callable[[Runtime], Sequence[Coroutine[Any, Any, None]]] = lambda _runtime: ()
    #: How long documents are kept, where not for ever.
    lives: Callable[[Any], Sequence[Life]] = lambda _settings: ()
    #: Where something waits for a person.
    waits: Sequence[Wait] = ()
    #: Where it keeps files (``Database.bucket``).
    buckets: Sequence[str] = ()


class Runtime:
    """The parts of one running service, wired once."""

    def __init__(
        self, spec: ServiceSpec, settings: Settings, ports: Ports, traces: telemetry.Telemetry
    ) -> None:
        name = spec.name
        group = settings.kafka_group or f"lianxin.{name}"
        self.spec, self.settings, self.ports, self.tracer = spec, settings, ports, traces.tracer
        self.policy = spec.policy(settings)
        self.database = Database.of(settings, name, spans=traces.mongo)
        self.lease = Lease(self.database, "owner", ports, changed=self._owned)
        self.relay = Relay(
            database=self.database,
            lease=self.lease,
            new_producer=self._producer,
            ports=ports,
            tracer=self.tracer,
        )
        self.engine = Engine(
            service=name,
            database=self.database,
            collections=spec.collections,
            handlers=spec.handlers,
            policy=self.policy,
            relay=self.relay,
            ports=ports,
            tracer=self.tracer,
            observe=spec.observe,
        )
        self.waiting = Waiting(
            tuple(spec.waits), database=self.database, lease=self.lease, ports=ports
        )
        self.commands = Commands(
            engine=self.engine,
            relay=self.relay,
            ports=ports,
            outbox_limit=settings.outbox_limit,
            begun=lambda: self.begun,
        )
        self.timers = Timers(
            database=self.database,
            lease=self.lease,
            engine=self.engine,
            handlers=spec.handlers,
            ports=ports,
        )
        read = [*spec.topics, replay_topic(group)]
        dead_letters = DeadLetters(group, self._producer)
        self.topics = [*read, dead_letters.topic]
        self.consumer = Consumer(
            group=group,
            new_client=lambda revoked: ConsumerClient(
                settings.broker, group, read, revoked=revoked
            ),
            engine=self.engine,
            dead_letters=dead_letters,
            types={t: EVENT_TYPES[t] for t in spec.handlers if t in EVENT_TYPES},
            ports=ports,
            batch_records=settings.batch_records,
        )
        self.audit = audit.Audit(
            service=name, sink=self.database.sink(audit.COLLECTION), ports=ports
        )
        self.begun = False  # broker and database have both answered once
        self.reachable = False  # the database answered a moment ago
        self.failed = False  # a part of it has ended that never should
        self._leaving = False  # from now on parts may end
        self._listeners: list[asyncio.Task[None]] = []
        self._waiting_for: list[str] = ["starting"]

    def _owned(self, owned: bool) -> None:
        metrics.RELAY_OWNER.set(owned)
        self.relay.wake()

    def _producer(self) -> Producer:
        return Producer(
            self.settings.broker,
            idempotent=self.settings.kafka_idempotence == "on",
        )

    def not_ready(self) -> list[str]:
        """Why this service can't serve now; empty when it can."""
        if not self.begun:
            return self._waiting_for
        return [] if self.reachable else ["database_unavailable"]

    async def _watch_database(self) -> None:
        while True:
            try:
                async with asyncio.timeout(2):
                    await self.database.ping()
                self.reachable = True
            except (Unavailable, Unstorable, TimeoutError):
                self.reachable = False
            await self.ports.clock.sleep(1)

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Start everything; on leaving, drain in the order of the data's way."""
        starting = asyncio.create_task(self._run_when_possible(), name="runtime")
        commands = asyncio.create_task(self.commands.run(), name="commands")
        watches = [
            asyncio.create_task(watch_loop(), name="loop-lag"),
            asyncio.create_task(self._watch_database(), name="database-watch"),
        ]
        for task in (commands, *watches):
            task.add_done_callback(self._ended)
        try:
            yield
        finally:
            self._leaving = True
            try:
                async with asyncio.timeout(DRAIN):
                    await self._stop_listening()
                    # Together: each first takes nothing new, then finishes what it has.
                    await asyncio.gather(self.commands.stop(commands), self.consumer.stop())
                    await self.relay.flush()
                    await self.audit.close()
            except TimeoutError:  # what is left is in the outbox, or comes again from the topic
                log.warning("not_drained", service=self.spec.name)
            running = (starting, commands, *watches)
            for task in running:
                task.cancel()
            _, stuck = await asyncio.wait(running, timeout=LEAVE)
            if stuck:  # the group and the lease will notice by themselves
                log.warning("not_left", service=self.spec.name)
            await self.database.close()

    async def _stop_listening(self) -> None:
        for listener in self._listeners:
            listener.cancel()
        await asyncio.gather(*self._listeners, return_exceptions=True)

    async def _run_when_possible(self) -> None:
        try:
            await self._first_contact()
        except Exception as error:
            self._give_up(error, "first contact")
            raise
        tasks = [
            asyncio.create_task(part, name=f"{self.spec.name}-{n}")
            for n, part in enumerate(
                (
                    self.lease.run(),
                    self.relay.run(),
                    self.timers.run(),
                    *((self.waiting.run(),) if self.spec.waits else ()),
                    *((self.consumer.run(),) if self.spec.topics else ()),
                    *self.spec.background(self),
                )
            )
        ]
        self._listeners = [
            asyncio.create_task(listener, name=f"{self.spec.name}-listener-{n}")
            for n, listener in enumerate(() if self._leaving else self.spec.listeners(self))
        ]
        tasks += self._listeners
        # Start-up garbage never needs another look, and a batch holds many short-lived objects.
        gc.collect()
        gc.freeze()
        gc.set_threshold(50_000, 20, 50)
        try:
            running = set(tasks)
            while running:
                ended, running = await asyncio.wait(running, return_when=asyncio.FIRST_COMPLETED)
                for task in ended:
                    if task.cancelled():
                        if self._leaving and task in self._listeners:
                            continue
                        # By a library: then nobody else would notice.
                        raise RuntimeError(f"{task.get_name()} was cancelled")
                    task.result()
        except Exception as error:
            self._give_up(error, "runtime")
            raise
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            try:
                await self.lease.release()
            except Unavailable:
                log.info("lease_not_released", service=self.spec.name)

    def _ended(self, task: asyncio.Task[None]) -> None:
        if not self._leaving:
            self._give_up(None if task.cancelled() else task.exception(), task.get_name())

    def _give_up(self, error: BaseException | None, part: str) -> None:
        """A half-running service would look healthy; a restart is the honest answer."""
        log.error("part_failed", service=self.spec.name, part=part, exc_info=error)
        self.failed = True
        signal.raise_signal(signal.SIGTERM)

    async def _first_contact(self) -> None:
        attempt = 0
        while True:
            waiting_for = await self._absent()
            if not waiting_for:
                break
            attempt += 1
            self._waiting_for = waiting_for
            log.info("waiting_for", service=self.spec.name, parts=waiting_for)
            await self.ports.clock.sleep(self.ports.backoff(attempt, base=0.2, cap=2.0))
        self.begun = True
        log.info("ready", service=self.spec.name)

    async def _absent(self) -> list[str]:
        absent = []
        try:
            if unmade := await missing(self.database, self.spec.collections, self.spec.buckets):
                absent.append("collections_missing")
                log.info("collections_missing", service=self.spec.name, names=unmade)
        except Unavailable:
            absent.append("database_unavailable")
        try:
            if unmade := await topics_missing(self.settings.broker, self.topics):
                absent.append("topics_missing")
                log.info("topics_missing", service=self.spec.name, names=unmade)
        except BusError:
            absent.append("broker_unavailable")
        return absent


def build(
    spec: ServiceSpec, settings: Settings | None = None, ports: Ports | None = None
) -> FastAPI:
    """The ASGI application of a service; its lifespan runs the whole service."""
    settings = settings or spec.settings()
    ports = ports or Ports()
    refuse_development_issuer(settings)
    adapters = spec.adapters(settings)
    logs.configure(spec.name, level=settings.log_level, environment=settings.environment)
    traces = telemetry.setup(
        spec.name,
        endpoint=settings.otel_exporter_otlp_endpoint or None,
        sample_ratio=settings.trace_sample_ratio,
        environment=settings.environment,
    )
    verifier = TokenVerifier(
        issuer=settings.oidc_issuer,
        audience=settings.oidc_audience,
        keys=fetch_keys(settings.oidc_jwks_url, settings.oidc_ca),
        clock=ports.clock,
    )
    # Built inside the loop that runs it: the driver and the queues belong to one loop.
    runtime: Runtime | None = None

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        nonlocal runtime
        runtime = Runtime(spec, settings, ports, traces)
        app.state.runtime = runtime
        app.state.commands = runtime.commands
        app.state.audit = runtime.audit
        async with runtime.running():
            yield
        traces.shutdown()

    def not_ready() -> Sequence[str]:
        if app.state.leaving:
            return ["stopping"]
        return ["starting"] if runtime is None else runtime.not_ready()

    app = create_app(
        title=f"Lianxin {spec.name}",
        version=settings.lianxin_version or "1",
        routers=spec.routers,
        access=spec.access,
        verifier=verifier,
        ports=ports,
        texts=spec.texts,
        dialects=spec.dialects(settings),
        not_ready=not_ready,
        lifespan=lifespan,
    )
    app.state.adapters = adapters
    return app


class _Server(uvicorn.Server):
    """Serves on for a moment when it is asked to stop, until nobody is sent here any more.

    It is not ready then, and each answer ends its connection, so that no request comes in
    on one that is being closed.
    """

    def __init__(self, config: uvicorn.Config, app: FastAPI, linger: float) -> None:
        super().__init__(config)
        self._app, self._linger = app, linger

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        tell_tasks_when_asked()
        await super().startup(sockets)

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        self._app.state.leaving = True
        self._app.state.streams.close()
        await asyncio.sleep(self._linger)
        await super().shutdown(sockets)


def main(spec: ServiceSpec) -> None:
    """Run a service until SIGTERM; whoever was let in is answered first. It ends with 0."""
    settings = spec.settings()
    app = build(spec, settings)
    config = uvicorn.Config(
        app,
        host=settings.http_host,
        port=settings.http_port,
        loop="uvloop",
        http="httptools",
        access_log=False,
        log_config=None,
        timeout_graceful_shutdown=GRACE,
        timeout_keep_alive=KEEP_ALIVE,
    )
    server = _Server(config, app, settings.linger_seconds)
    # Else the signal, which uvicorn raises again when all is done, would be the exit code.
    signal.signal(signal.SIGTERM, server.handle_exit)
    server.run()
    if not server.started or app.state.runtime.failed:
        sys.exit(1)
