"""When is a request a repetition of an earlier one?

When the same person at the same hospital sends the same ``Idempotency-Key`` to the same
route. The command's id follows from these four, so the inbox, which stands in the same
transaction as the state, remembers it and its outcome; a hash of what was asked tells a
repetition from another request under a used key.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from hashlib import blake2b
from typing import Annotated, Any

from fastapi import Depends, Header
from pydantic import BaseModel

from libs.common.decision import derived_id
from libs.common.http import problems

#: Visible ASCII without blanks, as it may stand in a header.
_KEY = r"^[\x21-\x7e]{1,255}$"
_IF_MATCH = re.compile(r'\*|(?:W/)?"([0-9]{1,18})"')
_IF_MATCH_SCHEMA: dict[str, Any] = {
    "pattern": f"^({_IF_MATCH.pattern})$",
    "examples": ['"3"'],
}

#: For every POST that creates: ``key: IdempotencyKey``. Without it the answer is 400.
IdempotencyKey = Annotated[
    str,
    Header(
        alias="Idempotency-Key",
        pattern=_KEY,
        description="Chosen by the client: new for each request, the same when repeating it. "
        "A repetition gets the first answer again, with `Idempotency-Replayed: true`.",
    ),
]


def command_id(hospital: str, person: str, route: tuple[str, str], key: str) -> str:
    """The id of the command that ``person`` sends to ``route`` (method, template) under ``key``."""
    # As one JSON text, because any separator might stand in a person's id or a key.
    return derived_id(json.dumps(["http", hospital, person, *route, key]))


def body_hash(type: str, path: Mapping[str, Any], data: Any) -> bytes:
    """A hash of what a command asks for: its type, its path parameters and its body."""
    plain = data.model_dump(mode="json") if isinstance(data, BaseModel) else data
    text = json.dumps([type, dict(path), plain], sort_keys=True, separators=(",", ":"))
    return blake2b(text.encode(), digest_size=16).digest()


def etag(version: int) -> str:
    return f'"{version}"'


def version_of(if_match: str) -> int | None:
    """The version that an ``If-Match`` header names; None for ``*`` (any version).

    Weak tags count as strong ones: what proxies weaken when they compress is still the
    version that was read. Raises a 400 for anything but one tag that we could have made.
    """
    tag = _IF_MATCH.fullmatch(if_match.strip())
    if tag is None:
        raise problems.invalid("header", "If-Match", "etag", "if_match_invalid")
    return None if tag[1] is None else int(tag[1])


async def _if_match(
    if_match: Annotated[
        str | None,
        Header(
            alias="If-Match",
            description="The ETag of what you read.",
            json_schema_extra=_IF_MATCH_SCHEMA,
        ),
    ] = None,
) -> int | None:
    return None if if_match is None else version_of(if_match)


async def _required_if_match(
    if_match: Annotated[
        str,
        Header(
            alias="If-Match",
            description="The ETag of what you read; `*` for whatever it is now.",
            json_schema_extra=_IF_MATCH_SCHEMA,
        ),
    ],
) -> int | None:
    return version_of(if_match)


#: The version that the caller has read, if it says so: ``if_match: IfMatch``.
IfMatch = Annotated[int | None, Depends(_if_match)]
#: The same where a change without it is refused with 428.
RequiredIfMatch = Annotated[int | None, Depends(_required_if_match)]
