"""What is a service made of, and in which order do its parts start and stop?

A service is a :class:`ServiceSpec`; everything else is the same for all of them.
"""

from __future__ import annotations

import asyncio
import gc
import signal
from collections.abc import AsyncIterator, Callable, Coroutine, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import structlog
from fastapi import APIRouter

from libs.common import audit, metrics, telemetry
from libs.common.clock import Ports
from libs.common.commands import Commands
from libs.common.consumer import Consumer
from libs.common.dead_letters import DeadLetters
from libs.common.decision import Answer, Handler, Input
from libs.common.engine import Engine
from libs.common.events import EVENT_TYPES
from libs.common.http.access import Access
from libs.common.http.dialect import Dialect
from libs.common.http.words import Texts
from libs.common.kafka.member import ConsumerClient
from libs.common.kafka.producer import Producer
from libs.common.lease import Lease
from libs.common.loop_lag import watch_loop
from libs.common.migrate import Life
from libs.common.mongo.collection import CollectionSpec
from libs.common.mongo.database import Database
from libs.common.mongo.errors import Unavailable
from libs.common.readiness import Readiness
from libs.common.relay import Relay
from libs.common.replays import replay_topic
from libs.common.settings import Settings
from libs.common.timers import Timers
from libs.common.waiting import Wait, Waiting

log = structlog.get_logger()

#: Seconds after SIGTERM: requests in flight, then what was accepted, then leaving the group.
#: With LINGER_SECONDS (1) and the last spans (3) they make 24, before Kubernetes' 30.
GRACE, DRAIN, LEAVE = 8, 8, 4


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
            begun=lambda: self.readiness.begun,
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
        self.readiness = Readiness(
            service=name,
            broker=settings.broker,
            database=self.database,
            topics=[*read, dead_letters.topic],
            collections=spec.collections,
            buckets=spec.buckets,
            ports=ports,
        )
        self.failed = False  # a part of it has ended that never should
        self._leaving = False  # from now on parts may end
        self._listeners: list[asyncio.Task[None]] = []

    def _owned(self, owned: bool) -> None:
        metrics.RELAY_OWNER.set(owned)
        self.relay.wake()

    def _producer(self) -> Producer:
        return Producer(
            self.settings.broker,
            idempotent=self.settings.kafka_idempotence == "on",
        )

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Start everything; on leaving, drain in the order of the data's way."""
        starting = asyncio.create_task(self._run_when_possible(), name="runtime")
        commands = asyncio.create_task(self.commands.run(), name="commands")
        watches = [
            asyncio.create_task(watch_loop(), name="loop-lag"),
            asyncio.create_task(self.readiness.watch(), name="database-watch"),
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
            await self.readiness.first_contact()
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
                    if not self._leaving:
                        raise RuntimeError(f"{task.get_name()} has ended")
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
