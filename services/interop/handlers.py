"""Which rule decides which input of interop? The map is at the bottom."""

from __future__ import annotations

from libs.common.decision import Handler
from services.interop.domain import publishing, receipt, subscribing
from services.interop.domain.delivering import (
    DISCARD,
    ENDED,
    GREETED,
    RESTED,
    Discard,
    Ended,
    Greeted,
    Rested,
    decide_discard,
    decide_ended,
    decide_greeted,
    decide_rested,
    needs_discard,
    needs_ended,
    needs_greeted,
    needs_rested,
)
from services.interop.domain.delivery import decide_told, needs_told
from services.interop.domain.partners import READABLE
from services.interop.domain.subscription import Terms

RECEIVE = "message.receive"
PUBLISH = "event.publish"

#: Commands of partners and operators.
CREATE = "subscription.create"
REPLACE = "subscription.replace"
DELETE = "subscription.delete"
ROTATE = "subscription.rotate"
RESUME = "subscription.resume"
RESEND = "subscription.resend"

HANDLERS: dict[str, Handler] = {
    RECEIVE: Handler(receipt.Received, receipt.needs_received, receipt.decide_received),
    PUBLISH: Handler(publishing.Publish, publishing.needs_publish, publishing.decide_publish),
    # Whatever partners may read is numbered under each subscription that wants it.
    **{name: Handler(event, needs_told, decide_told) for name, event in READABLE.items()},
    CREATE: Handler(Terms, subscribing.needs_create, subscribing.decide_create),
    REPLACE: Handler(Terms, subscribing.needs_one, subscribing.decide_replace),
    DELETE: Handler(subscribing.Nothing, subscribing.needs_one, subscribing.decide_delete),
    ROTATE: Handler(subscribing.Nothing, subscribing.needs_one, subscribing.decide_rotate),
    RESUME: Handler(subscribing.Nothing, subscribing.needs_one, subscribing.decide_resume),
    RESEND: Handler(subscribing.Resend, subscribing.needs_resend, subscribing.decide_resend),
    ENDED: Handler(Ended, needs_ended, decide_ended),
    DISCARD: Handler(Discard, needs_discard, decide_discard),
    GREETED: Handler(Greeted, needs_greeted, decide_greeted),
    RESTED: Handler(Rested, needs_rested, decide_rested),
}
