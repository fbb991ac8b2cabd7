"""Is whatever may be personal sealed in every service, and is nothing looked up by it?

By the names of fields, as a net: what a field holds is read after a whole day in
``tests/e2e/test_at_rest.py``.
"""

from __future__ import annotations

from collections.abc import Iterator
from importlib import import_module
from typing import Any

import pytest
from pydantic import BaseModel

from libs.common.cipher import models_in, sealed_fields
from libs.common.decision import Document
from libs.common.devstack.places import SERVICES
from libs.common.events import Sensitive
from libs.common.logs import PERSONAL
from libs.common.mongo.collection import CollectionSpec, Index
from libs.common.mongo.database import Database

#: Names that tell of a person, their health or what somebody said, besides those of the logs.
TELLING = (PERSONAL - {"key", "value"}) | {
    *("title", "note", "comment", "display", "link", "webhook", "reaction", "declaration"),
    *("raw", "parameters", "request", "dosage"),
}
#: Not of a person: who is named in rules anyway, what stands in them, what is wrong with a field.
OF_NOBODY = {
    "enrollment.groups.name",
    "enrollment.memberships.also.link",  # which relation it is
    "messaging.groups.name",
    "messaging.messages.sheet.title",
    "prescriptions.refills.consents.text",
    "interop.messages.faults.text",
}
SPECS = {
    f"{service}.{spec.model.COLLECTION}": spec
    for service in SERVICES
    for spec in import_module(f"services.{service}.main").SPEC.collections
}


def plain(model: type[BaseModel], above: tuple[type[BaseModel], ...] = ()) -> Iterator[str]:
    """The paths of the fields that are not sealed, with those of models within."""
    for name, info in model.model_fields.items():
        if name not in sealed_fields(model):
            yield name
            for inner in set(models_in(info.annotation)) - {model, *above}:
                yield from (f"{name}.{path}" for path in plain(inner, (*above, model)))


def telling(prefix: str, model: type[BaseModel]) -> set[str]:
    return {f"{prefix}.{p}" for p in plain(model) if p.rpartition(".")[2] in TELLING}


def test_no_field_whose_name_tells_of_a_person_is_stored_in_plain() -> None:
    found = set().union(*(telling(name, spec.model) for name, spec in SPECS.items()))
    assert found == OF_NOBODY


def test_no_index_holds_what_is_sealed() -> None:
    for name, spec in SPECS.items():
        model: type[Document] = spec.model
        indexed = {f.partition(".")[0] for index in spec.indexes for f in index.fields}
        assert not indexed & sealed_fields(model), name


class Note(BaseModel):
    text: str


class Visit(Document):
    COLLECTION = "visits"
    SCHEMA = 1

    room: str
    called: Sensitive[str | None] = None
    notes: tuple[Note, ...] = ()


@pytest.mark.parametrize(
    "where",
    [{"called": "x"}, {"$or": [{"room": "1"}, {"called.first": {"$in": ["x"]}}]}],
)
async def test_who_asks_by_what_is_sealed_is_told_so_at_once(where: dict[str, Any]) -> None:
    database = Database("mongodb://127.0.0.1:1", "none")
    visits = database.collection(CollectionSpec(Visit, (Index(("room",)),)))
    for asking in (
        lambda: visits.find("h1", where),
        lambda: visits.find_fields("h1", where, ["id"], sort=(("id", 1),), limit=1),
        lambda: visits.count("h1", where),
        lambda: visits.find("h1", {"room": "1"}, sort=(("called", 1),)),
        lambda: visits.load("called", [("h1", "x")]),
    ):
        with pytest.raises(ValueError, match=r"visits\.called is sealed"):
            await asking()
    await database.close()


def test_a_telling_field_in_plain_would_be_found() -> None:
    assert telling("s.visits", Visit) == {"s.visits.notes.text"}
