"""Does an application keep what its own OpenAPI document says?

``schema = documents(app)``, then in a test ``@schema.parametrize()`` and ``obey(case, headers)``
with the headers of one role. Streams never end, so they are left out.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import schemathesis
from fastapi import FastAPI
from schemathesis.checks import load_all_checks
from schemathesis.schemas import BaseSchema
from schemathesis.specs.openapi import checks

load_all_checks()


def _is_a_stream(context: Any) -> bool:
    responses = context.operation.definition.raw.get("responses", {})
    return any("text/event-stream" in r.get("content", ()) for r in responses.values())


def documents(app: FastAPI) -> BaseSchema:
    """The routes of ``app``, as its OpenAPI document describes them."""
    return schemathesis.openapi.from_asgi("/openapi.json", app).exclude(_is_a_stream)


def _stripped(body: Any) -> Any:
    """``body`` without the space around its texts."""
    if isinstance(body, str):
        return body.strip()
    if isinstance(body, list):
        return [_stripped(part) for part in body]
    if isinstance(body, dict):
        return {name: _stripped(part) for name, part in body.items()}
    return body


def obey(case: Any, headers: Mapping[str, str], **where: Any) -> None:
    """Call one generated case as the caller of ``headers`` and check the answer.

    ``where``: ``base_url`` of a running service, if the schema is not of an application.
    """
    excluded = []
    names = {p["name"] for p in case.operation.definition.raw.get("parameters", ())}
    if "If-Match" in names:
        # 428 (RFC 6585) is not among the answers that this check knows.
        excluded.append(checks.missing_required_header)
    if names & {"cursor", "If-Match", "Idempotency-Key"}:
        # No schema can tell a cursor that we gave from one that somebody made up, or a new
        # key from a used one, and the generator takes an empty If-Match for one that fits
        # the pattern.
        excluded.append(checks.positive_data_acceptance)
    if "x-body" in case.operation.definition.raw:
        # A standard's form, which the document names and does not repeat.
        excluded.append(checks.positive_data_acceptance)
    if case.body != _stripped(case.body):
        # The space around a text is taken off before its length is looked at; the document's
        # maxLength can't say that.
        excluded.append(checks.negative_data_rejection)
    case.call_and_validate(headers=dict(headers), excluded_checks=excluded, **where)
