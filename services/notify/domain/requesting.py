"""What happens when somebody shall be told something, or no longer?

The inbox message is written with the decision itself, and whoever has it is told. Other
channels need an address: a person of whom nobody has told anything yet is waited for until
the notification expires; one who is known to have no address has the inbox and is not, so
that an address which comes a week later brings no old mail.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from libs.common.decision import (
    Answer,
    Common,
    Decision,
    Env,
    Input,
    Need,
    Refusal,
    State,
    Timer,
)
from libs.common.events import (
    Channel,
    NotificationCancelled,
    NotificationRequested,
    NotificationSent,
)
from services.notify.domain.channels import CALLED, Policy
from services.notify.domain.delivery import Delivery, deliveries_of
from services.notify.domain.inbox import InboxMessage, without_link
from services.notify.domain.notification import (
    Action,
    Notification,
    Status,
    Told,
    fact,
    suppressed,
)
from services.notify.domain.people import (
    Matter,
    Person,
    Silence,
    needs_matter,
    root,
    silence,
)
from services.notify.domain.texts import Audience
from services.notify.domain.waiting import expiry_of

# -- requested --------------------------------------------------------------------------


def _matter(request: NotificationRequested, policy: Policy) -> Matter:
    template = policy.texts.template(request.template)
    return Matter(
        request.recipient_id,
        request.patient_id,
        request.health_data or template.about_health,
        template.audience is Audience.STAFF,
    )


def needs_request(input: Input, state: State) -> Iterator[Need]:
    request: NotificationRequested = input.data
    yield Need(Notification, "id", request.notification_id)
    yield Need(InboxMessage, "id", request.notification_id)
    yield Need(Told, "id", Told.id_of(request.recipient_id, request.dedupe_key))
    for channel in CALLED:
        yield Need(Delivery, "id", Delivery.id_of(request.notification_id, channel))
    # What is about health depends on the template; the needs are the same for both.
    yield from needs_matter(
        state, Matter(request.recipient_id, request.patient_id, True, for_staff=False)
    )


def decide_request(input: Input, state: State, env: Env) -> Answer:
    request: NotificationRequested = input.data
    policy: Policy = env.policy.at(env.now)
    before = state.get(Notification, request.notification_id)
    if before is not None and before.status is not Status.CANCELLED:
        return Refusal(Common.STALE, "this notification has been requested before")
    if before is not None and before.template:
        return Refusal(Common.STALE, "this notification has been requested and cancelled before")
    matter = _matter(request, policy)
    notification = Notification(
        id=request.notification_id,
        hospital=input.hospital,
        status=Status.TOLD,
        recipient_id=request.recipient_id,
        patient_id=request.patient_id,
        template=request.template,
        urgency=request.urgency,
        about_health=matter.about_health,
        for_staff=matter.for_staff,
        channels=tuple(c for c in policy.channels if not request.channels or c in request.channels),
        event_time=request.event_time,
        expires_at=request.expires_at,
        requested_at=env.now,
    )
    why = _why_not(request, matter, before, state, env)
    if why is not None:
        status = Status.CANCELLED if why is Silence.CANCELLED else Status.SUPPRESSED
        notification = notification.but(status=status, reason=why)
        event = suppressed(notification, why, env.now)
        return Refusal(why, changes=[notification], events=[event])
    return _told(input, notification, state, env)


def _why_not(
    request: NotificationRequested,
    matter: Matter,
    before: Notification | None,
    state: State,
    env: Env,
) -> Silence | None:
    if before is not None:
        return Silence.CANCELLED
    if request.expires_at <= env.now:
        return Silence.EXPIRED
    if state.get(Told, Told.id_of(request.recipient_id, request.dedupe_key)) is not None:
        return Silence.DUPLICATE
    return silence(state, matter, env.now)


def _told(input: Input, notification: Notification, state: State, env: Env) -> Answer:
    request: NotificationRequested = input.data
    policy: Policy = env.policy.at(env.now)
    person = root(state, request.recipient_id) or Person(
        id=request.recipient_id, hospital=input.hospital
    )
    timers: list[Timer] = []
    deliveries: Sequence[Delivery] = ()
    if person.known_at is not None:
        deliveries = deliveries_of(notification, person, input, env)
    elif notification.channels:
        notification = notification.but(status=Status.WAITING, waiting_for=person.id)
    if notification.status is Status.WAITING or request.link is not None:
        timers.append(expiry_of(notification, request))
    person = person.but(inbox_last=person.inbox_last + 1)
    message = InboxMessage(
        id=notification.id,
        hospital=input.hospital,
        person_id=person.id,
        recipient_id=request.recipient_id,
        number=person.inbox_last,
        patient_id=request.patient_id,
        template=request.template,
        urgency=request.urgency,
        texts=policy.texts.render(request.template, request.parameters),
        link=request.link,
        at=env.now,
        event_time=request.event_time,
    )
    told = Told(
        id=Told.id_of(request.recipient_id, request.dedupe_key),
        hospital=input.hospital,
        notification_id=notification.id,
    )
    sent = fact(NotificationSent, notification, channel=Channel.INBOX, attempt=1, sent_at=env.now)
    return Decision(
        changes=[notification, person, message, told, *deliveries],
        events=[sent],
        timers=timers,
        note="told" if request.template in policy.texts else "told_by_fallback",
    )


# -- cancelled --------------------------------------------------------------------------


def needs_cancel(input: Input, state: State) -> Iterator[Need]:
    yield Need(Notification, "id", input.data.notification_id)
    yield Need(InboxMessage, "id", input.data.notification_id)


def decide_cancel(input: Input, state: State, env: Env) -> Answer:
    """Whoever asked no longer wants it told. What is under way is stopped at its next claim."""
    cancel: NotificationCancelled = input.data
    notification = state.get(Notification, cancel.notification_id)
    if notification is None:  # it may come before the request that it names
        early = Notification(
            id=cancel.notification_id,
            hospital=input.hospital,
            status=Status.CANCELLED,
            reason=cancel.reason,
            recipient_id=cancel.recipient_id,
        )
        return Decision(changes=[early], note="cancelled_early")
    if not notification.may(Action.CANCEL):
        return Refusal(Common.STALE)
    notification = notification.moved(Action.CANCEL, reason=cancel.reason, waiting_for=None)
    message = without_link(state.get(InboxMessage, notification.id))
    return Decision(changes=[notification, *message], note="cancelled")
