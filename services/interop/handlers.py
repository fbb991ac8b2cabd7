"""Which rule decides which input of interop? The map is at the bottom."""

from __future__ import annotations

from libs.common.decision import Handler
from services.interop.domain import publishing, receipt

RECEIVE = "message.receive"
PUBLISH = "event.publish"

HANDLERS: dict[str, Handler] = {
    RECEIVE: Handler(receipt.Received, receipt.needs_received, receipt.decide_received),
    PUBLISH: Handler(publishing.Publish, publishing.needs_publish, publishing.decide_publish),
}
