"""What protects personal data at rest, field by field?

Fields marked ``Sensitive`` in a document, the bodies of events that wait in the outbox, and
what rules put into the inbox (answers) and into timers pass one port on their way into the
database and out of it. ``None`` is the identity: then
the database's own encryption is all there is. A real cipher (keys of a hospital's KMS)
plugs in here and nowhere else.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Any, Protocol, get_args

from pydantic import BaseModel

from libs.common.events.base import sensitive_fields


class Cipher(Protocol):
    """``open(h, seal(h, x)) == x``; keys may differ by hospital. Must not block."""

    def seal(self, hospital: str, plain: bytes) -> bytes: ...

    def open(self, hospital: str, sealed: bytes) -> bytes: ...


@lru_cache(maxsize=256)
def sealed_fields(model: type[BaseModel]) -> frozenset[str]:
    """Fields of ``model`` that hold personal data, in themselves or deeper down."""
    deeper = {
        name
        for name, info in model.model_fields.items()
        if any(sealed_fields(part) for part in _models_in(info.annotation) if part is not model)
    }
    return sensitive_fields(model) | deeper


def _models_in(annotation: Any) -> list[type[BaseModel]]:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return [annotation]
    return [model for part in get_args(annotation) for model in _models_in(part)]
