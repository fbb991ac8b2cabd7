"""What protects personal data at rest, field by field?

Fields marked ``Sensitive`` in a document, the bodies of events that wait in the outbox, and
what rules put into the inbox (answers) and into timers pass one port on their way into the
database and out of it. ``None`` is the identity: then the database's own encryption is all
there is. ``envelope.py`` is what services use; a hospital's KMS would plug in here, too.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import lru_cache
from typing import Any, NamedTuple, Protocol, get_args

from pydantic import BaseModel

from libs.common.events.base import sensitive_fields


class CantOpen(Exception):
    """A value that was changed, or sealed for another place: nothing that waiting mends."""


class KeyMissing(Exception):
    """The key that a value names is not there, yet or any more."""


class Place(NamedTuple):
    """Where a value stands: the collection, the row's ``_id``, which begins with the hospital,
    and the field. What is sealed for one place opens at no other."""

    collection: str
    id: str
    field: str

    @property
    def hospital(self) -> str:
        return self.id.partition("|")[0].partition("/")[0]


class Cipher(Protocol):
    """``open(place, seal(place, x)) == x``; keys may differ by hospital. Must not block.

    ``takes_plain``: whether what was stored before anything was sealed may be read as it is.
    """

    takes_plain: bool

    def is_sealed(self, value: bytes) -> bool: ...

    def seal(self, place: Place, plain: bytes) -> bytes: ...

    def open(self, place: Place, sealed: bytes) -> bytes: ...


def asked_for(where: Mapping[str, Any]) -> Iterator[str]:
    """The top-level fields whose values a query compares, however deep it names them."""
    for name, value in where.items():
        if name.startswith("$"):
            for part in value if isinstance(value, list) else (value,):
                yield from asked_for(part)
        elif value not in (None, {"$ne": None}):  # what is absent is not sealed either
            yield name.partition(".")[0]


@lru_cache(maxsize=256)
def sealed_fields(model: type[BaseModel]) -> frozenset[str]:
    """Fields of ``model`` that hold personal data, in themselves or deeper down."""
    deeper = {
        name
        for name, info in model.model_fields.items()
        if any(sealed_fields(part) for part in models_in(info.annotation) if part is not model)
    }
    return sensitive_fields(model) | deeper


def models_in(annotation: Any) -> list[type[BaseModel]]:
    """The models that a field of that type holds."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return [annotation]
    return [model for part in get_args(annotation) for model in models_in(part)]
