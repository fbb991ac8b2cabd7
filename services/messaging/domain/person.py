"""What are people called in a group, and which ids are one person?

Names come from ``hospital.patients`` and ``hospital.staff``. Staff see full names, other
members only the first character: who shares an illness need not share a name.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any, ClassVar, Final

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
)
from libs.common.events import (
    GuardianLinked,
    PatientMerged,
    Sensitive,
)

_NEVER: Final = datetime.min.replace(tzinfo=UTC)


class Person(Document):
    """A name as of some time. ``survivor_id`` is the own id unless the record was merged."""

    COLLECTION: ClassVar[str] = "persons"

    survivor_id: str
    name: Sensitive[str | None] = None
    named_at: datetime | None = None
    merged_at: datetime | None = None


def masked(name: str | None) -> str | None:
    return f"{name[0]}**" if name else None


def needs_same(state: State, *ids: str) -> Iterator[Need]:
    """The documents of :func:`same_person`. A generator: later needs follow from earlier."""
    for id in ids:
        yield Need(Person, "id", id)
        known = state.get(Person, id)
        yield Need(Person, "survivor_id", known.survivor_id if known else id)


def same_person(state: State, id: str) -> frozenset[str]:
    """All ids of the person ``id``."""
    known = state.get(Person, id)
    others = state.where(Person, "survivor_id", known.survivor_id if known else id)
    return frozenset({id, *(p.id for p in others)})


def needs_named(input: Input, _state: State) -> Iterator[Need]:
    yield Need(Person, "id", _named(input)[0])


def decide_named(input: Input, state: State, _env: Env) -> Answer:
    id, name, at = _named(input)
    known = _person(input, state, id)
    if known.named_at is not None and at < known.named_at:
        return Refusal(Common.STALE)
    return Decision(changes=(known.but(name=name, named_at=at),), note="named")


def _named(input: Input) -> tuple[str, str, datetime]:
    """Whom, how, and since when; no later than the event itself, or no other name would come."""
    event: Any = input.data  # a patient's or practitioner's record, or a guardian's link
    if isinstance(event, GuardianLinked):
        return event.person_id, event.contact.name, min(event.linked_at, input.time)
    id = event.patient_id if hasattr(event, "patient_id") else event.practitioner_id
    return id, event.name, min(event.updated_at, input.time)


def needs_merged(input: Input, state: State) -> Iterator[Need]:
    event: PatientMerged = input.data
    yield from needs_same(state, event.patient_id, event.survivor_id)


def decide_merged(input: Input, state: State, _env: Env) -> Answer:
    """Both sides become one person; whose record never went, or went first, survives."""
    event: PatientMerged = input.data
    gone = _person(input, state, event.patient_id)
    merged_at = min(event.merged_at, input.time)
    gone = gone.but(merged_at=max(merged_at, gone.merged_at or _NEVER))
    stays = _person(input, state, event.survivor_id)
    together = {
        p.id: p
        for one in (gone, stays)
        for p in state.where(Person, "survivor_id", one.survivor_id)
    }
    together |= {stays.id: stays, gone.id: gone}
    survivor = min(together.values(), key=lambda p: (p.merged_at or _NEVER, p.id))
    changes = [p.but(survivor_id=survivor.id) for p in together.values()]
    return Decision(changes=changes, note="merged")


def _person(input: Input, state: State, id: str) -> Person:
    return state.get(Person, id) or Person(id=id, hospital=input.hospital, survivor_id=id)
