"""How does what is sent look as FHIR R4 topic-based subscription notifications?

Subscriptions R5 Backport (hl7.org/fhir/uv/subscriptions-backport) for R4: a Bundle of type
``history`` whose first entry is the subscription's status as ``Parameters``. An event's number
is the delivery's. Where an event has no resource (``resources.py``), its focus says so.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import Any, Final

from pydantic_core import to_json

from libs.common.decision import derived_id
from libs.common.events import EVENT_TYPES, Event
from services.interop.domain.delivery import Agenda, Delivery, text_of
from services.interop.domain.subscription import Format, Status, Subscription
from services.interop.edge.fhir_out.resources import Resource, fhir_id, resource_of

_PROFILES: Final = "http://hl7.org/fhir/uv/subscriptions-backport/StructureDefinition/"
#: One topic for all: which events come, the subscription's types and filter say.
TOPIC: Final = "https://lianxin.example/fhir/SubscriptionTopic/events"
MEDIA_TYPE: Final = "application/fhir+json"
#: FHIR R4 Subscription.status.
_STATUSES: Final = {
    Status.REQUESTED: "requested",
    Status.ACTIVE: "active",
    Status.SUSPENDED: "error",
    Status.DELETED: "off",
}


class Notifications:
    """``ports.Messages`` for one of FHIR's payloads."""

    content_type = MEDIA_TYPE

    def __init__(self, *, full: bool) -> None:
        self._full = full

    def event(self, subscription: Subscription, delivery: Delivery) -> bytes:
        kind, last = "event-notification", delivery.number
        # The same bytes at each attempt, so its status is the one in which it is sent.
        active = subscription.but(status=Status.ACTIVE)
        whole = notification(active, kind, last, delivery.at, [delivery], full=self._full)
        return to_json(whole)

    def handshake(self, subscription: Subscription, agenda: Agenda, now: datetime) -> bytes:
        return to_json(_signal(subscription, "handshake", agenda, now))

    def heartbeat(self, subscription: Subscription, agenda: Agenda, now: datetime) -> bytes:
        return to_json(_signal(subscription, "heartbeat", agenda, now))


def _signal(subscription: Subscription, kind: str, agenda: Agenda, now: datetime) -> Resource:
    return notification(subscription, kind, agenda.number, now, dropped=agenda.dropped)


def notification(
    subscription: Subscription,
    kind: str,
    last: int,
    at: datetime,
    deliveries: Iterable[Delivery] = (),
    *,
    full: bool = False,
    dropped: int = 0,
) -> Resource:
    """The bundle. ``kind`` is of SubscriptionNotificationType, ``last`` the number of the last
    event that there is, ``dropped`` up to which what was not delivered is gone."""
    numbered = [(d, *_told(d)) for d in deliveries]
    events = [_event(d, event, resource) for d, event, resource in numbered]
    entries = [_entry(resource, full=full) for *_, resource in numbered if resource is not None]
    status = status_of(subscription, kind, last, events, dropped=dropped)
    url = f"Subscription/{fhir_id(subscription.id)}/$status"
    first = {
        "fullUrl": f"urn:uuid:{status['id']}",
        "resource": status,
        "request": {"method": "GET", "url": url},
        "response": {"status": "200"},
    }
    return {
        "resourceType": "Bundle",
        "id": derived_id("notification", subscription.id, kind, last, at.isoformat()),
        "meta": {"profile": [f"{_PROFILES}backport-subscription-notification-r4"]},
        "type": "history",
        "timestamp": text_of(at),
        "entry": [first, *entries],
    }


def status_of(
    subscription: Subscription,
    kind: str,
    last: int,
    events: Sequence[Resource] = (),
    *,
    dropped: int = 0,
) -> Resource:
    """The subscription's status, as R4 has it."""
    reference = f"Subscription/{fhir_id(subscription.id)}"
    errors = [subscription.reason] if subscription.status is Status.SUSPENDED else []
    if dropped:
        errors.append(f"events up to number {dropped} that were not delivered were dropped")
    return {
        "resourceType": "Parameters",
        "id": derived_id("status", subscription.id, kind, last, subscription.version),
        "meta": {"profile": [f"{_PROFILES}backport-subscription-status-r4"]},
        "parameter": [
            {"name": "subscription", "valueReference": {"reference": reference}},
            {"name": "topic", "valueCanonical": TOPIC},
            {"name": "status", "valueCode": _STATUSES[subscription.status]},
            {"name": "type", "valueCode": kind},
            {"name": "events-since-subscription-start", "valueString": str(last)},
            *events,
            *({"name": "error", "valueCodeableConcept": {"text": text}} for text in errors),
        ],
    }


def statuses(subscription: Subscription, agenda: Agenda) -> Resource:
    """The answer of ``$status``."""
    status = status_of(subscription, "query-status", agenda.number, dropped=agenda.dropped)
    entry = {
        "fullUrl": f"urn:uuid:{status['id']}",
        "resource": status,
        "search": {"mode": "match"},
    }
    return {"resourceType": "Bundle", "type": "searchset", "total": 1, "entry": [entry]}


def is_full(subscription: Subscription) -> bool:
    return subscription.terms.format is Format.FHIR_FULL_RESOURCE


def _told(delivery: Delivery) -> tuple[Event, Resource | None]:
    data: Any = json.loads(delivery.event)["data"]
    event = EVENT_TYPES[delivery.type].model_validate_json(json.dumps(data))
    return event, resource_of(event)


def _event(delivery: Delivery, event: Event, resource: Resource | None) -> Resource:
    return {
        "name": "notification-event",
        "part": [
            {"name": "event-number", "valueString": str(delivery.number)},
            {"name": "timestamp", "valueInstant": text_of(delivery.at)},
            {"name": "focus", "valueReference": _focus(event, resource)},
        ],
    }


def _focus(event: Event, resource: Resource | None) -> Resource:
    if resource is not None:
        return {"reference": _local(resource)}
    return {
        "identifier": {"system": f"urn:lianxin:{event.TYPE}", "value": _subject(event)},
        "display": f"{event.TYPE} has no FHIR resource: read it as a CloudEvent",
    }


def _entry(resource: Resource, *, full: bool) -> Resource:
    entry: Resource = {
        "fullUrl": f"https://lianxin.example/fhir/{_local(resource)}",
        "request": {"method": "PUT", "url": _local(resource)},
        "response": {"status": "200"},
    }
    return {**entry, "resource": resource} if full else entry


def _local(resource: Resource) -> str:
    return f"{resource['resourceType']}/{resource['id']}"


def _subject(event: Event) -> str:
    return str(getattr(event, event.SUBJECT))
