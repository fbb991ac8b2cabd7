"""What every event class owes to its readers, whatever it tells."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path
from types import UnionType
from typing import Annotated, Any, Union, get_args, get_origin

import pytest
from pydantic import BaseModel, ValidationError

from libs.common.events import EVENT_TYPES, Event, sensitive_fields
from tests.support.examples import BODIES, example

TYPES = [pytest.param(model, id=name) for name, model in EVENT_TYPES.items()]
#: Fields that tell who somebody is or what ails them, wherever they stand.
PERSONAL = frozenset(
    {
        *("birth_date", "phone", "email", "webhook", "link", "parameters"),
        *("diagnoses", "procedures", "observations", "value", "conclusion", "instructions"),
        *("onset_on", "reaction"),
    }
)
#: What an event says that is about nothing but what ails somebody, or was done to them.
FINDING = frozenset({"code", "display"})
FINDINGS = frozenset(
    {
        *("ConditionRecorded", "AllergyRecorded"),
        *("ProcedureScheduled", "ProcedurePerformed"),
    }
)
#: ``name`` and ``value`` are personal but for what has no person in it.
IMPERSONAL = frozenset({"Department", "Medication", "Quantity", "GroupOpened"})


def models(root: Any) -> Iterator[type[BaseModel]]:
    """``root`` and every model within it."""
    if isinstance(root, type) and issubclass(root, BaseModel):
        yield root
        for info in root.model_fields.values():
            yield from models(info.annotation)
    elif get_origin(root) in (Annotated, Union, UnionType, tuple, dict):
        for part in get_args(root):
            yield from models(part)


@pytest.mark.parametrize("model", TYPES)
def test_a_type_has_the_published_form(model: type[Event]) -> None:
    assert re.fullmatch(r"hospital\.[a-z]+\.[a-z_]+\.v[1-9]\d*", model.TYPE)
    assert EVENT_TYPES[model.TYPE] is model


def test_a_type_is_a_draft_just_as_long_as_no_service_names_it() -> None:
    named: set[str] = set()
    for file in Path("services").rglob("*.py"):
        tree = ast.parse(file.read_text(encoding="utf-8"))
        named |= {node.id for node in ast.walk(tree) if isinstance(node, ast.Name)}
    by_no_service = {m.__name__ for m in EVENT_TYPES.values() if m.__name__ not in named}
    assert by_no_service == {m.__name__ for m in EVENT_TYPES.values() if m.DRAFT}


@pytest.mark.parametrize("model", TYPES)
def test_key_and_subject_are_required_ids(model: type[Event]) -> None:
    for name in (model.KEY, model.SUBJECT):
        assert model.model_fields[name].is_required()
        schema = model.model_json_schema()["properties"][name]
        assert schema["maxLength"] == 128
        for forbidden in ("", "a/b", "a|b", "a b", "a\nb", "a\n", "编号", "x" * 129):
            assert len(forbidden) > 128 or not re.fullmatch(schema["pattern"][1:-1], forbidden)


@pytest.mark.parametrize("model", TYPES)
def test_every_event_says_when_it_happened(model: type[Event]) -> None:
    schema = model.model_json_schema()
    times = {n for n, s in schema["properties"].items() if s.get("format") == "date-time"}
    assert times & set(schema["required"])


@pytest.mark.parametrize("model", TYPES)
def test_every_field_is_described(model: type[Event]) -> None:
    for part in models(model):
        assert [n for n, f in part.model_fields.items() if not f.description] == []
        assert part.__doc__


@pytest.mark.parametrize("model", TYPES)
def test_what_may_be_null_may_be_absent(model: type[Event]) -> None:
    """Absent fields are not written, so a reader must not demand them."""
    for part in models(model):
        for name, info in part.model_fields.items():
            if type(None) in get_args(info.annotation):
                assert not info.is_required(), name
                assert info.default is None, name


@pytest.mark.parametrize("model", TYPES)
def test_personal_fields_are_marked(model: type[Event]) -> None:
    for part in models(model):
        names = part.model_fields.keys()
        personal = (names & PERSONAL) | (names & {"name"})
        if part.__name__ in IMPERSONAL:
            personal -= {"name", "value"}
        if part.__name__ in FINDINGS:
            personal |= FINDING
        assert personal == sensitive_fields(part), part.__name__


@pytest.mark.parametrize("model", TYPES)
def test_the_schema_tells_which_fields_are_personal(model: type[Event]) -> None:
    properties = model.model_json_schema()["properties"]
    marked = {n for n, s in properties.items() if s.get("x-sensitive")}
    assert marked == sensitive_fields(model)


@pytest.mark.parametrize("name", BODIES)
def test_an_event_is_frozen(name: str) -> None:
    event = example(name)
    with pytest.raises(ValidationError, match="frozen"):
        setattr(event, event.KEY, "other")


@pytest.mark.parametrize("model", TYPES)
def test_an_error_never_quotes_what_was_wrong(model: type[Event]) -> None:
    with pytest.raises(ValidationError) as caught:
        model.model_validate({name: ["13800000000"] for name in model.model_fields})
    assert "13800000000" not in str(caught.value)


def test_times_need_an_offset() -> None:
    event = example("hospital.patient.deceased.v1/minimal")
    naive = event.model_dump(mode="json") | {"deceased_at": "2026-11-18T04:40:00"}
    with pytest.raises(ValidationError, match="timezone"):
        type(event).model_validate(naive)


@pytest.mark.parametrize("value", [b"NaN", b"Infinity", b"1e999", b"true"])
def test_a_value_is_a_finite_number_or_text(value: bytes) -> None:
    model = EVENT_TYPES["hospital.report.ready.v1"]
    body = BODIES["hospital.report.ready.v1/blood-count"]
    assert body.count(b"11.4") == 1
    for good in (b"11", b"11.4", b'"< 11.4"'):
        assert model.model_validate_json(body.replace(b"11.4", good), strict=True)
    with pytest.raises(ValidationError):
        model.model_validate_json(body.replace(b"11.4", value), strict=True)
