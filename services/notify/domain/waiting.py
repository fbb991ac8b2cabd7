"""How long is somebody waited for whom nobody has told us how to reach?

Until the notification expires, or until the person becomes known: then all that waited
goes by whatever channels there are.
"""

from __future__ import annotations

from collections.abc import Iterator

from pydantic import BaseModel

from libs.common.decision import Answer, Decision, Document, Emit, Env, Input, Need, State, Timer
from libs.common.events import NotificationRequested
from services.notify.domain.delivery import Delivery, deliveries_of
from services.notify.domain.inbox import InboxMessage, without_link
from services.notify.domain.notification import Action, Notification, suppressed
from services.notify.domain.people import Person, Silence, needs_matter, silence

#: Timers.
EXPIRY = "notification.expiry"
SETTLE = "notification.settle"


class Expiry(BaseModel):
    """The timer ``notification.expiry``: nobody has told how to reach the person until now,
    or there is a link, which leads nowhere from now on."""

    notification_id: str


class Settle(BaseModel):
    """The timer ``notification.settle``: the person has become known."""

    person_id: str


def expiry_of(notification: Notification, request: NotificationRequested) -> Timer:
    return Timer(
        id=f"{EXPIRY}/{notification.id}",
        due=request.expires_at,
        type=EXPIRY,
        subject=notification.id,
        data={"notification_id": notification.id},
    )


def needs_expiry(input: Input, state: State) -> Iterator[Need]:
    yield Need(Notification, "id", input.data.notification_id)
    yield Need(InboxMessage, "id", input.data.notification_id)


def decide_expiry(input: Input, state: State, env: Env) -> Answer:
    notification = state.get(Notification, input.data.notification_id)
    changes: list[Document] = [*without_link(state.get(InboxMessage, input.data.notification_id))]
    if notification is None or not notification.may(Action.LAPSE):
        return Decision(changes=changes, note="not_waiting")
    notification, events = _lapsed(notification, Silence.NO_CONTACT, env)
    return Decision(changes=[*changes, notification], events=events, note="lapsed")


def _lapsed(notification: Notification, why: Silence, env: Env) -> tuple[Notification, list[Emit]]:
    notification = notification.moved(Action.LAPSE, reason=why, waiting_for=None)
    return notification, [suppressed(notification, why, env.now, c) for c in notification.channels]


def needs_settle(input: Input, state: State) -> Iterator[Need]:
    id = input.data.person_id
    yield Need(Notification, "waiting_for", id)
    yield Need(Person, "id", id)
    for notification in state.where(Notification, "waiting_for", id):
        for channel in notification.channels:
            yield Need(Delivery, "id", Delivery.id_of(notification.id, channel))
        yield from needs_matter(state, notification.matter)


def decide_settle(input: Input, state: State, env: Env) -> Answer:
    """Choose the channels of all that waited for a person who is known by now."""
    person = state.get(Person, input.data.person_id)
    if person is None or person.known_at is None:
        return Decision(note="still_unknown")
    changes: list[Notification | Delivery] = []
    events: list[Emit] = []
    for notification in state.where(Notification, "waiting_for", person.id):
        why = silence(state, notification.matter, env.now)
        if notification.expires_at is not None and notification.expires_at <= env.now:
            why = Silence.NO_CONTACT
        if why is not None:
            lapsed, told = _lapsed(notification, why, env)
            changes.append(lapsed)
            events += told
            continue
        changes += deliveries_of(notification, person, input, env)
        changes.append(notification.moved(Action.SETTLE, waiting_for=None))
    return Decision(changes=changes, events=events, note="settled")
