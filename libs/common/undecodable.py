"""Why can a record never be read as an event?"""

from __future__ import annotations

from enum import StrEnum
from functools import lru_cache
from typing import NoReturn

from pydantic import ValidationError

from libs.common.events import Event


class Reason(StrEnum):
    """What is wrong with the record."""

    UNREADABLE = "unreadable"
    EMPTY_BODY = "empty_body"
    TOO_LARGE = "too_large"
    NOT_CLOUDEVENT = "not_cloudevent"
    MISSING_ATTRIBUTE = "missing_attribute"
    BAD_ATTRIBUTE = "bad_attribute"
    BAD_TIME = "bad_time"
    TIME_AHEAD = "time_ahead"
    UNKNOWN_MAJOR_VERSION = "unknown_major_version"
    NOT_JSON = "not_json"
    SCHEMA_VIOLATION = "schema_violation"


class Undecodable(Exception):
    """The record can never be read. ``detail`` names places and rules, never a value.

    ``source`` is the publisher, where at least that could be read.
    """

    def __init__(self, reason: str, detail: str = "", source: str | None = None) -> None:
        super().__init__(f"{reason}: {detail}" if detail else str(reason))
        self.reason = reason
        self.detail = detail
        self.source = source


class UnknownType(Exception):
    """A type that the reader does not know: skip and count it."""

    def __init__(self, type: str) -> None:
        super().__init__(type)
        self.type = type


def bad(value: bytes | None, name: str, rule: str = "1 to 256 visible ASCII but |") -> NoReturn:
    """The attribute ``name`` is missing, or has a ``value`` that breaks ``rule``."""
    if value is None:
        raise Undecodable(Reason.MISSING_ATTRIBUTE, name)
    raise Undecodable(Reason.BAD_ATTRIBUTE, f"{name}: {rule}")


def explained(error: ValidationError, model: type[Event], source: str | None) -> Undecodable:
    """Where the body departs from the schema, and what is expected there."""
    first, *more = error.errors(include_url=False, include_context=False, include_input=False)
    if first["type"] == "json_invalid":
        return Undecodable(Reason.NOT_JSON, "the body", source)
    # A part that is no field's name may be a key that somebody wrote, and so a value.
    path = [p if isinstance(p, int) or p in _names(model) else "*" for p in first["loc"]]
    detail = f"{'.'.join(map(str, path)) or 'the body'}: {first['msg']}"
    if more:
        detail += f" (and {len(more)} more)"
    return Undecodable(Reason.SCHEMA_VIOLATION, detail, source)


@lru_cache(maxsize=1024)
def _names(model: type[Event]) -> frozenset[str]:
    schema = model.model_json_schema()
    objects = [schema, *schema.get("$defs", {}).values()]
    return frozenset(name for o in objects for name in o.get("properties", ()))
