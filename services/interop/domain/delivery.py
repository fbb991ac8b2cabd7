"""Which events become deliveries of which subscriptions, and under which number?

Every event that a subscription wants is one delivery with the next number of that
subscription: 1, 2, 3, … without gaps, so that its receiver sees what it lacks. The number is
given in the transaction that notes the event as handled.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from enum import StrEnum
from typing import Any, ClassVar, Final, Self

from libs.common.decision import (
    Answer,
    Decision,
    Document,
    Env,
    Input,
    Need,
    State,
    derived_id,
)
from libs.common.events import Event
from libs.common.events.base import Sensitive, dataschema
from services.interop.domain.partners import Partners
from services.interop.domain.subscription import LIVE, Status, Subscription


class DeliveryStatus(StrEnum):
    """Where a delivery stands."""

    PENDING = "pending"
    RETRYING = "retrying"  # tried in vain; its patient's later events wait behind it
    DELIVERED = "delivered"
    PARKED = "parked"  # given up for now; later events go on, and the number tells of the gap
    DISCARDED = "discarded"  # its subscription was deleted, or suspended for too long


class DeliveryAction(StrEnum):
    """What may happen to a delivery."""

    DELIVER = "deliver"
    FAIL = "fail"
    PARK = "park"
    RESEND = "resend"
    DISCARD = "discard"


TRANSITIONS: Final[Mapping[tuple[DeliveryStatus, DeliveryAction], DeliveryStatus]] = {
    (DeliveryStatus.PENDING, DeliveryAction.DELIVER): DeliveryStatus.DELIVERED,
    (DeliveryStatus.PENDING, DeliveryAction.FAIL): DeliveryStatus.RETRYING,
    (DeliveryStatus.PENDING, DeliveryAction.PARK): DeliveryStatus.PARKED,
    (DeliveryStatus.PENDING, DeliveryAction.DISCARD): DeliveryStatus.DISCARDED,
    (DeliveryStatus.RETRYING, DeliveryAction.DELIVER): DeliveryStatus.DELIVERED,
    (DeliveryStatus.RETRYING, DeliveryAction.FAIL): DeliveryStatus.RETRYING,
    (DeliveryStatus.RETRYING, DeliveryAction.PARK): DeliveryStatus.PARKED,
    (DeliveryStatus.RETRYING, DeliveryAction.DISCARD): DeliveryStatus.DISCARDED,
    # An answer that was recorded late is true all the same.
    (DeliveryStatus.PARKED, DeliveryAction.DELIVER): DeliveryStatus.DELIVERED,
    (DeliveryStatus.PARKED, DeliveryAction.RESEND): DeliveryStatus.PENDING,
    (DeliveryStatus.PARKED, DeliveryAction.DISCARD): DeliveryStatus.DISCARDED,
}


class Delivery(Document):
    """One event under one subscription. ``lane`` is the event's Kafka key without the
    hospital: what shares it is sent one after another. ``ended_at``: when it was delivered, or
    discarded; what is parked has not ended."""

    COLLECTION: ClassVar[str] = "deliveries"

    subscription_id: str
    number: int
    lane: str
    patient_id: str = ""
    type: str
    #: The CloudEvent in its JSON form, as its receiver gets it.
    event: Sensitive[bytes]
    traceparent: str | None = None
    status: DeliveryStatus = DeliveryStatus.PENDING
    #: When it came, and since when it is being tried.
    at: datetime
    queued_at: datetime
    attempt: int = 0
    next_attempt_at: datetime | None = None
    ended_at: datetime | None = None
    reason: str = ""

    def moved(self, action: DeliveryAction, **changes: Any) -> Self:
        return self.but(status=TRANSITIONS[self.status, action], **changes)

    def may(self, action: DeliveryAction) -> bool:
        return (self.status, action) in TRANSITIONS


class Agenda(Document):
    """When somebody must look at a subscription, and its last number. Its id is the same.

    ``due_at`` is None when there is nothing to do; ``failures`` counts the attempts in vain
    since the endpoint last answered. ``dropped``: up to that number what was not delivered is
    gone, as the subscription was suspended for too long.
    """

    COLLECTION: ClassVar[str] = "agendas"

    number: int = 0
    dropped: int = 0
    due_at: datetime | None = None
    failures: int = 0
    last_sent_at: datetime | None = None
    last_error: str = ""

    def called(self, now: datetime) -> Self:
        """There is something to send: at once, unless the endpoint is being left alone."""
        return self if self.failures and self.due_at else self.but(due_at=now)


def wanted(input: Input, state: State) -> Iterator[Subscription]:
    """The live subscriptions of the hospital that want this event."""
    for status in LIVE:
        for subscription in state.where(Subscription, "status", status):
            if subscription.terms.wants(input.type, input.data):
                yield subscription


def delivery_id(subscription: Subscription, input: Input) -> str:
    return derived_id(subscription.id, input.source, input.id)


def needs_told(input: Input, state: State) -> Iterator[Need]:
    for status in LIVE:
        yield Need(Subscription, "status", status)
    for subscription in wanted(input, state):
        yield Need(Agenda, "id", subscription.id)
        yield Need(Delivery, "id", delivery_id(subscription, input))


def decide_told(input: Input, state: State, env: Env) -> Answer:
    """Number the event under each subscription that wants it, and whose partner may read it."""
    partners: Partners = env.policy.partners
    changes: list[Document] = []
    for subscription in wanted(input, state):
        partner = partners.of(subscription.client, input.hospital)
        if partner is None or input.type not in partner.types:
            continue
        if state.get(Delivery, delivery_id(subscription, input)) is not None:
            continue  # read again after the inbox has forgotten it: it has its number
        agenda = state.get(Agenda, subscription.id)
        assert agenda is not None  # made with the subscription
        agenda = agenda.but(number=agenda.number + 1)
        if subscription.status is not Status.SUSPENDED:
            agenda = agenda.called(env.now)
        elif agenda.due_at is None:  # else it is known when what waits is dropped
            agenda = agenda.but(due_at=env.now)
        changes += [agenda, _delivery(subscription, agenda.number, input, env)]
    return Decision(changes=changes, note="numbered" if changes else "not_subscribed")


def _delivery(subscription: Subscription, number: int, input: Input, env: Env) -> Delivery:
    data: Event = input.data
    return Delivery(
        id=delivery_id(subscription, input),
        hospital=input.hospital,
        subscription_id=subscription.id,
        number=number,
        lane=str(getattr(data, data.KEY)),
        patient_id=str(getattr(data, "patient_id", None) or ""),
        type=input.type,
        event=cloud_event(input, number),
        traceparent=input.traceparent,
        at=env.now,
        queued_at=env.now,
    )


def cloud_event(input: Input, number: int) -> bytes:
    """The event in CloudEvents' JSON form, its data as it came, with its number."""
    data: Event = input.data
    attributes = {
        "specversion": "1.0",
        "id": input.id,
        "source": input.source,
        "type": input.type,
        "subject": input.subject,
        "time": text_of(input.time),
        "datacontenttype": "application/json",
        "dataschema": dataschema(input.type),
        "hospital": input.hospital,
        "partitionkey": f"{input.hospital}/{getattr(data, data.KEY)}",
        "sequence": None if input.sequence is None else str(input.sequence),
        "correlationid": input.correlation_id or None,
        "causationid": input.causation_id or None,
        "traceparent": input.traceparent,
        "tracestate": input.tracestate,
        "deliverynumber": number,
    }
    known = {name: value for name, value in attributes.items() if value is not None}
    head = json.dumps(known, ensure_ascii=False, separators=(",", ":")).encode()
    body = input.body or data.model_dump_json(exclude_none=True).encode()
    return head[:-1] + b',"data":' + body + b"}"


def text_of(time: datetime) -> str:
    return time.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
