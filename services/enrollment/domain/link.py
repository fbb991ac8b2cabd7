"""What is known between a patient and a person who may act for them, and since when?

The latest fact holds. None is newer than the event that tells it: a date in the future
would make every later fact stale.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime

from pydantic import BaseModel, ConfigDict

from libs.common.events import Guardian, GuardianLinked, LinkScope, Relationship

#: What a link must allow for its person to be invited on the patient's account.
INVITABLE = frozenset({LinkScope.FULL, LinkScope.GROUP})


class Link(BaseModel):
    """One person who may, or no longer may, act for the patient."""

    model_config = ConfigDict(frozen=True)

    person_id: str
    relationship: Relationship = Relationship.OTHER
    scope: tuple[LinkScope, ...] = (LinkScope.FULL,)
    verified_by: str
    valid_until: datetime | None = None
    language: str | None = None
    since: datetime
    ended: bool = False

    def active(self, now: datetime) -> bool:
        return not self.ended and (self.valid_until is None or now < self.valid_until)

    @property
    def order(self) -> tuple[datetime, bool]:
        """Of two facts of the same moment the end holds."""
        return (self.since, self.ended)


def latest(links: Iterable[Link]) -> Link | None:
    return max(links, key=lambda x: x.order, default=None)


def link_of(event: GuardianLinked, told_at: datetime) -> Link:
    return Link(
        person_id=event.person_id,
        relationship=event.relationship,
        scope=event.scope,
        verified_by=event.verified_by,
        valid_until=event.valid_until,
        language=event.contact.language,
        since=min(event.linked_at, told_at),
    )


def link_of_snapshot(guardian: Guardian, since: datetime, until: datetime | None) -> Link:
    """A discharge names guardians as the hospital knew them at that moment.

    It does not say for how long; ``until`` is when a child comes of age.
    """
    return Link(
        person_id=guardian.person_id,
        relationship=guardian.relationship,
        verified_by="discharge",
        valid_until=until,
        language=guardian.language,
        since=since,
    )
