"""Who are the hospital's partner systems, and what may each of them write and read?

A partner is a system with a credential of its own for HTTP: it may act for one hospital
only, write events of some topics under sources of its own, and read some topics by
subscriptions. ``policies/partners`` holds one file for each.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from datetime import datetime
from enum import StrEnum
from typing import Annotated, ClassVar, Final

from pydantic import AfterValidator, BaseModel, ConfigDict, Field

from libs.common.decision import Document
from libs.common.events import EVENT_TYPES
from libs.common.events.base import Line

#: Every topic that events are published on. Dead letters are none of them.
TOPICS: Final = frozenset(event.TOPIC for event in EVENT_TYPES.values())
#: What other systems tell us. All other topics are written by our services alone.
PUBLISHABLE: Final = frozenset(
    topic for topic in TOPICS if topic.startswith("hospital.") or topic == "notify.requests"
)
#: A request's link may hold an invitation's secret.
SUBSCRIBABLE: Final = TOPICS - {"notify.requests"}

#: What partners may be told, if their file allows its topic.
READABLE: Final = {
    name: event
    for name, event in EVENT_TYPES.items()
    if event.TOPIC in SUBSCRIBABLE and not event.DRAFT
}

#: RFC 3986 with a scheme, so that nobody writes under a name like those of our services
#: (``/services/reports``); else as our reader of CloudEvents wants a source.
_SOURCE = re.compile(r"(?=.{3,256}$)[a-z][a-z0-9+.-]*:[!-{}~]+")

#: Of a client, which may be a user in Kafka by that name, where ``*`` is everybody.
_NAME: Final = r"[^\s/*\x00-\x20\x7f-\x9f]"


def _publishable(topic: str) -> str:
    if topic not in PUBLISHABLE:
        raise ValueError(f"{topic} may not be written by partners; {_one_of(PUBLISHABLE)}")
    return topic


def _subscribable(topic: str) -> str:
    if topic not in SUBSCRIBABLE:
        raise ValueError(f"{topic} may not be read by partners; {_one_of(SUBSCRIBABLE)}")
    return topic


def _source(source: str) -> str:
    if not _SOURCE.fullmatch(source):
        raise ValueError("a source is an absolute URI such as https://lis.hospital.example/")
    return source


def _one_of(topics: Iterable[str]) -> str:
    return f"one of {', '.join(sorted(topics))} may"


class Partner(BaseModel):
    """One partner, as its file says it."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    client: str = Field(
        pattern=rf"^{_NAME}{{1,255}}$",
        description="the claim `sub` of its tokens, whose role is `integration`",
    )
    hospital: str = Field(
        pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$", description="for which alone it may act"
    )
    name: Line = Field(description="for people")
    kafka_user: str = Field(
        "",
        pattern=rf"^{_NAME}{{0,255}}$",
        description="its user in Kafka, where that has another name than the client",
    )
    sources: frozenset[Annotated[str, AfterValidator(_source)]] = frozenset()
    publishes: frozenset[Annotated[str, AfterValidator(_publishable)]] = frozenset()
    subscribes: frozenset[Annotated[str, AfterValidator(_subscribable)]] = frozenset()

    @property
    def types(self) -> frozenset[str]:
        """The event types that it may read."""
        return frozenset(t for t, event in READABLE.items() if event.TOPIC in self.subscribes)


class Retired(Document):
    """A partner that was retired (`lianxin partner retire`) and may not subscribe, even while its
    file is among the policies that a running interop has read. Its id is the client."""

    COLLECTION: ClassVar[str] = "retired_partners"

    at: datetime


class NotAllowed(StrEnum):
    """Why a partner may not do what it asks for."""

    UNKNOWN_PARTNER = "unknown_partner"
    TOPIC = "topic_not_allowed"
    SOURCE = "source_not_allowed"


class Partners:
    """All partners of an installation. ``ValueError`` where two of them can't be told apart."""

    def __init__(self, partners: Iterable[Partner] = ()) -> None:
        self._by_client: dict[str, Partner] = {}
        owners: dict[tuple[str, str], Partner] = {}
        users: dict[str, str] = {}
        for partner in partners:
            if partner.client in self._by_client:
                raise ValueError(f"client: {partner.client} is another partner's, too")
            self._by_client[partner.client] = partner
            user = partner.kafka_user or partner.client
            if (other := users.setdefault(user, partner.client)) != partner.client:
                raise ValueError(f"kafka_user: {user} is {other}'s, too")
            for source in partner.sources:
                owner = owners.setdefault((partner.hospital, source), partner)
                if owner is not partner:
                    raise ValueError(f"sources: {source} is {owner.client}'s, too")

    def of(self, client: str, hospital: str) -> Partner | None:
        """The partner that ``client`` is, if it may act for ``hospital``."""
        partner = self._by_client.get(client)
        return partner if partner is not None and partner.hospital == hospital else None

    def publishing(
        self, client: str, hospital: str, topic: str, source: str
    ) -> Partner | NotAllowed:
        """The partner, if it may write to ``topic`` under ``source``; else why not."""
        partner = self.of(client, hospital)
        if partner is None:
            return NotAllowed.UNKNOWN_PARTNER
        if topic not in partner.publishes:
            return NotAllowed.TOPIC
        return partner if source in partner.sources else NotAllowed.SOURCE
