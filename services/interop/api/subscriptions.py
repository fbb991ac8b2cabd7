"""How does a partner system subscribe, and how do operators see what is sent?

A partner sees and changes its own subscriptions; another's does not exist for it. Operators
see all of their hospital, and may resume, send again and delete.
"""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any, Final
from urllib.parse import urlsplit

from fastapi import APIRouter, Depends, Query, Request, Response
from fastapi.responses import JSONResponse
from pydantic import BaseModel, Field

from libs.common.auth import Principal, Role
from libs.common.decision import Common
from libs.common.http.access import Access, Caller
from libs.common.http.commands import answer, command, submit
from libs.common.http.idempotency import IdempotencyKey, IfMatch, RequiredIfMatch, etag
from libs.common.http.paging import PageOf, Paging
from libs.common.http.problems import Fault, Problem
from libs.common.http.words import Texts
from libs.common.targets import leads_inside
from services.interop.api.policy import Policy
from services.interop.domain.delivery import Agenda, DeliveryStatus
from services.interop.domain.partners import NotAllowed
from services.interop.domain.subscribing import MOST_RESENT, Nothing, Resend
from services.interop.domain.subscription import RETIRED, Status, Subscription, Terms
from services.interop.handlers import CREATE, DELETE, REPLACE, RESEND, RESUME, ROTATE
from services.interop.store import Subscriptions

_PARTNER: Final = frozenset({Role.INTEGRATION})
_BOTH: Final = frozenset({Role.INTEGRATION, Role.OPS})

router = APIRouter(prefix="/v1/subscriptions", tags=["subscriptions"])

ACCESS: Access = {
    ("POST", "/v1/subscriptions"): _PARTNER,
    ("GET", "/v1/subscriptions"): _BOTH,
    ("GET", "/v1/subscriptions/{id}"): _BOTH,
    ("PUT", "/v1/subscriptions/{id}"): _PARTNER,
    ("DELETE", "/v1/subscriptions/{id}"): _BOTH,
    ("POST", "/v1/subscriptions/{id}/secret"): _PARTNER,
    ("POST", "/v1/subscriptions/{id}/resume"): _BOTH,
    ("POST", "/v1/subscriptions/{id}/resend"): _BOTH,
}
TEXTS: Texts = {
    "type_not_allowed": {
        "zh-CN": "不允许订阅 not_allowed 中列出的类型或主题，可用的主题由医院登记。",
        "en": "The types or topics in not_allowed can't be subscribed to: they do not exist, or "
        "the hospital has not allowed them to this system.",
    },
    "unknown_filter_field": {
        "zh-CN": "所订阅的类型都没有 fields 中列出的字段。",
        "en": "None of the types has the fields that fields lists. contracts/schemas names them.",
    },
    "too_many_subscriptions": {
        "zh-CN": "最多 {limit} 个订阅，请先删除不用的。",
        "en": "There may be {limit} subscriptions at most. Delete one that is not needed.",
    },
    "address_forbidden": {
        "zh-CN": "endpoint 须为公网可达的 https 地址。",
        "en": "The endpoint must be https and must not lie in a private network.",
    },
}


class Created(BaseModel):
    """The answer to who subscribes. The secret is shown here and never again."""

    id: str
    version: int
    secret: str = Field(description="whsec_…, to verify signatures with.")


class NewSecret(Created):
    """Until ``old_secret_until`` what is sent carries a signature by the old one, too."""

    old_secret_until: datetime


class Changed(BaseModel):
    """It is as asked for; ``version`` is the new ETag."""

    id: str
    version: int


class Resent(BaseModel):
    """How many parked deliveries are tried again, and how many are still parked."""

    resent: int
    parked: int


class SubscriptionItem(Terms):
    """A subscription as it stands."""

    id: str
    client: str
    status: Status
    reason: str = Field(description="Why it is suspended.")
    created_at: datetime
    changed_at: datetime = Field(description="When its status last changed.")


class SubscriptionView(SubscriptionItem):
    """With what has become of its events. ``last`` is the number of the last one."""

    last: int
    dropped: int = Field(description="Up to this number what was not delivered is gone.")
    waiting: int = Field(description="Numbered and not delivered, but still tried.")
    parked: int = Field(description="Given up, until somebody sends them again.")
    oldest_waiting_at: datetime | None
    last_sent_at: datetime | None
    failures: int = Field(description="Calls in vain since the endpoint last answered.")
    last_error: str


def _subscriptions(request: Request) -> Subscriptions:
    return Subscriptions(request.app.state.runtime.database)


Store = Annotated[Subscriptions, Depends(_subscriptions)]


async def theirs(id: str, caller: Caller, store: Store) -> tuple[Subscription, Agenda]:
    """The subscription, if it exists for the caller: its partner until it is retired, or an
    operator."""
    found = await store.one(caller.hospital, id)
    if found is not None:
        its_own = found[0].client == caller.actor.person and found[0].reason != RETIRED
        if its_own or caller.actor.has(Role.OPS):
            return found
    raise Problem(404, Common.NOT_FOUND)


Theirs = Annotated[tuple[Subscription, Agenda], Depends(theirs)]


def policy_of(request: Request) -> Policy:
    policy: Policy = request.app.state.runtime.policy
    return policy


async def _check(request: Request, caller: Principal, terms: Terms) -> None:
    """What takes a look beyond our own documents: the partner's file, and the address."""
    policy = policy_of(request)
    if policy.partners.of(caller.actor.person, caller.hospital) is None:
        raise Problem(403, NotAllowed.UNKNOWN_PARTNER)
    if policy.figures.allow_private:
        return
    try:
        parts = urlsplit(terms.endpoint)
        reachable = parts.scheme == "https" and bool(parts.hostname)
        forbidden = not reachable or await leads_inside(parts.hostname or "")
    except ValueError:  # no address at all, or a name that no network knows
        forbidden = True
    if forbidden:
        fault = Fault("body", "/endpoint", "string_pattern_mismatch")
        raise Problem(422, "address_forbidden", faults=[fault])


def _item(subscription: Subscription) -> dict[str, Any]:
    return {
        **subscription.terms.model_dump(mode="json"),
        "id": subscription.id,
        "client": subscription.client,
        "status": subscription.status,
        "reason": subscription.reason,
        "created_at": subscription.created_at,
        "changed_at": subscription.changed_at,
    }


@router.post("", status_code=201, response_model=Created)
async def create(request: Request, body: Terms, caller: Caller, key: IdempotencyKey) -> Response:
    """Subscribe. The endpoint gets a handshake at once; when it has answered with 2xx, whatever
    was numbered since now is sent."""
    await _check(request, caller, body)
    outcome = await submit(request, command(request, CREATE, body, idempotency_key=key))
    return answer(outcome, status=201)


@router.get("", response_model=PageOf[SubscriptionItem])
async def subscriptions(caller: Caller, store: Store, page: Paging) -> Any:
    """The caller's own, until it is retired; for operators those of all partners."""
    client = None if caller.actor.has(Role.OPS) else caller.actor.person
    rows = await store.page(caller.hospital, client, after=page.after(str), limit=page.fetch)
    return page.of(rows, key=lambda row: row.id, item=_item)


@router.get("/{id}", response_model=SubscriptionView)
async def subscription(found: Theirs, store: Store) -> Response:
    """One subscription, with what has become of its events."""
    one, agenda = found
    waiting = (DeliveryStatus.PENDING, DeliveryStatus.RETRYING)
    oldest = await store.oldest(one)
    view = SubscriptionView(
        **_item(one),
        last=agenda.number,
        dropped=agenda.dropped,
        waiting=await store.count(one, *waiting),
        parked=await store.count(one, DeliveryStatus.PARKED),
        oldest_waiting_at=oldest,
        last_sent_at=agenda.last_sent_at,
        failures=agenda.failures,
        last_error=agenda.last_error,
    )
    return JSONResponse(view.model_dump(mode="json"), headers={"ETag": etag(one.version)})


@router.put("/{id}", response_model=Changed)
async def replace(
    request: Request, id: str, body: Terms, caller: Caller, if_match: RequiredIfMatch
) -> Response:
    """Other terms, as a whole. Numbers go on; another endpoint or format is greeted first."""
    await _check(request, caller, body)
    asked = command(request, REPLACE, body, subject=id, if_match=if_match)
    return answer(await submit(request, asked))


@router.delete("/{id}", status_code=204)
async def delete(request: Request, id: str, if_match: IfMatch) -> Response:
    """End it. What was not delivered is discarded."""
    asked = command(request, DELETE, Nothing(), subject=id, if_match=if_match)
    return answer(await submit(request, asked), status=204)


@router.post("/{id}/secret", response_model=NewSecret)
async def rotate(request: Request, id: str, key: IdempotencyKey) -> Response:
    """A new secret. For a while the old one signs, too, in the same header."""
    asked = command(request, ROTATE, Nothing(), subject=id, idempotency_key=key)
    return answer(await submit(request, asked))


@router.post("/{id}/resume", response_model=Changed)
async def resume(request: Request, id: str, key: IdempotencyKey) -> Response:
    """Greet the endpoint of a suspended subscription again, then send what waits."""
    asked = command(request, RESUME, Nothing(), subject=id, idempotency_key=key)
    return answer(await submit(request, asked))


@router.post("/{id}/resend", response_model=Resent)
async def resend(
    request: Request,
    found: Theirs,
    store: Store,
    key: IdempotencyKey,
    since: Annotated[int, Query(ge=0, description="Only those with a higher number.")] = 0,
    until: Annotated[int | None, Query(ge=1, description="And none with a higher one.")] = None,
) -> Response:
    """Send what is parked again, at most 500 at once, the oldest first."""
    one, _ = found
    parked = await store.events(
        one, since=since, until=until, status=DeliveryStatus.PARKED, limit=MOST_RESENT
    )
    asked = command(request, RESEND, None, subject=one.id, idempotency_key=key)
    outcome = await submit(
        request, asked._replace(data=Resend(deliveries=tuple(d.id for d in parked)))
    )
    left = await store.count(one, DeliveryStatus.PARKED)
    return answer(outcome._replace(result={**(outcome.result or {}), "parked": left}))
