"""How is a long list read in pages that stay right while it grows?

By keyset: a cursor holds the sort values of the last item seen, and the next page
begins after them. It is opaque to clients and checked on return; it grants nothing,
for every query begins with the caller's hospital anyway.
"""

from __future__ import annotations

from base64 import urlsafe_b64decode, urlsafe_b64encode
from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Annotated, Any, Final, Generic, TypeVar, cast

from fastapi import Depends, Query
from pydantic import BaseModel, TypeAdapter, ValidationError
from pydantic_core import to_json

from libs.common.http import problems

LIMIT: Final = 50
MAX_LIMIT: Final = 200
#: A keyset of two or three sort values is far shorter.
_CURSOR_MAX: Final = 1024

T = TypeVar("T")
K = TypeVar("K")


class PageOf(BaseModel, Generic[T]):
    """One page. ``next`` goes into the next request as ``cursor``; null on the last page."""

    items: list[T]
    next: str | None


@dataclass(frozen=True, slots=True)
class Page:
    """Which page is asked for. Read ``fetch`` rows: one more tells that there is a next."""

    limit: int = LIMIT
    cursor: str | None = None

    @property
    def fetch(self) -> int:
        return self.limit + 1

    def after(self, keyset: type[K]) -> K | None:
        """The sort values after which the page begins, as ``keyset``: ``tuple[datetime, str]``.

        None at the beginning. A cursor that is not ours is answered with 400.
        """
        if self.cursor is None:
            return None
        try:
            padded = self.cursor + "=" * (-len(self.cursor) % 4)
            raw = urlsafe_b64decode(padded.encode("ascii"))
            found: K = _adapter(cast(Hashable, keyset)).validate_json(raw)
        except (ValueError, ValidationError):
            raise problems.invalid("query", "cursor", "cursor", "invalid_cursor") from None
        return found

    def of(
        self,
        rows: Sequence[T],
        key: Callable[[T], Sequence[Any]],
        item: Callable[[T], Any] = lambda row: row,
    ) -> dict[str, Any]:
        """The answer's body for up to ``fetch`` rows; ``key(row)`` gives the sort values."""
        shown = rows[: self.limit]
        more = len(rows) > self.limit
        return {
            "items": [item(row) for row in shown],
            "next": cursor_of(key(shown[-1])) if more else None,
        }


def cursor_of(values: Sequence[Any]) -> str:
    return urlsafe_b64encode(to_json(list(values))).decode("ascii").rstrip("=")


@lru_cache(maxsize=64)
def _adapter(keyset: Any) -> TypeAdapter[Any]:
    return TypeAdapter(keyset)


async def _page(
    limit: Annotated[int, Query(ge=1, le=MAX_LIMIT, description="Items in a page.")] = LIMIT,
    cursor: Annotated[
        str | None,
        Query(max_length=_CURSOR_MAX, description="The `next` of the page before."),
    ] = None,
) -> Page:
    return Page(limit, cursor)


#: Which page is asked for: ``page: Paging``.
Paging = Annotated[Page, Depends(_page)]
