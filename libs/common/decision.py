"""What does a rule receive and what may it answer?

The vocabulary of the middle step of *load -> decide -> save*. Everything here is a
plain value: no I/O, no clock, no driver. ``domain.py`` of every service is written
in these words and can therefore be read and tested without a server.
"""

from __future__ import annotations

import hashlib
import uuid
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from functools import partial
from typing import Any, ClassVar, NamedTuple, Protocol, Self, TypeVar

from pydantic import BaseModel, ConfigDict, Field

from libs.common.events.base import Event

#: Namespace of every derived id, so that handling an input twice derives the same ids.
NAMESPACE = uuid.UUID("6e8f9d1c-0f0b-5a53-9d2e-6c69616e7869")
_NAMESPACE = NAMESPACE.bytes
_sha1 = partial(hashlib.sha1, usedforsecurity=False)
_VARIANT = {digit: "89ab"[int(digit, 16) & 3] for digit in "0123456789abcdef"}
_new, _set = object.__new__, object.__setattr__


def derived_id(*parts: object) -> str:
    """The uuid5 of ``parts``: the same cause always gives the same id. Never for secrets."""
    text = _sha1(_NAMESPACE + "|".join(map(str, parts)).encode()).hexdigest()
    # RFC 9562: version 5 in the 13th digit, the variant in the upper bits of the 17th.
    variant = _VARIANT[text[16]]
    return f"{text[:8]}-{text[8:12]}-5{text[13:16]}-{variant}{text[17:20]}-{text[20:32]}"


def in_ms(at: datetime) -> datetime:
    """``at`` as the store keeps it, so that facts compare alike before and after."""
    return at.replace(microsecond=at.microsecond // 1000 * 1000)


class Document(BaseModel):
    """The state of one aggregate, stored as one document under ``<hospital>/<id>``.

    ``version`` is 0 until first stored and counts the saves; a save is guarded by it.
    ``sequence`` counts the events published about this aggregate. ``unknown`` holds what a
    newer release has stored beside our fields, and is stored again as it is. All of them belong
    to the runtime; rules leave them alone.

    ``SCHEMA`` and ``schema_number`` (docs/adr/0027): a field of its own with a default needs no
    new number. What a release before would read wrongly, or lose within a field, needs one.
    """

    model_config = ConfigDict(frozen=True, extra="ignore", hide_input_in_errors=True)

    COLLECTION: ClassVar[str]
    SCHEMA: ClassVar[int] = 1

    id: str
    hospital: str
    version: int = 0
    sequence: int = 0
    schema_number: int = 1
    unknown: Mapping[str, Any] | None = Field(default=None, exclude=True, repr=False)

    def but(self, **changes: Any) -> Self:
        """A copy with ``changes``; not validated again, so give values of the right type.

        What pydantic's ``model_copy`` does for a model without private fields, at a third
        of its calls; every decision about every event passes here.
        """
        new = _new(type(self))
        _set(new, "__dict__", {**self.__dict__, **changes})
        given = self.__pydantic_fields_set__  # 0.5 KB: shared unless something is added
        more = changes.keys() - given
        _set(new, "__pydantic_fields_set__", given | more if more else given)
        _set(new, "__pydantic_extra__", None)
        _set(new, "__pydantic_private__", None)
        return new


D = TypeVar("D", bound=Document)


# Tuples rather than frozen dataclasses where there is one for every event: a third of the cost.
class Need(NamedTuple):
    """Documents that an input needs: those of ``model`` whose ``field`` equals ``value``.

    ``field`` is ``id`` or a field with an index in ``store.py``. A batch's needs are
    read in one query for each (model, field).
    """

    model: type[Document]
    field: str
    value: str


def by_id(model: type[Document], *ids: str) -> list[Need]:
    return [Need(model, "id", i) for i in ids]


@dataclass(frozen=True, slots=True)
class Actor:
    """Who sends a command, from the verified token (``person`` is the claim ``sub``)."""

    person: str
    roles: frozenset[str] = frozenset()
    departments: frozenset[str] = frozenset()

    def has(self, *roles: str) -> bool:
        return not self.roles.isdisjoint(roles)


class Input(NamedTuple):
    """One thing to decide: an event, a command or a due timer.

    ``(source, id)`` identifies it within its hospital for ever; ``body_hash`` tells a
    repetition from another body under the same id. ``time`` is when the event
    happened at its publisher, when the command came in, or when the timer was due.
    ``size``: bytes that it may put into a transaction, said of what may be large.
    """

    id: str
    source: str
    type: str
    hospital: str
    subject: str
    time: datetime
    data: Any
    sequence: int | None = None
    correlation_id: str = ""
    traceparent: str | None = None
    tracestate: str | None = None
    actor: Actor | None = None
    if_match: int | None = None
    body_hash: bytes = b""
    origin: tuple[str, int, int] | None = None
    size: int = 0
    #: Of an event: what caused it, and its data as it came (JSON), for who passes it on.
    causation_id: str = ""
    body: bytes = b""


def when(input: Input, at: datetime) -> datetime:
    """When a fact became so: never after it was told, or none could ever come after it."""
    return in_ms(min(at, input.time))


class State(Protocol):
    """What has been loaded, as seen by one input: its own hospital's documents only."""

    def get(self, model: type[D], id: str) -> D | None: ...

    def where(self, model: type[D], field: str, value: str) -> Sequence[D]: ...


@dataclass(frozen=True, slots=True)
class Env:
    """What a rule may know besides input and state.

    ``now`` is an aware UTC time in whole milliseconds; ``policy`` the service's dated
    rules; ``secret()`` draws an unguessable URL-safe token from the randomness port;
    ``correlation_id`` is that of the input, which its events and timers have, too.
    """

    now: datetime
    policy: Any
    secret: Callable[[], str]
    correlation_id: str = ""


class Original(NamedTuple):
    """An event as its publisher wrote it: ``ce_*`` headers and body in binary mode."""

    headers: Sequence[tuple[str, bytes]]
    value: bytes


class Emit(NamedTuple):
    """A fact to publish about the aggregate ``about``, one of the decision's changes.

    The runtime gives it its id, time and sequence. ``about=None`` is for facts with no
    aggregate of their own, above all requests for a notification. ``subject`` is what the
    fact is about in the words of who reads it, where that is not our aggregate's id.
    ``original`` is another system's event, passed on with its own id, source and time.
    """

    data: Event
    about: Document | None = None
    subject: str | None = None
    original: Original | None = None


@dataclass(frozen=True, slots=True)
class Timer:
    """Bring ``type`` with ``data`` back as an input when ``due`` has come.

    The same ``id`` and ``due`` are one timer. There is no cancelling and no moving: the
    rule that it wakes looks at the status again. ``data`` holds JSON values only.
    """

    id: str
    due: datetime
    type: str
    subject: str
    data: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Decision:
    """Yes: what changes, what is published, what shall wake us later.

    ``result`` answers a command; it must be JSON (it is kept beside the idempotency key).
    ``note`` says in a static word what happened, for the inbox row and the counters.
    """

    changes: Sequence[Document] = ()
    events: Sequence[Emit] = ()
    timers: Sequence[Timer] = ()
    result: Any = None
    note: str = "done"


@dataclass(frozen=True, slots=True)
class Refusal:
    """No, for ``reason``, a member of an enum. It is final, and it may itself be recorded.

    ``detail`` is for people and holds no personal data; ``extra`` goes into the
    problem detail of an HTTP answer. ``NOT_FOUND`` also answers for somebody else's.
    """

    reason: str
    detail: str = ""
    changes: Sequence[Document] = ()
    events: Sequence[Emit] = ()
    timers: Sequence[Timer] = ()
    extra: Mapping[str, Any] = field(default_factory=dict)


class Common(StrEnum):
    """Reasons that mean the same in every service."""

    NOT_FOUND = "not_found"
    FORBIDDEN = "forbidden"
    STALE = "stale"  # an older fact than what is known; nothing to do
    CHANGED = "changed"  # If-Match names another version
    WRONG_STATUS = "wrong_status"
    CLAIMED = "claimed"  # somebody else is at it


def unchanged(input: Input, doc: Document) -> bool:
    """Whether ``If-Match``, where given, still names this version of ``doc``."""
    return input.if_match is None or input.if_match == doc.version


Answer = Decision | Refusal
Needs = Callable[[Input, State], Iterable[Need]]
Decide = Callable[[Input, State, Env], Answer]


@dataclass(frozen=True, slots=True)
class Handler:
    """How one type of input is decided: how its body reads, what it needs, the rule.

    ``needs`` is asked again after each load until it names nothing new (at most four
    rounds), so a need may follow from what an earlier one found.
    """

    data: type[BaseModel]
    needs: Needs
    decide: Decide
