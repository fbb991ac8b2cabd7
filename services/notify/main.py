"""How is notify put together? ``python -m services.notify.main``"""

from __future__ import annotations

from collections.abc import Callable, Coroutine, Sequence
from datetime import timedelta
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import yaml

from libs.common import metrics, service, yaml_files
from libs.common.decision import Answer, Input
from libs.common.events import (
    Channel,
    NotificationFailed,
    NotificationRead,
    NotificationSent,
    NotificationSuppressed,
)
from libs.common.service import Runtime, ServiceSpec
from services.notify.api.live import Wakes
from services.notify.api.routes import ACCESS, router
from services.notify.domain.channels import ChannelRule, Figures, Policy
from services.notify.domain.delivery import Delivery, DeliveryStatus
from services.notify.domain.inbox import InboxMessage, InboxStatus
from services.notify.domain.texts import Template, TemplateFile, Texts
from services.notify.handlers import HANDLERS
from services.notify.ports import Due, Sender
from services.notify.senders.email import EmailSender
from services.notify.senders.sending import Provider, Sending
from services.notify.senders.webhook import WebhookSender
from services.notify.settings import Settings, secret_of
from services.notify.store import COLLECTIONS, DeliveryWork

TOPICS = (
    "notify.requests",
    "hospital.patients",
    "hospital.encounters",
    "hospital.staff",
    "enrollment.events",
)


# -- policies ---------------------------------------------------------------------------


class PolicyError(Exception):
    """A policy file can't be used; the message names it."""


def load_texts(directory: Path) -> Texts:
    templates: dict[str, Template] = {}
    for path in sorted(directory.glob("*.yaml")):
        try:
            file = TemplateFile.model_validate(yaml_files.read(path))
        except (ValueError, yaml.YAMLError) as error:
            raise PolicyError(f"{path}: {error}") from error
        if twice := templates.keys() & file.templates.keys():
            raise PolicyError(f"{path}: {sorted(twice)} stand in another file, too")
        templates |= file.templates
    try:
        return Texts(templates)
    except ValueError as error:
        raise PolicyError(f"{directory}: {error}") from error


def load_figures(directory: Path) -> Figures:
    """The latest file's: they concern machines, not the hospital's calendar."""
    files = sorted(directory.glob("*.yaml"))
    if not files:
        raise PolicyError(f"{directory}: there is no file")
    try:
        return Figures.model_validate(yaml_files.read(files[-1]))
    except (ValueError, yaml.YAMLError) as error:
        raise PolicyError(f"{files[-1]}: {error}") from error


def call_seconds(settings: Settings, channel: Channel) -> float:
    """How long one call may take in all: a mail's has several answers to wait for."""
    return {
        Channel.EMAIL: settings.smtp_timeout * 3,
        Channel.WEBHOOK: settings.webhook_timeout * 2,
    }[channel]


def claim_seconds(settings: Settings, channel: Channel) -> float:
    """How long a claim holds: a call that waited for its turn must still fit into it."""
    return call_seconds(settings, channel) * 2


def switched_on(settings: Settings) -> list[Channel]:
    on = {
        Channel.WEBHOOK: bool(settings.webhook_secret.get_secret_value()),
        Channel.EMAIL: bool(settings.smtp_host),
    }
    return [channel for channel, is_on in on.items() if is_on]


def load_policy(settings: Settings) -> Policy:
    figures = load_figures(settings.policies_dir / "notify")
    default = {Channel.WEBHOOK: settings.webhook_default_url or None}
    return Policy(
        texts=load_texts(settings.policies_dir / "templates"),
        channels={
            channel: ChannelRule(
                retry=figures.channels[channel],
                claim=timedelta(seconds=claim_seconds(settings, channel)),
                default_address=default.get(channel),
            )
            for channel in switched_on(settings)
        },
        default_language=figures.default_language,
    )


# -- parts ------------------------------------------------------------------------------


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
        self.wakes = Wakes()
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

    def committed(self, _input: Input, answer: Answer) -> None:
        for doc in answer.changes:
            match doc:
                # Retries are pending, too; they wait for their time.
                case Delivery(status=DeliveryStatus.PENDING, attempt=0):
                    self.hint(due_of(doc))
                case InboxMessage(status=InboxStatus.UNREAD):
                    self.wakes.wake(doc.hospital, doc.person_id)
                case _:
                    pass
        for emit in answer.events:
            match emit.data:
                case NotificationSent(channel=channel):
                    _count(channel, "sent")
                case NotificationRead(channel=channel):
                    _count(channel, "read")
                case NotificationFailed(channel=channel):
                    _count(channel, "failed")
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


def _count(channel: Channel | None, outcome: str) -> None:
    metrics.NOTIFICATIONS.labels(channel=channel or "all", outcome=outcome).inc()


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
