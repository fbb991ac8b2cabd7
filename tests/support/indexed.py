"""Is a query served by an index as it stands: what it asks by, and the order that it wants?

As MongoDB plans (the equality, sort, range rule): an index begins with what is asked for by
equality or ``$in``, goes on with the fields of the order, and a range is on the first of
these. What is asked besides is looked at in each document that the index gives, so it must
be named by the test as such.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from libs.common.cipher import asked_for
from libs.common.mongo.collection import CollectionSpec, Index
from libs.common.mongo.database import Database

RANGES = frozenset({"$gt", "$gte", "$lt", "$lte"})


@dataclass(frozen=True)
class Asked:
    """One query of one collection."""

    spec: CollectionSpec[Any]
    where: Mapping[str, Any]
    sort: Sequence[tuple[str, int]] = ()


@dataclass
class Asking:
    """Stands in for a database: keeps what it is asked, and has nothing, or what it is given."""

    has: Sequence[Any] = ()
    asked: list[Asked] = field(default_factory=list)

    def collection(self, spec: CollectionSpec[Any]) -> Any:
        return _Collection(self, spec)


class _Collection:
    def __init__(self, asking: Asking, spec: CollectionSpec[Any]) -> None:
        self._asking, self._spec = asking, spec

    def _ask(self, where: Mapping[str, Any], sort: Sequence[tuple[str, int]] = ()) -> list[Any]:
        self._asking.asked.append(Asked(self._spec, where, sort))
        return [doc for doc in self._asking.has if isinstance(doc, self._spec.model)]

    async def load(self, field: str, wanted: Iterable[tuple[str, str]]) -> list[Any]:
        return self._ask({field: {"$in": [value for _, value in wanted]}})

    async def get(self, hospital: str, id: str) -> Any:
        return next(iter(self._ask({"id": id})), None)

    async def find(
        self, hospital: str, where: Any = None, *, sort: Any = (("id", 1),), limit: int = 50
    ) -> list[Any]:
        return self._ask(where or {}, sort)

    async def find_fields(
        self, hospital: str, where: Any, fields: Any, *, sort: Any, limit: int
    ) -> list[Any]:
        self._ask(where, sort)
        return []

    async def count(self, hospital: str, where: Any = None) -> int:
        return len(self._ask(where or {}))


def by_fields(where: Mapping[str, Any]) -> frozenset[str]:
    """The top-level fields whose values a query compares, however deep it names them."""
    return frozenset(asked_for(where))


def unserved(asked: Asked, beside: frozenset[str] = frozenset()) -> str | None:
    """Why no index serves it, or None. ``beside``: fields that may be looked at afterwards."""
    where = {name: value for name, value in asked.where.items() if name not in beside}
    if "id" in where and not asked.sort:
        return None  # by _id
    # A query of one hospital is served by no index that leaves the hospital out.
    whole = [index for index in asked.spec.indexes if not index.all_hospitals]
    candidates = [*whole, Index(("id",))] if "id" in where else whole
    if any(_serves(index, where, asked.sort) for index in candidates):
        return None
    return f"{asked.spec.model.COLLECTION}: {sorted(where)} by {[name for name, _ in asked.sort]}"


def _serves(index: Index, where: Mapping[str, Any], sort: Sequence[tuple[str, int]]) -> bool:
    ranges = {name for name, value in where.items() if _is_range(value)}
    equal = where.keys() - ranges
    fields = list(index.fields)
    begin = fields[: len(equal)]
    if set(begin) != equal:
        return False
    rest = fields[len(equal) :]
    order = [name for name, _ in sort]
    if len({direction for _, direction in sort}) > 1 or rest[: len(order)] != order:
        return False
    return ranges <= set(rest[:1])


def _is_range(value: Any) -> bool:
    return isinstance(value, Mapping) and not RANGES.isdisjoint(value)


def as_database(asking: Asking) -> Database:
    """For what only asks its collections."""
    return asking  # type: ignore[return-value]
