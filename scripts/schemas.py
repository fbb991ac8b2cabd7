"""What does the published JSON Schema of an event class say?

What pydantic makes of the class, and for people: of each field a title in plain words, and
values out of the hand-kept examples, so that what is shown is always true.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator
from typing import Any, NamedTuple

from pydantic.json_schema import GenerateJsonSchema

from libs.common.cloudevents import dataschema
from libs.common.events import Event
from scripts.compatibility import Schema

#: How many different values of one field are shown; of an object or a list, one.
SHOWN = 3


class Field(NamedTuple):
    """``name`` of the definition ``owner``, or of the body itself where that is empty."""

    owner: str
    name: str

    def __str__(self) -> str:
        return f"{self.owner}.{self.name}" if self.owner else self.name


class _Untitled(GenerateJsonSchema):
    """Its titles are set below, in words and for fields of every kind."""

    def field_title_should_be_set(self, schema: Any) -> bool:
        return False


def schema_of(model: type[Event], bodies: Iterable[Any] = ()) -> Schema:
    """The published JSON Schema (2020-12) of an event class, with values out of ``bodies``."""
    made = model.model_json_schema(schema_generator=_Untitled)
    shown, definitions = _shown(made, bodies), made.get("$defs", {})
    for owner, definition in _objects(made):
        properties = definition.get("properties", {})
        for name, field in properties.items():
            # pydantic leaves out what the class of the value says in the same words.
            of_class = definitions.get(field.get("$ref", "").removeprefix("#/$defs/"), {})
            inherited = {k: v for k, v in of_class.items() if k == "description"}
            properties[name] = {"title": in_words(name)} | inherited | field
            if values := shown.get(Field(owner, name)):
                properties[name]["examples"] = values
    for name, definition in definitions.items():
        definition["title"] = in_words(re.sub(r"(?<=[a-z])(?=[A-Z])", "_", name).lower())
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "$id": dataschema(model.TYPE),
        "title": model.TYPE,
    } | {k: v for k, v in made.items() if k != "title"}


def in_words(name: str) -> str:
    """``discharge_event_id`` is the "Discharge event ID"."""
    words = [{"id": "ID", "url": "URL"}.get(word, word) for word in name.split("_")]
    return " ".join([words[0][:1].upper() + words[0][1:], *words[1:]])


def unshown(schema: Schema) -> list[Field]:
    """The fields for which no example has a value."""
    return [
        Field(owner, name)
        for owner, definition in _objects(schema)
        for name, field in definition.get("properties", {}).items()
        if "examples" not in field
    ]


def _objects(schema: Schema) -> Iterator[tuple[str, Schema]]:
    yield "", schema
    yield from schema.get("$defs", {}).items()


def _shown(schema: Schema, bodies: Iterable[Any]) -> dict[Field, list[Any]]:
    found: dict[Field, dict[str, Any]] = {}
    for body in bodies:
        for field, value in _values(schema, "", body, schema.get("$defs", {})):
            if value not in (None, [], {}):
                found.setdefault(field, {}).setdefault(json.dumps(value), value)
    return {
        field: list(values.values())[: 1 if _is_container(values) else SHOWN]
        for field, values in found.items()
    }


def _is_container(values: dict[str, Any]) -> bool:
    return any(isinstance(value, dict | list) for value in values.values())


def _values(
    node: Schema, owner: str, value: Any, definitions: Schema
) -> Iterator[tuple[Field, Any]]:
    """Each value in ``value``, however deep, with the field that it is a value of."""
    if "$ref" in node:
        owner = node["$ref"].removeprefix("#/$defs/")
        node = definitions[owner]
    for option in node.get("anyOf", ()):
        yield from _values(option, owner, value, definitions)
    if isinstance(value, list):
        for item in value:
            yield from _values(node.get("items", {}), owner, item, definitions)
    elif isinstance(value, dict):
        others = node.get("additionalProperties")
        for name, inner in value.items():
            if name in node.get("properties", {}):
                yield Field(owner, name), inner
                yield from _values(node["properties"][name], owner, inner, definitions)
            elif isinstance(others, dict):
                yield from _values(others, owner, inner, definitions)
