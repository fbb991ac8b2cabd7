"""How are documents of one kind found?

Every ``_id`` is ``<hospital>/<id>`` and every declared index begins with the hospital, so no
query can cross tenants by forgetting one.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from libs.common.cipher import Cipher, Place, asked_for, sealed_fields
from libs.common.decision import Document
from libs.common.mongo.calls import ONE_ROUND_TRIP, call
from libs.common.mongo.documents import Row, opened
from libs.common.mongo.errors import Unavailable

D = TypeVar("D", bound=Document)


@dataclass(frozen=True, slots=True)
class Index:
    """An index on ``fields`` after the hospital. ``partial`` is a filter expression.

    ``all_hospitals`` leaves the hospital out, for a work list that a service's own loop
    drains for all of them together, as the runtime does with timers; never for people.
    """

    fields: tuple[str, ...]
    unique: bool = False
    partial: Mapping[str, Any] | None = None
    all_hospitals: bool = False


@dataclass(frozen=True, slots=True)
class CollectionSpec(Generic[D]):
    """How documents of ``model`` are stored.

    ``upcast(row)`` turns a row of schema N-1 into N; rows of N never pass through it.
    """

    model: type[D]
    indexes: tuple[Index, ...] = ()
    upcast: Callable[[Row], Row] | None = None


class Collection(Generic[D]):
    """Typed access to one collection of aggregates."""

    def __init__(
        self,
        spec: CollectionSpec[D],
        raw: Any,
        cipher: Cipher | None,
        there: Callable[[], Awaitable[None]],
    ) -> None:
        self.spec = spec
        self.raw = raw
        self.cipher = cipher
        self._there = there
        model: type[Document] = spec.model
        self._sealed = sealed_fields(model)
        self._known = model.model_fields.keys() | {"_id"}

    def _refuse_sealed(self, *names: str) -> None:
        """Nothing is found by what is sealed: the same value looks different each time."""
        for name in self._sealed.intersection(names):
            raise ValueError(f"{self.spec.model.COLLECTION}.{name} is sealed, no query finds it")

    def opened(self, row: Row) -> Row:
        """A row of it as it was before it was sealed."""
        if self.cipher is None:
            return row
        name, id = self.spec.model.COLLECTION, row["_id"]
        return row | {
            field: opened(row[field], Place(name, id, field), self.cipher)
            for field in sealed_fields(self.spec.model) & row.keys()
        }

    def document(self, row: Row) -> D:
        row = self.opened(row)
        if self.spec.upcast is not None and row["schema_number"] < self.spec.model.SCHEMA:
            row = {**self.spec.upcast(row), "schema_number": self.spec.model.SCHEMA}
        if not row.keys() <= self._known:
            row["unknown"] = {name: row[name] for name in row.keys() - self._known}
        return self.spec.model.model_validate(row)

    async def load(self, field: str, wanted: Iterable[tuple[str, str]]) -> list[D]:
        """All documents whose ``field`` is one of the (hospital, value) pairs; one query.

        For whoever will save them: raises :class:`Unavailable` for one that a newer release has
        stored in a form of its own, until a replica of that release takes the work over.
        """
        self._refuse_sealed(field.partition(".")[0])
        pairs = set(wanted)
        if field == "id":
            query: Row = {"_id": {"$in": [f"{h}/{v}" for h, v in pairs]}}
        else:
            hospitals = sorted({h for h, _ in pairs})
            # Of one hospital as an equality: two lists have the embedded server read everything.
            whose = hospitals[0] if len(hospitals) == 1 else {"$in": hospitals}
            query = {"hospital": whose, field: {"$in": sorted({v for _, v in pairs})}}
        await self._there()
        cursor = self.raw.find(query).batch_size(ONE_ROUND_TRIP)
        rows = await call(cursor.to_list(None))
        if field != "id":
            # hospitals x values may match more than the pairs that were asked for
            rows = [r for r in rows if (r["hospital"], r[field]) in pairs]
        if any(r["schema_number"] > self.spec.model.SCHEMA for r in rows):
            raise Unavailable(f"{self.spec.model.COLLECTION}: stored by a newer release")
        return [self.document(r) for r in rows]

    async def get(self, hospital: str, id: str) -> D | None:
        await self._there()
        row = await call(self.raw.find_one({"_id": f"{hospital}/{id}"}))
        return None if row is None else self.document(row)

    async def find(
        self,
        hospital: str,
        where: Row | None = None,
        *,
        sort: Sequence[tuple[str, int]] = (("id", 1),),
        limit: int = 50,
    ) -> list[D]:
        """Documents of one hospital; ``where`` and ``sort`` need an index of the spec."""
        query = {"hospital": hospital, **(where or {})}
        self._refuse_sealed(*asked_for(query), *(name for name, _ in sort))
        await self._there()
        cursor = self.raw.find(query).sort(list(sort)).limit(limit).batch_size(limit)
        return [self.document(r) for r in await call(cursor.to_list(limit))]

    async def find_fields(
        self,
        hospital: str,
        where: Row,
        fields: Sequence[str],
        *,
        sort: Sequence[tuple[str, int]],
        limit: int,
    ) -> list[Row]:
        """The same, but only ``fields`` of each: a long list of large documents stays light.

        Rows, not documents, and of a document's older form as they are.
        """
        query = {"hospital": hospital, **where}
        self._refuse_sealed(*asked_for(query), *(name for name, _ in sort))
        await self._there()
        cursor = self.raw.find(query, ["hospital", *fields]).sort(list(sort)).limit(limit)
        rows = await call(cursor.batch_size(limit).to_list(limit))
        return [self.opened(row) for row in rows]

    async def count(self, hospital: str, where: Row | None = None) -> int:
        query = {"hospital": hospital, **(where or {})}
        self._refuse_sealed(*asked_for(query))
        await self._there()
        return int(await call(self.raw.count_documents(query)))
