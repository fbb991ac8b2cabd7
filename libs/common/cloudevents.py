"""How does an event look on the wire?

CloudEvents 1.0 over Kafka: binary mode out (``ce_*`` headers, the body as it is); binary
and structured JSON mode in. A codec of our own because it runs for every record; the
``cloudevents`` library is its oracle in ``tests/contract`` (``docs/adr/0003``).
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from operator import attrgetter
from typing import NamedTuple, NoReturn

from pydantic import ValidationError

from libs.common.decision import Original
from libs.common.events import EVENT_TYPES, Event
from libs.common.events.base import dataschema
from libs.common.partition import partition_for
from libs.common.structured import ABSENT, binary_form
from libs.common.undecodable import Reason, Undecodable, UnknownType, bad, explained

__all__ = [
    "AHEAD",
    "MAX_BYTES",
    "CloudEvent",
    "Reason",
    "Record",
    "Undecodable",
    "UnknownType",
    "dataschema",
    "decode",
    "encode",
    "partition_for",
    "passed_on",
]

#: An event stays under 64 KiB; large content goes by reference.
MAX_BYTES = 64 * 1024
#: Clocks differ; an event from further ahead is not believed.
AHEAD = timedelta(minutes=5)


class CloudEvent(NamedTuple):
    """An event with its context attributes; ``time`` is UTC in whole milliseconds."""

    id: str
    source: str
    type: str
    subject: str
    time: datetime
    hospital: str
    data: Event
    sequence: int | None = None
    correlationid: str = ""
    causationid: str = ""
    traceparent: str | None = None
    tracestate: str | None = None
    dataschema: str | None = None
    #: The data as it was read, JSON; what is about to be sent has none yet.
    body: bytes = b""


class Record(NamedTuple):
    """The final bytes of an event. The key is also the attribute ``partitionkey``."""

    key: bytes
    value: bytes
    headers: list[tuple[str, bytes]]


# -- out --------------------------------------------------------------------------------

_CONTENT_TYPE = ("content-type", b"application/json")
_SPECVERSION = ("ce_specversion", b"1.0")


class _Writer(NamedTuple):
    """What is the same for all events of one class."""

    type: tuple[str, bytes]
    dataschema: tuple[str, bytes]
    to_json: Callable[..., bytes]
    key: Callable[[Event], str]


@lru_cache(maxsize=1024)
def _writer(model: type[Event]) -> _Writer:
    return _Writer(
        ("ce_type", model.TYPE.encode()),
        ("ce_dataschema", dataschema(model.TYPE).encode()),
        model.__pydantic_serializer__.to_json,
        attrgetter(model.KEY),
    )


@lru_cache(maxsize=4096)
def _header(name: str, text: str) -> tuple[str, bytes]:
    return (name, text.encode())


@lru_cache(maxsize=1024)
def _time_header(time: datetime) -> tuple[str, bytes]:
    if time.tzinfo is None:
        raise ValueError("an event's time must be aware")
    text = time.astimezone(UTC).isoformat(timespec="milliseconds")
    return ("ce_time", text.replace("+00:00", "Z").encode())


def encode(event: CloudEvent) -> Record:
    """The record of ``event`` in binary mode, keyed ``<hospital>/<value of data.KEY>``.

    Raises ``ValueError`` for what would be no sound event: another type than the data's,
    a time without zone, a field of the wrong type, more than 64 KiB.
    """
    data = event.data
    writer = _writer(type(data))
    if event.type != data.TYPE:
        raise ValueError(f"{event.type} does not carry {type(data).__name__}")
    value = writer.to_json(data, exclude_none=True, warnings="error")
    if len(value) > MAX_BYTES:
        raise ValueError(f"{event.type} exceeds {MAX_BYTES} bytes")
    headers = [
        _CONTENT_TYPE,
        _SPECVERSION,
        writer.type,
        ("ce_id", event.id.encode()),
        _header("ce_source", event.source),
        ("ce_subject", event.subject.encode()),
        _time_header(event.time),
        writer.dataschema,
        _header("ce_hospital", event.hospital),
    ]
    if event.sequence is not None:
        headers += [("ce_sequence", b"%d" % event.sequence)]
    if event.correlationid:
        headers += [("ce_correlationid", event.correlationid.encode())]
    if event.causationid:
        headers += [("ce_causationid", event.causationid.encode())]
    if event.traceparent:
        headers += [("ce_traceparent", event.traceparent.encode())]
    if event.tracestate:
        headers += [("ce_tracestate", event.tracestate.encode())]
    return Record(f"{event.hospital}/{writer.key(data)}".encode(), value, headers)


def passed_on(hospital: str, data: Event, original: Original, traceparent: str) -> Record:
    """The record of another publisher's event, which :func:`decode` has read as ``data``.

    Its body and attributes stay as they are, also those of a later minor version than ours;
    only the trace goes on from here.
    """
    headers = [h for h in original.headers if h[0] != "ce_traceparent"]
    headers.append(("ce_traceparent", traceparent.encode()))
    return Record(f"{hospital}/{_writer(type(data)).key(data)}".encode(), original.value, headers)


# -- in ---------------------------------------------------------------------------------

Headers = Iterable[tuple[str, bytes | None]]

#: Visible ASCII but for the bar, which separates the parts of our keys.
_plain = re.compile(rb"[!-{}~]{1,256}").fullmatch
#: id, subject, correlationid, causationid at one go; all but the id may be absent.
_four = re.compile(rb"[!-{}~]{1,256}(\n[!-{}~]{0,256}){3}").fullmatch
_tenant = re.compile(rb"[A-Za-z0-9][A-Za-z0-9._~-]{0,63}").fullmatch
_rfc3339 = re.compile(rb"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d{1,9})?(Z|[+-]\d\d:\d\d)").fullmatch
_versioned = re.compile(r"(.+\.v)[1-9]\d*").fullmatch


def decode(
    headers: Headers, value: bytes | None, types: Mapping[str, type[Event]] = EVENT_TYPES
) -> CloudEvent:
    """The event in a record, its body checked against the class that ``types`` names.

    Raises :class:`UnknownType` for a type that ``types`` lacks, and :class:`Undecodable`
    for what can never be read.
    """
    if not value:
        raise Undecodable(Reason.EMPTY_BODY, "a tombstone or an empty record")
    if len(value) > MAX_BYTES:
        raise Undecodable(Reason.TOO_LARGE, f"at most {MAX_BYTES} bytes")
    h = ABSENT.copy()
    h.update(headers)
    if h["content-type"] != b"application/json" or h["ce_specversion"] != b"1.0":
        h, value = binary_form(h, value)
    source: str | None = None
    try:
        type_ = _shared(h["ce_type"], "type")
        model = types.get(type_) or _unknown(type_, types)
        source = _shared(h["ce_source"], "source")
        id, subject, correlationid, causationid = _ids(h)
        time = _time(h["ce_time"])
        hospital = _hospital(h["ce_hospital"])
        sequence = h["ce_sequence"]
        if sequence is not None and not (sequence.isdigit() and len(sequence) < 19):
            bad(sequence, "sequence", "a decimal number")
        data: Event = model.__pydantic_validator__.validate_json(value, strict=True)
    except Undecodable as error:
        error.source = source
        raise
    except ValidationError as error:
        raise explained(error, model, source) from None
    return CloudEvent(
        id,
        source,
        type_,
        subject or str(getattr(data, model.SUBJECT)),
        time,
        hospital,
        data,
        None if sequence is None else int(sequence),
        correlationid,
        causationid,
        _trace(h["ce_traceparent"] or h["traceparent"], 55, 128),
        _trace(h["ce_tracestate"] or h["tracestate"], 1, 512),
        _shared(h["ce_dataschema"], "dataschema") if h["ce_dataschema"] else None,
        value,
    )


def _ids(h: Mapping[str, bytes | None]) -> list[str]:
    id = h["ce_id"] or b""
    rest = h["ce_subject"] or b"", h["ce_correlationid"] or b"", h["ce_causationid"] or b""
    joined = b"%b\n%b\n%b\n%b" % (id, *rest)
    if not _four(joined):
        if not _plain(id):
            bad(h["ce_id"], "id")
        name = next(
            (n for n in ("subject", "correlationid") if not _plain(h[f"ce_{n}"] or b"-")),
            "causationid",
        )
        bad(b"", name)
    return joined.decode().split("\n")


@lru_cache(maxsize=4096)
def _shared(value: bytes | None, name: str) -> str:
    """An attribute that many records share."""
    if value is None or not _plain(value):
        bad(value, name)
    return value.decode()


@lru_cache(maxsize=4096)
def _hospital(value: bytes | None) -> str:
    if value is None or not _tenant(value):
        bad(value, "hospital", "1 to 64 letters, digits and . _ ~ -")
    return value.decode()


@lru_cache(maxsize=4096)
def _time(value: bytes | None) -> datetime:
    if value is None:
        bad(value, "time")
    try:
        if not _rfc3339(value := value.upper()):
            raise ValueError
        time = datetime.fromisoformat(value.decode()).astimezone(UTC)
    except (ValueError, OverflowError):
        raise Undecodable(Reason.BAD_TIME, "time: RFC 3339 with an offset") from None
    return time.replace(microsecond=time.microsecond // 1000 * 1000)


def _trace(value: bytes | None, least: int, most: int) -> str | None:
    """Trace context is a help, not a contract: what does not look like it is dropped."""
    if value is None or not (least <= len(value) <= most) or not value.isascii():
        return None
    return value.decode()


def _unknown(type_: str, types: Mapping[str, type[Event]]) -> NoReturn:
    match = _versioned(type_)
    if match and any(known.startswith(match[1]) for known in types):
        raise Undecodable(Reason.UNKNOWN_MAJOR_VERSION, "type")
    raise UnknownType(type_)
