"""What does a partner system want to be told, where, and how?

A subscription is what people and partners change; what is sent under it has its own
documents (``delivery.py``), so that its version is theirs alone.
"""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Callable, Mapping
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Annotated, Any, ClassVar, Final, Self
from urllib.parse import urlsplit

from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Field,
    StringConstraints,
    model_validator,
)

from libs.common.decision import Document
from libs.common.events import Event
from libs.common.events.base import Line, Sensitive
from services.interop.domain.partners import READABLE


class Format(StrEnum):
    """How what is sent looks."""

    CLOUDEVENTS = "cloudevents"
    FHIR_ID_ONLY = "fhir-id-only"
    FHIR_FULL_RESOURCE = "fhir-full-resource"


class Status(StrEnum):
    """Where a subscription stands. Whatever matches gets its number in all but the last."""

    REQUESTED = "requested"  # its endpoint has not answered the handshake yet
    ACTIVE = "active"
    SUSPENDED = "suspended"  # the endpoint is gone, or never answered: nothing is sent, and what
    #                          waits for too long is dropped
    DELETED = "deleted"


class Action(StrEnum):
    """What may happen to a subscription."""

    GREET = "greet"  # the endpoint has answered the handshake
    MOVE = "move"  # another endpoint or format: greeted anew
    SUSPEND = "suspend"
    RESUME = "resume"
    DELETE = "delete"


TRANSITIONS: Final[Mapping[tuple[Status, Action], Status]] = {
    (Status.REQUESTED, Action.GREET): Status.ACTIVE,
    (Status.REQUESTED, Action.MOVE): Status.REQUESTED,
    (Status.REQUESTED, Action.SUSPEND): Status.SUSPENDED,
    (Status.REQUESTED, Action.DELETE): Status.DELETED,
    (Status.ACTIVE, Action.MOVE): Status.REQUESTED,
    (Status.ACTIVE, Action.SUSPEND): Status.SUSPENDED,
    (Status.ACTIVE, Action.DELETE): Status.DELETED,
    (Status.SUSPENDED, Action.MOVE): Status.REQUESTED,
    (Status.SUSPENDED, Action.RESUME): Status.REQUESTED,
    (Status.SUSPENDED, Action.DELETE): Status.DELETED,
}
#: Those that collect events.
LIVE: Final = (Status.REQUESTED, Status.ACTIVE, Status.SUSPENDED)

#: Why a subscription was suspended when its partner was retired (`lianxin partner retire`). From
#: then on operators alone may do anything with it: the partner's token lives a little longer.
RETIRED: Final = "partner_retired"

#: So many of one partner: each of a hospital's is looked at for every event.
MOST: Final = 50

Value = Annotated[str, StringConstraints(min_length=1, max_length=128)]
Name = Annotated[str, StringConstraints(pattern=r"^[a-z][a-z0-9_]{0,63}(\.[a-z][a-z0-9_]{0,63})?$")]


#: RFC 3986, as far as a receiver needs it: no user, no fragment, nothing beyond ASCII.
_ENDPOINT: Final = (
    r"^https?://([A-Za-z0-9._~-]+|\[[0-9A-Fa-f:.]+\])(:[0-9]{1,5})?([/?][!-\"$-?A-~]*)?$"
)


def _dialled(endpoint: str) -> str:
    _ = urlsplit(endpoint).port  # ValueError beyond 65535, and for brackets around no address
    return endpoint


class Terms(BaseModel):
    """What a partner asks for: everything of a subscription that it may set."""

    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True)

    endpoint: Sensitive[
        Annotated[
            str,
            StringConstraints(max_length=2048, pattern=_ENDPOINT),
            AfterValidator(_dialled),
        ]
    ] = Field(description="Where events are posted to: https, without user or fragment.")
    types: tuple[Value, ...] = Field(
        default=(), max_length=100, description="Event types; none: those of `topics` alone."
    )
    topics: tuple[Value, ...] = Field(
        default=(), max_length=50, description="Topics of which every type is wanted."
    )
    filter: dict[Name, Annotated[tuple[Value, ...], Field(min_length=1, max_length=200)]] = Field(
        default_factory=dict,
        max_length=8,
        description="Field of the event's data (or `field.field`) to the values that it may "
        "have; all must hold, and an event without the field does not match.",
        examples=[{"department_code": ["NEURO"]}],
    )
    format: Format = Field(default=Format.CLOUDEVENTS, description="How what is sent looks.")
    heartbeat_seconds: int | None = Field(
        default=None,
        ge=60,
        le=86_400,
        description="A heartbeat is sent when nothing else was for so long; none if absent.",
    )
    name: Line | None = Field(default=None, description="For people.")

    @model_validator(mode="after")
    def _something(self) -> Self:
        if not self.types and not self.topics:
            raise ValueError("types or topics must name something")
        return self

    def wants(self, type: str, data: Event) -> bool:
        if type not in self.types and data.TOPIC not in self.topics:
            return False
        return all(_text_at(data, name) in values for name, values in self.filter.items())


def _text_at(data: Event, name: str) -> str | None:
    value: Any = data
    for part in name.split("."):
        value = getattr(value, part, None)
    return value if value is None or isinstance(value, str) else str(value)


def unknown_fields(terms: Terms) -> list[str]:
    """Fields of the filter that none of the wanted types has."""
    wanted = [e for t, e in READABLE.items() if t in terms.types or e.TOPIC in terms.topics]
    return sorted(name for name in terms.filter if not any(_has(e, name) for e in wanted))


def _has(model: Any, name: str) -> bool:
    first, _, rest = name.partition(".")
    info = getattr(model, "model_fields", {}).get(first)
    if info is None:
        return False
    inner = info.annotation
    if not rest:
        return not hasattr(inner, "model_fields")
    return _has(inner, rest)


class Subscription(Document):
    """One subscription of one partner. ``changed_at``: when its status last became another."""

    COLLECTION: ClassVar[str] = "subscriptions"

    client: str
    terms: Sensitive[Terms]
    status: Status = Status.REQUESTED
    reason: str = ""
    created_at: datetime
    changed_at: datetime
    #: ``whsec_…``; empty once it is deleted.
    secret: Sensitive[str]
    old_secret: Sensitive[str] = ""
    old_secret_until: datetime | None = None

    def moved(self, action: Action, now: datetime, reason: str = "") -> Self:
        status = TRANSITIONS[self.status, action]
        return self.but(status=status, reason=reason, changed_at=now)

    def may(self, action: Action) -> bool:
        return (self.status, action) in TRANSITIONS

    def drops_at(self, came_at: datetime, keep: timedelta) -> datetime:
        """When what came then is dropped, if this stays suspended and it is not delivered."""
        return max(came_at, self.changed_at) + keep

    def heartbeat_at(self, last_sent_at: datetime | None) -> datetime | None:
        """When a heartbeat is due, if nothing else is sent until then."""
        seconds = self.terms.heartbeat_seconds
        if seconds is None or self.status is not Status.ACTIVE:
            return None
        return (last_sent_at or self.changed_at) + timedelta(seconds=seconds)

    def secrets(self, now: datetime) -> list[str]:
        """Those that sign now, the newest first."""
        overlaps = self.old_secret_until is not None and now < self.old_secret_until
        return [self.secret, self.old_secret] if overlaps else [self.secret]


def new_secret(draw: Callable[[], str]) -> str:
    """``whsec_`` and the base64 of 32 bytes, as Standard Webhooks has them."""
    key = hashlib.sha256(draw().encode()).digest()
    return "whsec_" + base64.b64encode(key).decode()


class Figures(BaseModel):
    """The installation's figures about webhooks (settings)."""

    model_config = ConfigDict(frozen=True)

    retry_base: float = 5.0
    retry_cap: float = 600.0
    give_up: timedelta = timedelta(days=3)
    overlap: timedelta = timedelta(days=1)
    allow_private: bool = False

    def delay(self, attempt: int, jitter: float, retry_after: float | None = None) -> timedelta:
        """Before the next attempt after ``attempt``: doubled, capped, spread over its upper
        half; later if the receiver asked for it, but no later than the cap and a day."""
        ceiling = min(self.retry_cap, self.retry_base * 2 ** min(attempt - 1, 20))
        seconds = ceiling * (0.5 + jitter / 2)
        return timedelta(seconds=max(seconds, min(retry_after or 0.0, 86_400.0)))
