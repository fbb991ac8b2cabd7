"""How is interop put together? ``python -m services.interop.main``"""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine, Sequence
from typing import Any, Final
from zoneinfo import ZoneInfo

from libs.common import adult_age, metrics, service
from libs.common.blobs import StoredBlobs
from libs.common.decision import Answer, Decision, Input
from libs.common.service import Runtime, ServiceSpec
from services.interop.api import documents, events, fhir, messages
from services.interop.api.listening import Listening
from services.interop.api.policy import Policy
from services.interop.domain.publishing import Publish
from services.interop.domain.receipt import OUTDATED
from services.interop.edge.connection import Limits
from services.interop.edge.hl7.profiles import PolicyError, load_senders
from services.interop.edge.mllp import MllpServer
from services.interop.edge.partners import load_partners
from services.interop.edge.tls import server_context
from services.interop.handlers import HANDLERS, RECEIVE
from services.interop.settings import Settings
from services.interop.store import COLLECTIONS, lives

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
    return Policy(senders=senders, partners=load_partners(folder / "partners"))


def count(input: Input, answer: Answer) -> None:
    if input.type == RECEIVE and isinstance(answer, Decision) and answer.note != OUTDATED:
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
    tls = None
    if settings.mllp_tls_cert is not None:
        tls = server_context(
            certificate=settings.mllp_tls_cert,
            key=settings.mllp_tls_key,
            client_ca=settings.mllp_tls_client_ca,
        )
    server = MllpServer(listening.handle, limits, tls)
    await server.start(settings.mllp_host or settings.http_host, settings.mllp_port)
    try:
        await asyncio.Event().wait()
    finally:
        await server.stop(STOP)


def listeners(runtime: Runtime) -> Sequence[Coroutine[Any, Any, None]]:
    assert isinstance(runtime.settings, Settings)
    return [serve_mllp(runtime)] if runtime.settings.mllp_port else []


SPEC = ServiceSpec(
    name="interop",
    settings=Settings,
    topics=(),
    handlers=HANDLERS,
    collections=COLLECTIONS,
    routers=(messages.router, events.router, documents.router, fhir.router),
    access={**messages.ACCESS, **events.ACCESS, **documents.ACCESS, **fhir.ACCESS},
    texts={**events.TEXTS, **fhir.TEXTS},
    dialects=lambda settings: (fhir.dialect(settings.fhir_max_body),),
    policy=load_policy,
    observe=count,
    listeners=listeners,
    lives=lives,
)

if __name__ == "__main__":
    service.main(SPEC)
