"""Would readers and writers of a published schema notice that it has changed?

Inside a major version only optional fields may be added. Everything else is reported:
readers of the old schema meet new events, writers of the old schema meet new readers.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

Schema = dict[str, Any]

#: Keywords that assert nothing about an event.
ANNOTATIONS = frozenset(
    {"$schema", "$id", "$defs", "$comment", "title", "description", "examples", "x-sensitive"}
)
#: Keywords that get stricter as their value grows, and the other way round.
LOWER_BOUNDS = frozenset({"minLength", "minimum", "exclusiveMinimum", "minItems", "minProperties"})
UPPER_BOUNDS = frozenset({"maxLength", "maximum", "exclusiveMaximum", "maxItems", "maxProperties"})
#: Keywords with a function of their own below.
HANDLED = frozenset({"properties", "required", "enum", "anyOf"})


def breaking_changes(old: Schema, new: Schema) -> list[str]:
    """Each change that needs a new major version, as ``<where>: <what>``."""
    return list(_differences(_plain(old, old), _plain(new, new), "body"))


def _plain(schema: Any, root: Schema) -> Any:
    """``schema`` with references put in place and annotations taken out."""
    if isinstance(schema, list):
        return [_plain(item, root) for item in schema]
    if not isinstance(schema, dict):
        return schema
    if "$ref" in schema:
        target = root["$defs"][schema["$ref"].removeprefix("#/$defs/")]
        schema = target | {k: v for k, v in schema.items() if k != "$ref"}
    plain = {
        k: _plain(v, root)
        for k, v in schema.items()
        if k not in ANNOTATIONS and k not in {"properties", "default", "const", "enum", "required"}
    }
    # Names of fields and values that events hold are no keywords, whatever they look like.
    plain |= {k: schema[k] for k in ("default", "const", "enum", "required") if k in schema}
    if "properties" in schema:
        plain["properties"] = {k: _plain(v, root) for k, v in schema["properties"].items()}
    return plain


def _differences(old: Any, new: Any, where: str) -> Iterator[str]:
    if not (isinstance(old, dict) and isinstance(new, dict)):
        if old != new:
            yield f"{where}: changed"
        return
    yield from _fields(old, new, where)
    yield from _values(old, new, where)
    yield from _alternatives(old, new, where)
    for keyword in sorted((old.keys() | new.keys()) - HANDLED):
        before, after = old.get(keyword), new.get(keyword)
        if before == after:
            continue
        if keyword in {"items", "additionalProperties", "propertyNames"} and before and after:
            yield from _differences(before, after, f"{where}.{keyword}")
        elif keyword in {"type", "format"}:
            yield f"{where}: retyped ({keyword} {before} became {after})"
        else:
            yield f"{where}: {_direction(keyword, before, after)} ({keyword})"


def _fields(old: Schema, new: Schema, where: str) -> Iterator[str]:
    before, after = old.get("properties", {}), new.get("properties", {})
    required, requires = set(old.get("required", ())), set(new.get("required", ()))
    for name in sorted(before.keys() - after.keys()):
        yield f"{where}.{name}: removed"
    for name in sorted(requires - required):
        yield f"{where}.{name}: newly required"
    for name in sorted((required - requires) & after.keys()):
        yield f"{where}.{name}: no longer required"
    for name in sorted(before.keys() & after.keys()):
        yield from _differences(before[name], after[name], f"{where}.{name}")


def _values(old: Schema, new: Schema, where: str) -> Iterator[str]:
    if "enum" in old and "enum" in new:
        yield from (f"{where}: new value {v!r}" for v in new["enum"] if v not in old["enum"])
        yield from (f"{where}: value {v!r} removed" for v in old["enum"] if v not in new["enum"])
    elif "enum" in old or "enum" in new:
        yield f"{where}: {'loosened' if 'enum' in old else 'tightened'} (enum)"


def _alternatives(old: Schema, new: Schema, where: str) -> Iterator[str]:
    before, after = old.get("anyOf", []), new.get("anyOf", [])
    if len(before) == len(after):
        for one, other in zip(before, after, strict=True):
            yield from _differences(one, other, where)
    else:
        yield f"{where}: retyped ({len(before) or 1} alternatives became {len(after) or 1})"


def _direction(keyword: str, before: Any, after: Any) -> str:
    if keyword not in LOWER_BOUNDS | UPPER_BOUNDS | {"pattern"}:
        return "changed"
    if before is None or after is None:
        return "tightened" if before is None else "loosened"
    if keyword == "pattern":
        return "changed"
    return "tightened" if (after > before) == (keyword in LOWER_BOUNDS) else "loosened"
