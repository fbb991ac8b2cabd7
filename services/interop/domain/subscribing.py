"""What may be done with a subscription, and what follows?

By its partner, or (all but the changes of its terms) by the hospital's operators; another
partner's does not exist. The address is checked before it comes here, since that takes a
look-up.
"""

from __future__ import annotations

from collections.abc import Iterator
from enum import StrEnum

from pydantic import BaseModel, ConfigDict, Field

from libs.common.decision import (
    Answer,
    Common,
    Decision,
    Document,
    Env,
    Input,
    Need,
    Refusal,
    State,
    unchanged,
)
from services.interop.domain.delivery import Agenda, Delivery, DeliveryAction
from services.interop.domain.partners import Partners, Retired
from services.interop.domain.subscription import (
    LIVE,
    MOST,
    RETIRED,
    Action,
    Figures,
    Status,
    Subscription,
    Terms,
    new_secret,
    unknown_fields,
)

#: So many parked deliveries are sent again by one request.
MOST_RESENT = 500


class Nothing(BaseModel):
    """A command that says all by its type and subject."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class Resend(BaseModel):
    """Try these again: ids of parked deliveries."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    deliveries: tuple[str, ...] = Field(max_length=MOST_RESENT)


class Why(StrEnum):
    """Why a subscription can't be as it is asked for."""

    TYPE_NOT_ALLOWED = "type_not_allowed"
    UNKNOWN_FIELD = "unknown_filter_field"
    TOO_MANY = "too_many_subscriptions"


# -- needs ------------------------------------------------------------------------------


def needs_create(input: Input, _state: State) -> Iterator[Need]:
    yield Need(Subscription, "id", input.id)
    yield Need(Agenda, "id", input.id)
    assert input.actor is not None
    yield Need(Retired, "id", input.actor.person)
    for status in LIVE:
        yield Need(Subscription, "status", status)


def needs_one(input: Input, _state: State) -> Iterator[Need]:
    yield Need(Subscription, "id", input.subject)
    yield Need(Agenda, "id", input.subject)


def needs_resend(input: Input, state: State) -> Iterator[Need]:
    yield from needs_one(input, state)
    for id in input.data.deliveries:
        yield Need(Delivery, "id", id)


# -- decisions --------------------------------------------------------------------------


def decide_create(input: Input, state: State, env: Env) -> Answer:
    terms: Terms = input.data
    assert input.actor is not None
    client = input.actor.person
    if state.get(Retired, client) is not None:
        return Refusal(Common.FORBIDDEN)
    wrong = _wrong(terms, client, input.hospital, env)
    if wrong is not None:
        return wrong
    theirs = [
        s for status in LIVE for s in state.where(Subscription, "status", status)
        if s.client == client
    ]  # fmt: skip
    if len(theirs) >= MOST:
        return Refusal(Why.TOO_MANY, extra={"limit": MOST})
    subscription = Subscription(
        id=input.id,
        hospital=input.hospital,
        client=client,
        terms=terms,
        created_at=env.now,
        changed_at=env.now,
        secret=new_secret(env.secret),
    )
    agenda = Agenda(id=input.id, hospital=input.hospital, due_at=env.now)
    result = {"id": subscription.id, "version": 1, "secret": subscription.secret}
    return Decision(changes=[subscription, agenda], result=result, note="subscribed")


def _wrong(terms: Terms, client: str, hospital: str, env: Env) -> Refusal | None:
    partners: Partners = env.policy.partners
    partner = partners.of(client, hospital)
    if partner is None:
        return Refusal(Common.FORBIDDEN)
    allowed = partner.types
    denied = sorted({t for t in terms.types if t not in allowed})
    denied += sorted(set(terms.topics) - partner.subscribes)
    if denied:
        return Refusal(Why.TYPE_NOT_ALLOWED, extra={"not_allowed": denied})
    if unknown := unknown_fields(terms):
        return Refusal(Why.UNKNOWN_FIELD, extra={"fields": unknown})
    return None


def _theirs(input: Input, state: State) -> tuple[Subscription, Agenda] | None:
    """The subscription, if it exists for who asks: its partner until it is retired, or an
    operator."""
    subscription, agenda = (state.get(m, input.subject) for m in (Subscription, Agenda))
    assert input.actor is not None
    if not isinstance(subscription, Subscription) or not isinstance(agenda, Agenda):
        return None
    if subscription.status is Status.DELETED:
        return None
    its_own = subscription.client == input.actor.person and subscription.reason != RETIRED
    return (subscription, agenda) if its_own or input.actor.has("ops") else None


def decide_replace(input: Input, state: State, env: Env) -> Answer:
    """Other terms. Another endpoint or format is greeted before anything more is sent."""
    found, terms = _theirs(input, state), input.data
    if found is None:
        return Refusal(Common.NOT_FOUND)
    subscription, agenda = found
    if not unchanged(input, subscription):
        return Refusal(Common.CHANGED)
    wrong = _wrong(terms, subscription.client, input.hospital, env)
    if wrong is not None:
        return wrong
    before, subscription = subscription.terms, subscription.but(terms=terms)
    if (terms.endpoint, terms.format) != (before.endpoint, before.format):
        subscription = subscription.moved(Action.MOVE, env.now)
    return _changed(subscription, _due(agenda, env), "replaced")


def decide_delete(input: Input, state: State, env: Env) -> Answer:
    """Nothing more is sent or kept under it; its secret is forgotten at once."""
    found = _theirs(input, state)
    if found is None:
        return Refusal(Common.NOT_FOUND)
    subscription, agenda = found
    if not unchanged(input, subscription):
        return Refusal(Common.CHANGED)
    subscription = subscription.moved(Action.DELETE, env.now)
    subscription = subscription.but(secret="", old_secret="", old_secret_until=None)
    return _changed(subscription, _due(agenda, env), "deleted")


def decide_rotate(input: Input, state: State, env: Env) -> Answer:
    """A new secret; for a while the old one signs, too."""
    found = _theirs(input, state)
    if found is None:
        return Refusal(Common.NOT_FOUND)
    figures: Figures = env.policy.figures
    subscription, until = found[0], env.now + figures.overlap
    subscription = subscription.but(
        secret=new_secret(env.secret), old_secret=subscription.secret, old_secret_until=until
    )
    result = {
        "id": subscription.id,
        "version": subscription.version + 1,
        "secret": subscription.secret,
        "old_secret_until": until.isoformat(),
    }
    return Decision(changes=[subscription], result=result, note="rotated")


def decide_resume(input: Input, state: State, env: Env) -> Answer:
    """Greet a suspended one's endpoint again; what waits for it is sent then."""
    found = _theirs(input, state)
    if found is None:
        return Refusal(Common.NOT_FOUND)
    subscription, agenda = found
    if not subscription.may(Action.RESUME):
        return Refusal(Common.WRONG_STATUS)
    return _changed(subscription.moved(Action.RESUME, env.now), _due(agenda, env), "resumed")


def decide_resend(input: Input, state: State, env: Env) -> Answer:
    """Try parked deliveries again, from the beginning of their patience."""
    found = _theirs(input, state)
    if found is None:
        return Refusal(Common.NOT_FOUND)
    subscription, agenda = found
    changes: list[Document] = []
    for id in input.data.deliveries:
        delivery = state.get(Delivery, id)
        if delivery is None or delivery.subscription_id != subscription.id:
            continue
        if delivery.may(DeliveryAction.RESEND):
            again = delivery.moved(DeliveryAction.RESEND, queued_at=env.now, attempt=0, reason="")
            changes.append(again)
    result = {"resent": len(changes)}
    if changes and subscription.status is not Status.SUSPENDED:
        changes.append(agenda.but(due_at=env.now))
    return Decision(changes=changes, result=result, note="resent")


def _due(agenda: Agenda, env: Env) -> Agenda:
    """Look at once, whatever failed before."""
    return agenda.but(due_at=env.now, failures=0, last_error="")


def _changed(subscription: Subscription, agenda: Agenda, note: str) -> Decision:
    result = {"id": subscription.id, "version": subscription.version + 1}
    return Decision(changes=[subscription, agenda], result=result, note=note)
