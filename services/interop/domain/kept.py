"""What is kept of a FHIR resource, so that a later request may refer to it?

The resource itself, under the id that its sender knows it by, and the identifiers by which
another one may name it. Besides, what it told: the same resource sent again tells nothing.
"""

from __future__ import annotations

from datetime import datetime
from typing import ClassVar

from libs.common.decision import Document, derived_id
from libs.common.events.base import Sensitive


class Kept(Document):
    """One resource of one sender, as it is now."""

    COLLECTION: ClassVar[str] = "resources"

    type: str
    fhir_id: Sensitive[str]
    #: Under what else it is found (:func:`name_of`, :func:`relation_of`): no text of the sender's.
    names: tuple[str, ...] = ()
    content: Sensitive[bytes] = b""
    #: A hash of the facts that it told last; empty if none.
    told: str = ""
    #: When what holds came here, and since when it is so by its sender, who need not say it.
    arrived_at: datetime | None = None
    stated_at: datetime | None = None

    def is_newer(self, arrived_at: datetime, stated_at: datetime | None) -> bool:
        """Whether it holds against what came and was stated then: what overtook another
        on its way, or was refused and is taken up later, changes nothing any more."""
        if self.stated_at is not None and stated_at is not None:
            return stated_at < self.stated_at
        return self.arrived_at is not None and arrived_at < self.arrived_at


def kept_id(sender: str, type: str, id: str) -> str:
    return derived_id("resource", sender, type, id)


def name_of(sender: str, type: str, system: str, value: str) -> str:
    """Under which a resource is found by one of its identifiers."""
    return derived_id("identifier", sender, type, system, value)


def relation_of(sender: str, type: str, id: str) -> str:
    """Under which those are found that belong to a Patient (related persons) or Practitioner
    (roles) by that FHIR id."""
    return derived_id("related", sender, type, id)
