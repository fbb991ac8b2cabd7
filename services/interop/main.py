"""How is interop put together? ``python -m services.interop.main``"""

from __future__ import annotations

from collections.abc import Callable, Coroutine, Sequence
from datetime import timedelta
from functools import partial
from typing import Any, Final
from zoneinfo import ZoneInfo

from libs.common import adult_age, metrics, service
from libs.common.blobs import BUCKET, StoredBlobs
from libs.common.commands import Commands
from libs.common.decision import Answer, Decision, Input
from libs.common.runtime import Runtime, ServiceSpec
from libs.common.tls import Renewed
from libs.common.webhooks import WebhookClient
from services.interop.api import (
    documents,
    events,
    fhir,
    fhir_subscriptions,
    gaps,
    messages,
    reprocessing,
    subscriptions,
)
from services.interop.api.listening import Listening
from services.interop.api.policy import Policy
from services.interop.domain.delivering import DISCARD, DROPPED, ENDED, RESTED
from services.interop.domain.delivery import Agenda, Delivery
from services.interop.domain.partners import READABLE
from services.interop.domain.publishing import Publish
from services.interop.domain.receipt import OUTDATED
from services.interop.domain.subscription import Figures, Format
from services.interop.edge.connection import Limits
from services.interop.edge.fhir_out.notifications import Notifications
from services.interop.edge.hl7.profiles import PolicyError, load_senders
from services.interop.edge.mllp import MllpServer
from services.interop.edge.partners import load_partners
from services.interop.edge.tls import server_context
from services.interop.handlers import HANDLERS, RECEIVE
from services.interop.senders.calling import Calling
from services.interop.senders.cloudevents import CloudEvents
from services.interop.senders.courier import Means
from services.interop.senders.sending import Sending
from services.interop.settings import Settings
from services.interop.store import COLLECTIONS, DeliveryWork, Store, lives

#: Where its routes are, each part with its own table of who may call them.
ROUTES: Final = (
    messages,
    reprocessing,
    events,
    documents,
    fhir,
    fhir_subscriptions,
    subscriptions,
    gaps,
)

#: Seconds for the messages in flight when it stops; less than the runtime gives its parts.
STOP: Final = 3.0


def load_policy(settings: Settings) -> Policy:
    zone = ZoneInfo(settings.hospital_time_zone)
    folder, adult = settings.policies_dir, adult_age.load(settings.policies_dir)
    documents_at = f"{settings.interop_public_url}/v1/documents"
    senders = load_senders(folder / "senders", zone, adult, documents_at)
    if senders.certified and settings.mllp_port and settings.mllp_tls_client_ca is None:
        raise PolicyError(
            f"{folder / 'senders'}: a profile names certificates, but no sender can show one: "
            "set MLLP_TLS_CERT and MLLP_TLS_CLIENT_CA"
        )
    return Policy(
        senders=senders,
        partners=load_partners(folder / "partners"),
        figures=Figures(
            retry_base=settings.webhook_retry_base,
            retry_cap=settings.webhook_retry_cap,
            give_up=timedelta(hours=settings.webhook_give_up_hours),
            overlap=timedelta(hours=settings.webhook_secret_overlap_hours),
            allow_private=settings.webhook_allow_private,
        ),
    )


def sending_of(runtime: Runtime) -> Sending:
    settings, ports = runtime.settings, runtime.ports
    assert isinstance(settings, Settings)
    # Commands of its own: what partners took is recorded whatever else waits.
    commands = Commands(engine=runtime.engine, relay=runtime.relay, ports=ports, outbox_limit=2**63)
    client = WebhookClient(
        timeout=settings.webhook_timeout,
        connections=settings.webhook_calls,
        allow_private=settings.webhook_allow_private,
    )
    calling = Calling(
        client, ports.clock, calls=settings.webhook_calls, seconds=settings.webhook_timeout * 2
    )
    means = Means(
        work=DeliveryWork(runtime.database),
        calling=calling,
        decides=commands,
        messages={
            Format.CLOUDEVENTS: CloudEvents(),
            Format.FHIR_ID_ONLY: Notifications(full=False),
            Format.FHIR_FULL_RESOURCE: Notifications(full=True),
        },
        partners=runtime.policy.partners,
        ports=ports,
        tracer=runtime.tracer,
        parallel=settings.webhook_parallel,
        keep=timedelta(days=settings.webhook_suspended_days),
        owned=lambda: runtime.lease.owned,
    )
    return Sending(means, commands)


class Parts:
    """What interop has besides the common runtime; one for each process. It sees every
    decision after its commit: that wakes the sending loop, and it is counted."""

    def __init__(self) -> None:
        self.changed: Callable[[Agenda], None] = lambda _agenda: None

    def run(self, runtime: Runtime) -> Sequence[Coroutine[Any, Any, None]]:
        sending = sending_of(runtime)

        def changed(agenda: Agenda) -> None:
            """What is due later is found by looking: no event hurries an endpoint that rests."""
            if agenda.due_at is not None and agenda.due_at <= runtime.ports.clock.now():
                sending.hint((agenda.hospital, agenda.id))

        self.changed = changed
        sweeping = StoredBlobs(runtime.database, runtime.ports.clock).sweeping(
            Store(runtime.database).names, lambda: runtime.lease.owned
        )
        return [sending.run(), sweeping]

    def committed(self, input: Input, answer: Answer) -> None:
        count(input, answer)
        if input.type != RESTED:  # it knows by itself when to look again
            for doc in answer.changes:
                if isinstance(doc, Agenda):
                    self.changed(doc)


def count(input: Input, answer: Answer) -> None:
    if input.type == ENDED and isinstance(answer, Decision):
        for outcome in ("delivered", "failed", "parked"):
            metrics.WEBHOOK_DELIVERIES.labels(outcome=outcome).inc(answer.result[outcome])
    elif input.type == DISCARD and isinstance(answer, Decision) and answer.note == DROPPED:
        metrics.WEBHOOK_DELIVERIES.labels(outcome="dropped").inc(answer.result["discarded"])
    elif answer.changes and input.type in READABLE:
        new = sum(isinstance(doc, Delivery) for doc in answer.changes)
        metrics.WEBHOOK_DELIVERIES.labels(outcome="numbered").inc(new)
    elif input.type == RECEIVE and isinstance(answer, Decision) and answer.note != OUTDATED:
        metrics.MESSAGES_RECEIVED.labels(outcome=answer.note).inc()
    elif isinstance(input.data, Publish):
        metrics.EVENTS_PUBLISHED.labels(type=input.data.event.TYPE).inc()


async def serve_mllp(runtime: Runtime) -> None:
    """Listen until cancelled."""
    settings = runtime.settings
    assert isinstance(settings, Settings)
    listening = Listening(
        runtime.policy.senders,
        runtime.commands,
        StoredBlobs(runtime.database),
        runtime.ports,
        settings.interop_hospital,
    )
    limits = Limits(
        max_connections=settings.mllp_max_connections,
        max_per_address=settings.mllp_max_per_address,
        max_frame=settings.mllp_max_frame,
        frame_timeout=settings.mllp_frame_seconds,
        drain_timeout=settings.mllp_unread_seconds,
        idle_timeout=settings.mllp_idle_seconds,
    )
    cert, key, ca = settings.mllp_tls_cert, settings.mllp_tls_key, settings.mllp_tls_client_ca
    tls = None
    if cert is not None:
        tls = Renewed(
            partial(server_context, certificate=cert, key=key, client_ca=ca), cert, key, ca
        )
    server = MllpServer(listening.handle, limits, tls)
    await server.start(settings.mllp_host or settings.http_host, settings.mllp_port)
    try:
        await server.accepting()
    finally:
        await server.stop(STOP)


def listeners(runtime: Runtime) -> Sequence[Coroutine[Any, Any, None]]:
    assert isinstance(runtime.settings, Settings)
    return [serve_mllp(runtime)] if runtime.settings.mllp_port else []


def new_spec() -> ServiceSpec:
    """Interop with parts of its own: two replicas in one process need two."""
    parts = Parts()
    return ServiceSpec(
        name="interop",
        settings=Settings,
        topics=sorted({event.TOPIC for event in READABLE.values()}),
        handlers=HANDLERS,
        collections=COLLECTIONS,
        routers=[part.router for part in ROUTES],
        access={route: rule for part in ROUTES for route, rule in part.ACCESS.items()},
        texts={**events.TEXTS, **fhir.TEXTS, **subscriptions.TEXTS},
        dialects=lambda settings: (fhir.dialect(settings.fhir_max_body),),
        policy=load_policy,
        observe=parts.committed,
        background=parts.run,
        listeners=listeners,
        lives=lives,
        buckets=(BUCKET,),
    )


SPEC = new_spec()

if __name__ == "__main__":
    service.main(SPEC)
