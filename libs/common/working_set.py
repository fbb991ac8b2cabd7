"""What do the decisions of one batch see?

One set of documents for the whole batch: every decision sees what earlier ones left,
and each document is written once. It also notes what was asked for, so that a rule
which reads something its ``needs`` did not name fails loudly instead of seeing nothing.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from typing import Any, TypeVar

from libs.common.decision import Document, Emit, Need

D = TypeVar("D", bound=Document)
Key = tuple[type[Document], str, str]  # model, hospital, id


class NotNeeded(LookupError):
    """A rule read a document that its ``needs`` did not name."""


class WorkingSet:
    def __init__(self) -> None:
        self._docs: dict[Key, Document] = {}
        self._asked: set[tuple[type[Document], str, str, str]] = set()
        self._index: dict[tuple[type[Document], str], dict[tuple[str, Any], dict[str, Any]]] = {}
        self._base: dict[Key, int] = {}  # the stored version of each changed document
        self._views: dict[str, View] = {}

    def missing(self, hospital: str, needs: Iterable[Need]) -> list[Need]:
        """The needs that nobody has asked for yet; from now on they count as asked."""
        fresh: list[Need] = []
        try:
            # One at a time: a generator may look at what it has just named.
            for need in needs:
                asked = (need.model, hospital, need.field, need.value)
                if asked not in self._asked:
                    self._asked.add(asked)
                    if need.field != "id":
                        self._index_on(need.model, need.field)
                    fresh.append(need)
        except BaseException:  # all or none: a bug half-way must not leave some as asked
            self._asked.difference_update((n.model, hospital, n.field, n.value) for n in fresh)
            raise
        return fresh

    def loaded(self, docs: Iterable[Document]) -> None:
        for doc in docs:
            key = (type(doc), doc.hospital, doc.id)
            if key not in self._docs:  # two needs may find the same document
                self._place(key, doc)

    def view(self, hospital: str) -> View:
        found = self._views.get(hospital)
        if found is None:
            found = self._views[hospital] = View(self, hospital)
        return found

    def stage(
        self, hospital: str, changes: Sequence[Document], events: Sequence[Emit]
    ) -> tuple[dict[Key, Document], list[int]]:
        """What a decision would leave, and the sequence of each event. Changes nothing yet."""
        written: dict[Key, Document] = {}
        numbers: dict[Key, tuple[int, int]] = {}  # version and sequence that they will have
        for doc in changes:
            self._number(hospital, doc, written, numbers)
        sequences: list[int] = []
        for event in events:
            if event.about is None:
                sequences.append(1)
                continue
            key = self._number(hospital, event.about, written, numbers)
            version, sequence = numbers[key]
            numbers[key] = version, sequence + 1
            sequences.append(sequence + 1)
        for key, doc in written.items():
            version, sequence = numbers[key]
            known = self._docs.get(key)
            if doc is known:  # a rule may give back what it got
                doc = written[key] = doc.but()
            # A document that a rule has just made is nobody else's: numbered where it is.
            vars(doc).update(version=version, sequence=sequence, schema_number=doc.SCHEMA)
            if known is not None and known.unknown is not None:
                vars(doc).update(unknown=known.unknown)
        return written, sequences

    def _number(
        self,
        hospital: str,
        doc: Document,
        written: dict[Key, Document],
        numbers: dict[Key, tuple[int, int]],
    ) -> Key:
        """Take ``doc`` among what is written, unless this decision has it already."""
        model = type(doc)
        key = (model, doc.hospital, doc.id)
        if key not in written:
            if doc.hospital != hospital:
                raise ValueError("a decision may only change documents of its own hospital")
            known = self._docs.get(key)
            if known is not None:
                numbers[key] = known.version + 1, known.sequence
            elif self._was_asked_for(model, hospital, doc):
                numbers[key] = 1, 0
            else:
                raise NotNeeded(f"{model.__name__} is written but needs did not name it")
            written[key] = doc
        return key

    def take(self, pending: dict[Key, Document]) -> None:
        for key, doc in pending.items():
            if key not in self._base:
                known = self._docs.get(key)
                self._base[key] = known.version if known else 0
            self._place(key, doc)

    def changed(self) -> dict[type[Document], list[tuple[Document, int]]]:
        """Changed documents by model, each with the version that is stored (0 = none)."""
        by_model: dict[type[Document], list[tuple[Document, int]]] = defaultdict(list)
        for key, base in self._base.items():
            by_model[key[0]].append((self._docs[key], base))
        return by_model

    def _was_asked_for(self, model: type[Document], hospital: str, doc: Document) -> bool:
        """Whether a need would have found ``doc``, had it been stored: by its id or a field."""
        return (model, hospital, "id", doc.id) in self._asked or any(
            (model, hospital, field, getattr(doc, field)) in self._asked
            for m, field in self._index
            if m is model
        )

    def _index_on(self, model: type[Document], field: str) -> None:
        if (model, field) in self._index:
            return
        index = self._index[(model, field)] = defaultdict(dict)
        for (m, hospital, id), doc in self._docs.items():
            if m is model:
                index[(hospital, getattr(doc, field))][id] = doc

    def _place(self, key: Key, doc: Document) -> None:
        if not self._index:
            self._docs[key] = doc
            return
        model, hospital, id = key
        old = self._docs.get(key)
        self._docs[key] = doc
        for (m, field), index in self._index.items():
            if m is model:
                if old is not None:
                    index[(hospital, getattr(old, field))].pop(id, None)
                index[(hospital, getattr(doc, field))][id] = doc


class View:
    """The working set as one hospital's inputs see it (``libs.common.decision.State``)."""

    __slots__ = ("_hospital", "_set", "looks")

    def __init__(self, of: WorkingSet, hospital: str) -> None:
        self._set = of
        self._hospital = hospital
        #: How often somebody looked: needs that did not look can't change with what is loaded.
        self.looks = 0

    def get(self, model: type[D], id: str) -> D | None:
        self.looks += 1
        doc: Any = self._set._docs.get((model, self._hospital, id))
        if doc is None and (model, self._hospital, "id", id) not in self._set._asked:
            raise NotNeeded(f"{model.__name__} by id was not named by needs")
        return doc  # type: ignore[no-any-return]

    def where(self, model: type[D], field: str, value: str) -> Sequence[D]:
        self.looks += 1
        if (model, self._hospital, field, value) not in self._set._asked:
            raise NotNeeded(f"{model.__name__}.{field} was not named by needs")
        found = self._set._index[(model, field)].get((self._hospital, value), {})
        return [found[id] for id in sorted(found)]
