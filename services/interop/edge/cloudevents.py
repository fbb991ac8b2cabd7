"""Which events does an HTTP request hold?

CloudEvents 1.0.2 in the HTTP binding: one event in binary mode (``ce-*`` headers) or in
structured mode, or a batch of structured ones. What is read is exactly what Kafka's readers
would read, so that nothing is taken here which they would set aside.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import Any, Final, NamedTuple
from urllib.parse import unquote_to_bytes

from pydantic_core import from_json, to_json

from libs.common.cloudevents import AHEAD, CloudEvent, decode
from libs.common.decision import Original
from libs.common.structured import binary_form
from libs.common.undecodable import Reason, Undecodable, UnknownType

STRUCTURED: Final = "application/cloudevents+json"
BATCH: Final = "application/cloudevents-batch+json"
#: Events of one request; each of them is stored before the answer.
MOST: Final = 500


class Published(NamedTuple):
    """One event of a request: as it is understood, and as it is passed on."""

    event: CloudEvent
    original: Original


class NotRead(Exception):
    """The ``index``-th event of a request can't be read; ``detail`` names the place."""

    def __init__(self, index: int, reason: str, detail: str) -> None:
        super().__init__(f"{index}: {reason}: {detail}")
        self.index, self.reason, self.detail = index, reason, detail


class NoBatch(Exception):
    """The body is no JSON array of 1 to :data:`MOST` events."""


def read(
    headers: Iterable[tuple[str, str]], body: bytes, hospital: str, now: datetime
) -> list[Published]:
    """The events of a request, in their order. An event without ``hospital`` is of the caller's.

    Raises :class:`NotRead` for the first that can't be read, and :class:`NoBatch`.
    """
    held = {name.lower(): value for name, value in headers}
    form = held.get("content-type", "").lower()
    if not form.startswith(BATCH):
        return [_one(0, _attributes(held), body, hospital, now)]
    try:
        batch = from_json(body, allow_inf_nan=False)
    except ValueError:
        raise NoBatch from None
    if not isinstance(batch, list) or not 1 <= len(batch) <= MOST:
        raise NoBatch
    structured = {"content-type": STRUCTURED.encode()}
    return [_one(n, structured, to_json(event), hospital, now) for n, event in enumerate(batch)]


def _attributes(headers: Mapping[str, str]) -> dict[str, bytes]:
    """HTTP's spelling of the attributes as Kafka's: ``ce-id`` is ``ce_id``, values are
    percent-encoded (HTTP binding 1.0.2, section 3.1.3.2)."""
    found = {
        f"ce_{name[3:]}": unquote_to_bytes(value)
        for name, value in headers.items()
        if name.startswith("ce-")
    }
    if (form := headers.get("content-type")) is not None:
        found["content-type"] = form.encode("latin-1", errors="replace")
    return found


def _one(
    index: int, headers: Mapping[str, bytes], body: bytes, hospital: str, now: datetime
) -> Published:
    try:
        h, value = binary_form(dict[str, Any](headers), body)
        if h["ce_hospital"] is None:
            h["ce_hospital"] = hospital.encode()
        h["content-type"] = b"application/json"
        # Trace context comes by HTTP's own headers; an event's own goes before.
        attributes = [(name, value) for name, value in h.items() if value is not None]
        event = decode(attributes, value)
        if event.time > now + AHEAD:
            raise Undecodable(Reason.TIME_AHEAD, "time is more than 5 minutes ahead")
    except UnknownType as error:
        raise NotRead(index, "unknown_type", f"type: {error.type} is none of ours") from None
    except Undecodable as error:
        raise NotRead(index, error.reason, error.detail) from None
    return Published(event, Original(attributes, value))
