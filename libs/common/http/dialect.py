"""Which routes answer in another form than ours, to clients that read no problem details?

A standard's clients (FHIR's) want its own form also of a missing token or a body that is too
long, which no route of theirs ever sees. So the form belongs to the path.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final

from starlette.types import Scope


@dataclass(frozen=True, slots=True)
class Dialect:
    """All paths from ``prefix`` on. ``problem`` turns a problem detail (its fields) into the
    dialect's form of it, which ``schema`` describes; bodies have ``max_body`` bytes at most."""

    prefix: str
    media_type: str
    problem: Callable[[Mapping[str, Any]], Mapping[str, Any]]
    schema: Mapping[str, Any]
    max_body: int

    def covers(self, path: str) -> bool:
        return path == self.prefix or path.startswith(f"{self.prefix}/")


#: Where the dialect of a request is kept in its ASGI scope.
DIALECT: Final = "lianxin.dialect"


def spoken(scope: Scope) -> Dialect | None:
    """The dialect in which a request is to be answered; ``None``: ours."""
    found: Dialect | None = scope.get(DIALECT)
    return found
