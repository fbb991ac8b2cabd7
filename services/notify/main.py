"""How is notify put together? ``python -m services.notify.main``"""

from __future__ import annotations

from collections.abc import Callable, Coroutine, Sequence
from typing import Any
from urllib.parse import urlsplit

from libs.common import exemplars, metrics, service
from libs.common.decision import Answer, Document, Input
from libs.common.events import (
    Channel,
    NotificationFailed,
    NotificationRead,
    NotificationSent,
    NotificationSuppressed,
)
from libs.common.runtime import Runtime, ServiceSpec
from libs.common.signing import secret_of
from services.notify.api.live import new_wakes
from services.notify.api.routes import ACCESS, router
from services.notify.domain.delivery import Delivery, DeliveryStatus
from services.notify.domain.inbox import InboxMessage, InboxStatus
from services.notify.domain.notification import Notification
from services.notify.handlers import HANDLERS
from services.notify.policy import call_seconds, claim_seconds, load_policy, switched_on
from services.notify.ports import Due, Sender
from services.notify.senders.email import EmailSender
from services.notify.senders.sending import Provider, Sending
from services.notify.senders.webhook import WebhookSender
from services.notify.settings import Settings
from services.notify.store import COLLECTIONS, DeliveryWork

TOPICS = (
    "notify.requests",
    "hospital.patients",
    "hospital.encounters",
    "hospital.staff",
    "enrollment.events",
)


def provider_of(channel: Channel, runtime: Runtime) -> Provider:
    settings, clock = runtime.settings, runtime.ports.clock
    assert isinstance(settings, Settings)
    sender: Sender
    if channel is Channel.EMAIL:
        sender = EmailSender(
            host=settings.smtp_host,
            port=settings.smtp_port,
            security=settings.smtp_security,
            sender=settings.smtp_from,
            sender_name=settings.smtp_from_name,
            username=settings.smtp_username,
            password=settings.smtp_password.get_secret_value(),
            timeout=settings.smtp_timeout,
            clock=clock,
        )
        calls = settings.smtp_calls
    else:
        own = urlsplit(settings.webhook_default_url).hostname
        sender = WebhookSender(
            secret=secret_of(settings.webhook_secret.get_secret_value()),
            timeout=settings.webhook_timeout,
            connections=settings.webhook_calls,
            clock=clock,
            allow_private=settings.webhook_allow_private,
            trusted=[own] if own else [],
        )
        calls = settings.webhook_calls
    return Provider(
        sender, calls, call_seconds(settings, channel), claim_seconds(settings, channel)
    )


class Parts:
    """What notify has besides the common runtime; one for each process.

    It sees every decision after its commit: that wakes the sending loop and the live
    inboxes, and it is counted.
    """

    def __init__(self) -> None:
        self.wakes = new_wakes()
        self.hint: Callable[[Due], None] = lambda _due: None

    def run(self, runtime: Runtime) -> Sequence[Coroutine[Any, Any, None]]:
        settings = runtime.settings
        assert isinstance(settings, Settings)
        sending = Sending(
            [provider_of(channel, runtime) for channel in switched_on(settings)],
            engine=runtime.engine,
            work=DeliveryWork(runtime.database),
            ports=runtime.ports,
            tracer=runtime.tracer,
        )
        self.hint = sending.hint
        return [sending.run(), self.wakes.listen(runtime.database, runtime.ports)]

    def committed(self, input: Input, answer: Answer) -> None:
        for doc in answer.changes:
            match doc:
                # Retries are pending, too; they wait for their time.
                case Delivery(status=DeliveryStatus.PENDING, attempt=0):
                    self.hint(due_of(doc))
                case InboxMessage(status=InboxStatus.UNREAD):
                    self.wakes.wake((doc.hospital, doc.person_id))
                case _:
                    pass
        for emit in answer.events:
            match emit.data:
                case NotificationSent() as sent:
                    _count(sent.channel, "sent", sent.attempt)
                    _time(sent, emit.about, input)
                case NotificationRead(channel=channel):
                    _count(channel, "read")
                case NotificationFailed(channel=channel, attempt=attempt):
                    _count(channel, "failed", attempt)
                case NotificationSuppressed(channel=channel):
                    _count(channel, "suppressed")
                case _:
                    pass


def due_of(delivery: Delivery) -> Due:
    return Due(
        delivery.hospital,
        delivery.notification_id,
        delivery.channel,
        delivery.correlation_id,
        delivery.traceparent,
    )


def _count(channel: Channel | None, outcome: str, attempts: int = 0) -> None:
    metrics.NOTIFICATIONS.labels(channel=channel or "all", outcome=outcome).inc()
    if channel is not None and channel is not Channel.INBOX and attempts:
        metrics.DELIVERY_ATTEMPTS.labels(channel=channel, outcome=outcome).observe(attempts)


#: Of which journey the patient's side is told, by how a template's name begins.
JOURNEYS = {
    "invitation": "discharge",
    "report": "report",
    "refill": "refill",
    "question": "question",
}


for _journey in JOURNEYS.values():
    metrics.begin(_journey, "pushed")


def _time(sent: NotificationSent, about: Document | None, input: Input) -> None:
    journey = JOURNEYS.get(sent.template.partition(".")[0])
    if journey is None or not isinstance(about, Notification) or about.for_staff:
        return
    if about.event_time is not None:
        metrics.JOURNEY_STAGE_SECONDS.labels(journey=journey, stage="pushed").observe(
            (sent.sent_at - about.event_time).total_seconds(), exemplars.of(input.traceparent)
        )


def new_spec() -> ServiceSpec:
    """Notify with parts of its own: two replicas in one process need two."""
    parts = Parts()
    return ServiceSpec(
        name="notify",
        settings=Settings,
        topics=TOPICS,
        handlers=HANDLERS,
        collections=COLLECTIONS,
        routers=(router(parts.wakes),),
        access=ACCESS,
        policy=load_policy,
        observe=parts.committed,
        background=parts.run,
    )


SPEC = new_spec()

if __name__ == "__main__":
    service.main(SPEC)
