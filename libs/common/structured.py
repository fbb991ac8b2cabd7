"""How is an event read that does not come in our own form?

Structured JSON mode becomes binary mode, and binary mode as others spell it becomes as
we spell it; from there on there is one way to read.
"""

from __future__ import annotations

import base64
import binascii
import re

from pydantic_core import from_json, to_json

from libs.common.undecodable import Reason, Undecodable, bad

Attributes = dict[str, bytes | None]

NAMES = (
    *("specversion", "type", "id", "source", "subject", "time", "hospital", "sequence"),
    *("correlationid", "causationid", "traceparent", "tracestate", "dataschema"),
)
#: Every header that is read, so that an absent one is a look-up and no call.
ABSENT: Attributes = dict.fromkeys(
    ("content-type", "traceparent", "tracestate", *(f"ce_{name}" for name in NAMES))
)

_json = re.compile(rb"(application|text)/([a-z0-9.-]+\+)?json\s*(;.*)?").fullmatch


def binary_form(headers: Attributes, value: bytes) -> tuple[Attributes, bytes]:
    """The headers and the body that the record would have in our own binary mode."""
    h = ABSENT | {name.lower(): v for name, v in headers.items() if v is not None}
    form = (h["content-type"] or b"").lower()
    if form.startswith(b"application/cloudevents"):
        if not form.startswith(b"application/cloudevents+json"):
            raise Undecodable(Reason.NOT_CLOUDEVENT, "content-type: only the JSON format")
        return _from_structured(value, Reason.NOT_JSON)
    if not any(name.startswith("ce_") and v is not None for name, v in h.items()):
        if form:
            raise Undecodable(Reason.NOT_CLOUDEVENT, "no ce_ headers")
        # Kafka Protocol Binding for CloudEvents 1.0.2, section 3: without a content-type
        # the record is structured.
        return _from_structured(value, Reason.NOT_CLOUDEVENT)
    _check(h["ce_specversion"], form or b"application/json")
    return h, value


def _check(specversion: bytes | None, form: bytes) -> None:
    if specversion != b"1.0":
        bad(specversion, "specversion", "only 1.0 is read")
    if not _json(form):
        bad(form, "datacontenttype", "only JSON is read")


def _from_structured(value: bytes, otherwise: Reason) -> tuple[Attributes, bytes]:
    try:
        event = from_json(value, allow_inf_nan=False)
    except ValueError:
        raise Undecodable(otherwise, "the record is no JSON") from None
    if not isinstance(event, dict) or "specversion" not in event:
        raise Undecodable(Reason.NOT_CLOUDEVENT, "no specversion")
    h = dict(ABSENT)
    for name in NAMES:
        attribute = event.get(name)
        if isinstance(attribute, bool) or not isinstance(attribute, str | int | None):
            bad(b"", name, "a string")
        h[f"ce_{name}"] = None if attribute is None else str(attribute).encode()
    form = event.get("datacontenttype", "application/json")
    _check(h["ce_specversion"], form.lower().encode() if isinstance(form, str) else b"")
    if "data_base64" in event:
        try:
            return h, base64.b64decode(event["data_base64"], validate=True)
        except (binascii.Error, TypeError, ValueError):
            raise Undecodable(Reason.NOT_JSON, "data_base64") from None
    if event.get("data") is None:
        raise Undecodable(Reason.EMPTY_BODY, "data")
    return h, to_json(event["data"])
