"""How does what is sent look as CloudEvents?

An event is the one that was published, with its number. A handshake and a heartbeat are
CloudEvents, too, of types that are on no topic.
"""

from __future__ import annotations

import json
from datetime import datetime
from typing import Final

from libs.common.decision import derived_id
from services.interop.domain.delivery import Agenda, Delivery, text_of
from services.interop.domain.subscription import Subscription

HANDSHAKE: Final = "lianxin.subscription.handshake.v1"
HEARTBEAT: Final = "lianxin.subscription.heartbeat.v1"


class CloudEvents:
    """``ports.Messages`` in the JSON event format, structured mode."""

    content_type = "application/cloudevents+json; charset=utf-8"

    def event(self, _subscription: Subscription, delivery: Delivery) -> bytes:
        return delivery.event

    def handshake(self, subscription: Subscription, agenda: Agenda, now: datetime) -> bytes:
        return _signal(HANDSHAKE, subscription, agenda, now)

    def heartbeat(self, subscription: Subscription, agenda: Agenda, now: datetime) -> bytes:
        return _signal(HEARTBEAT, subscription, agenda, now)


def _signal(type: str, subscription: Subscription, agenda: Agenda, now: datetime) -> bytes:
    """``data.last`` is the number of the last event that there is; up to ``data.dropped`` what was
    not delivered is gone."""
    whole = {
        "specversion": "1.0",
        "id": derived_id(subscription.id, type, now.isoformat()),
        "source": "/services/interop",
        "type": type,
        "subject": subscription.id,
        "time": text_of(now),
        "datacontenttype": "application/json",
        "hospital": subscription.hospital,
        "data": {
            "subscription": subscription.id,
            "last": agenda.number,
            "dropped": agenda.dropped,
        },
    }
    return json.dumps(whole, separators=(",", ":")).encode()
