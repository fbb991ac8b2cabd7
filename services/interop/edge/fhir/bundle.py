"""What is in the body of a FHIR request, and what is to be done with it?

A transaction or a message is one unit, as is a resource alone; the entries of a batch are units
of their own, and journalled as such (:func:`parts`).
"""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from json.decoder import JSONDecoder
from typing import Any, Final, NoReturn

from services.interop.edge.fhir import resources
from services.interop.edge.fhir.refused import Issue, Refused

MOST_ENTRIES: Final = 5_000
_TYPE: Final = re.compile(r"[A-Z][A-Za-z]{1,63}")
_ID: Final = re.compile(r"[A-Za-z0-9.-]{1,64}")
_WHITE: Final = re.compile(r"[ \t\r\n]*")


class Kind(StrEnum):
    TRANSACTION = "transaction"
    BATCH = "batch"
    MESSAGE = "message"
    RESOURCE = "resource"  # one, without a bundle


@dataclass(frozen=True, slots=True)
class Request:
    """How a body came: ``POST /fhir``, or one resource with what its path and header say."""

    method: str = "POST"
    type: str = ""
    id: str = ""
    #: Search parameters, of ``If-None-Exist`` or of a conditional update.
    condition: str = ""

    def told(self) -> str:
        """As it is kept beside the body; empty for a bundle."""
        return json.dumps([self.method, self.type, self.id, self.condition]) if self.type else ""

    @classmethod
    def of(cls, told: str) -> Request:
        return cls(*json.loads(told)) if told else cls()


@dataclass(slots=True)
class Entry:
    """A resource, and what is to be done with it."""

    #: FHIRPath of the resource.
    place: str
    type: str
    raw: Mapping[str, Any]
    #: The id that it is to have; empty: a new one.
    id: str = ""
    condition: str = ""
    #: PUT: what the condition finds is replaced; else it is left as it is.
    is_update: bool = False
    full_url: str = ""
    #: Its number in the bundle.
    number: int = 0

    @property
    def is_used(self) -> bool:
        return self.type in resources.USED


@dataclass(slots=True)
class Unit:
    """What is taken or refused as a whole."""

    kind: Kind
    label: str
    control_id: str = ""
    timestamp: datetime | None = None
    entries: list[Entry] = field(default_factory=list)
    header: Any = None

    @property
    def unused(self) -> Counter[str]:
        return Counter(entry.type for entry in self.entries if not entry.is_used)


def parsed(raw: bytes) -> dict[str, Any]:
    """The JSON object in ``raw``."""
    try:
        found = json.loads(raw.decode("utf-8-sig"), parse_constant=_no_constant)
        # Half a character can be written in JSON and nowhere else.
        json.dumps(found, ensure_ascii=False).encode()
    except (ValueError, RecursionError):
        raise Refused("", Issue.INVALID, "the body is no JSON (UTF-8)") from None
    if not isinstance(found, dict):
        raise Refused("", Issue.STRUCTURE, "the body is no JSON object")
    return found


def _no_constant(_name: str) -> NoReturn:
    raise ValueError("no JSON")


def read(raw: bytes, request: Request) -> Unit:
    """The unit in ``raw``; :class:`Refused` if it is none."""
    body = parsed(raw)
    if request.type:
        return _alone(body, request)
    if body.get("resourceType") != "Bundle":
        text = "a Bundle is expected here; one resource goes to its own type's address"
        raise Refused("Bundle.resourceType", Issue.STRUCTURE, text)
    entries = body.get("entry", [])
    if not isinstance(entries, list) or not all(isinstance(e, dict) for e in entries):
        raise Refused("Bundle.entry", Issue.STRUCTURE, "must be an array of objects")
    if body.get("type") == Kind.BATCH and len(entries) > 1:
        # A small one has been taken apart by now.
        raise Refused("Bundle.entry", Issue.TOO_COSTLY, "too many entries for a batch")
    if len(entries) > MOST_ENTRIES:
        raise Refused("Bundle.entry", Issue.TOO_COSTLY, f"more than {MOST_ENTRIES} entries")
    frame = [{k: v for k, v in e.items() if k not in ("resource", "response")} for e in entries]
    framed = {**body, "entry": frame} if frame else body
    bundle = resources.checked("Bundle", framed, "Bundle")
    try:
        kind = Kind(bundle.type)
    except ValueError:
        kind = Kind.RESOURCE
    if kind is Kind.RESOURCE:
        text = "only transaction, batch and message bundles are taken"
        raise Refused("Bundle.type", Issue.NOT_SUPPORTED, text)
    named = bundle.identifier.value if bundle.identifier else None
    unit = Unit(kind, f"Bundle/{kind}", named or bundle.id or "", bundle.timestamp)
    if kind is Kind.MESSAGE:
        _message(unit, entries)
    else:
        unit.entries = [_entry(n, e) for n, e in enumerate(entries)]
    return unit


def _alone(body: dict[str, Any], request: Request) -> Unit:
    type = _type_of(body, request.type)
    if type != request.type:
        text = f"{type}, but the address is of {request.type}"
        raise Refused(f"{request.type}.resourceType", Issue.INVALID, text)
    given = body.get("id")
    if request.id and given != request.id:
        raise Refused(f"{type}.id", Issue.INVALID, "must be the id in the address")
    is_update = request.method == "PUT"
    entry = Entry(type, type, body, request.id, request.condition, is_update)
    return Unit(Kind.RESOURCE, f"{request.method} {type}", entries=[entry])


def _message(unit: Unit, entries: list[dict[str, Any]]) -> None:
    """MessageHeader first, then what it is about; each resource as it is now."""
    for n, entry in enumerate(entries):
        raw = entry.get("resource")
        place = f"Bundle.entry[{n}].resource"
        if not isinstance(raw, dict):
            raise Refused(place, Issue.REQUIRED, "required in a message")
        type = _type_of(raw, place)
        if n == 0:
            if type != "MessageHeader":
                raise Refused(place, Issue.INVALID, "a message begins with its MessageHeader")
            unit.header = resources.checked(type, raw, place)
            unit.control_id = unit.header.id or unit.control_id
            continue
        id = raw.get("id", "")
        if id and not (isinstance(id, str) and _ID.fullmatch(id)):
            raise Refused(f"{place}.id", Issue.VALUE, "not in the form that FHIR gives it")
        unit.entries.append(Entry(place, type, raw, id, "", True, entry.get("fullUrl", ""), n))
    if unit.header is None:
        raise Refused("Bundle.entry", Issue.REQUIRED, "a message begins with its MessageHeader")


def _entry(n: int, entry: dict[str, Any]) -> Entry:
    place, request = f"Bundle.entry[{n}]", entry.get("request")
    if request is None:
        raise Refused(f"{place}.request", Issue.REQUIRED, "required in a transaction or batch")
    method, url = request["method"], request["url"]
    path, _, query = url.partition("?")
    type, _, id = path.strip("/").partition("/")
    if not _TYPE.fullmatch(type):
        raise Refused(f"{place}.request.url", Issue.VALUE, "must begin with a type of resource")
    raw = entry.get("resource")
    if type not in resources.USED and resources.is_known(type):
        return Entry(f"{place}.resource", type, {}, number=n)
    if method not in ("POST", "PUT"):
        text = "of what is used here, only POST and PUT are taken"
        raise Refused(f"{place}.request.method", Issue.NOT_SUPPORTED, text)
    if not isinstance(raw, dict):
        raise Refused(f"{place}.resource", Issue.REQUIRED, "required")
    if _type_of(raw, f"{place}.resource") != type:
        raise Refused(f"{place}.request.url", Issue.INVALID, "of another type than the resource")
    condition = request.get("ifNoneExist", "")
    if method == "PUT":
        condition = query
        if not query and (not _ID.fullmatch(id) or raw.get("id") != id):
            text = "PUT needs Type/id, with the resource's id, or Type?identifier=…"
            raise Refused(f"{place}.request.url", Issue.VALUE, text)
        if (query and id) or (query and not condition):
            raise Refused(f"{place}.request.url", Issue.VALUE, "an id or a search, not both")
    elif id or query:
        raise Refused(f"{place}.request.url", Issue.VALUE, "POST needs a type alone")
    if request.get("ifMatch"):
        text = "versions are not kept for senders"
        raise Refused(f"{place}.request.ifMatch", Issue.NOT_SUPPORTED, text)
    is_update, url = method == "PUT", entry.get("fullUrl", "")
    return Entry(f"{place}.resource", type, raw, id, condition, is_update, url, n)


def _type_of(raw: Mapping[str, Any], place: str) -> str:
    found = raw.get("resourceType")
    if not isinstance(found, str) or not _TYPE.fullmatch(found) or not resources.is_known(found):
        raise Refused(f"{place}.resourceType", Issue.STRUCTURE, "no resource of FHIR R4")
    return found


def parts(raw: bytes) -> list[bytes]:
    """The entries of the batch ``raw``, each as a batch of its own, byte for byte."""
    text = raw.decode("utf-8-sig")
    return [
        b'{"resourceType":"Bundle","type":"batch","entry":[' + text[a:b].encode() + b"]}"
        for a, b in _spans(text)
    ]


def _spans(text: str) -> Iterator[tuple[int, int]]:
    """Where the entries of the Bundle ``text`` stand, which is known to be well-formed."""
    decoder = JSONDecoder()

    def after(at: int, skip: int = 0) -> int:
        found = _WHITE.match(text, at + skip)
        return found.end() if found else at

    at = after(after(0), 1)
    while text[at] != "}":
        key, at = decoder.raw_decode(text, at)
        at = after(after(at), 1)  # the colon
        if key != "entry":
            _, at = decoder.raw_decode(text, at)
        else:
            at = after(at, 1)
            while text[at] != "]":
                begin = at
                _, at = decoder.raw_decode(text, at)
                yield begin, at
                at = after(at)
                at = after(at, 1) if text[at] == "," else at
            at += 1
        at = after(at)
        at = after(at, 1) if text[at] == "," else at
