"""How are we answering a FHIR client: OperationOutcome, Bundle, CapabilityStatement?"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, Final

from services.interop.domain.receipt import Fault, Received
from services.interop.edge.fhir.bundle import Kind, Unit
from services.interop.edge.fhir.mapping import Note
from services.interop.edge.fhir.receive import Done, Exchange
from services.interop.edge.fhir.refused import Issue
from services.interop.edge.fhir.resources import REFERRED, TOLD

#: When the CapabilityStatement below took its form.
_SINCE: Final = "2026-11-26"
MEDIA_TYPE: Final = "application/fhir+json"
#: Issues of one outcome, so that a bundle of a thousand unused entries has a short answer.
_MOST: Final = 100
_Shown = Callable[[str], str]
#: The status of an answer, by the worst that was found; every other one is 422.
_STATUS: Final[Mapping[str, int]] = {
    Issue.INVALID: 400,
    Issue.STRUCTURE: 400,
    Issue.MULTIPLE_MATCHES: 412,
    Issue.EXCEPTION: 500,
}


def issue(severity: str, code: str, text: str, *expressions: str) -> dict[str, Any]:
    found: dict[str, Any] = {"severity": severity, "code": code, "diagnostics": text}
    if any(expressions):
        found["expression"] = [one for one in expressions if one]
    return found


def outcome(issues: Iterable[Mapping[str, Any]]) -> dict[str, Any]:
    found = list(issues)[:_MOST]
    found = found or [issue("information", Issue.INFORMATIONAL, "all of it is stored")]
    return {"resourceType": "OperationOutcome", "issue": found}


def of_faults(faults: Sequence[Fault], shown: _Shown = str) -> dict[str, Any]:
    return outcome(issue("error", f.code, f.text, shown(f.expression)) for f in faults)


def of_notes(notes: Iterable[Note], shown: _Shown = str) -> dict[str, Any]:
    """What is noted of several places alike is one issue with several expressions."""
    places: dict[str, list[str]] = {}
    for note in notes:
        places.setdefault(f"{note.code}: {note.text}", []).append(shown(note.place))
    return outcome(
        issue("information", Issue.INFORMATIONAL, text, *found[:_MOST])
        for text, found in places.items()
    )


def status_of(faults: Sequence[Fault]) -> int:
    return _STATUS.get(faults[0].code, 422) if faults else 200


def location(done: Done) -> str:
    return f"{done.type}/{done.id}/_history/{done.version}"


def answered(exchange: Exchange) -> dict[str, Any]:
    """The answer to a unit that was accepted: a Bundle for a bundle."""
    unit = exchange.unit
    assert unit is not None
    if unit.kind is Kind.RESOURCE:
        return of_notes(exchange.notes)
    if unit.kind is Kind.MESSAGE:
        return _response(unit, exchange.notes)
    return bundle(f"{unit.kind}-response", entries_of(exchange))


def bundle(type: str, entries: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    found: dict[str, Any] = {"resourceType": "Bundle", "type": type}
    if entries:  # FHIR knows no empty arrays
        found["entry"] = list(entries)
    return found


def entries_of(exchange: Exchange, shown: _Shown = str) -> list[dict[str, Any]]:
    """One for each entry of the request, in its order, with what is noted of it."""
    assert exchange.unit is not None
    by_number = {done.number: done for done in exchange.done}
    noted: dict[int, list[Note]] = defaultdict(list)
    for note in exchange.notes:
        noted[note.entry].append(note)
    found: list[dict[str, Any]] = []
    for entry in exchange.unit.entries:
        done = by_number.get(entry.number)
        response: dict[str, Any] = {"status": "200"}
        if done is not None:
            response = {
                "status": "201" if done.created else "200",
                "location": location(done),
                "etag": f'W/"{done.version}"',
            }
            if entry.number in noted:
                response["outcome"] = of_notes(noted[entry.number], shown)
        else:
            text = f"{entry.type} is not used here: nothing of it is told or can be referred to"
            response["outcome"] = outcome([issue("information", Issue.INFORMATIONAL, text)])
        found.append({"response": response})
    return found


def entry_of(exchange: Exchange, received: Received, number: int) -> dict[str, Any]:
    """The answer to the one entry of a part of a batch, of which it was the ``number``-th."""

    def shown(expression: str) -> str:
        return expression.replace("Bundle.entry[0]", f"Bundle.entry[{number}]", 1)

    if received.faults:
        told = of_faults(received.faults, shown)
        return {"response": {"status": str(status_of(received.faults)), "outcome": told}}
    (entry,) = entries_of(exchange, shown)
    return entry


def failed(status: int, reason: str) -> dict[str, Any]:
    """The answer to an entry of a batch of which nothing is stored."""
    told = outcome([issue("error", _ISSUES[status], f"{reason}: nothing of it is stored")])
    return {"response": {"status": str(status), "outcome": told}}


def head(exchange: Exchange, base: str) -> tuple[int, dict[str, str]]:
    """Status and headers of the answer to what was accepted."""
    unit = exchange.unit
    if unit is None or unit.kind is not Kind.RESOURCE or not exchange.done:
        return 200, {}
    (done,) = exchange.done
    headers = {"Location": f"{base}/{location(done)}", "ETag": f'W/"{done.version}"'}
    return 201 if done.created else 200, headers


#: A problem's status as FHIR has it.
_ISSUES: Final[Mapping[int, Issue]] = {
    401: Issue.LOGIN,
    403: Issue.FORBIDDEN,
    404: Issue.NOT_SUPPORTED,
    405: Issue.NOT_SUPPORTED,
    406: Issue.NOT_SUPPORTED,
    412: Issue.NOT_SUPPORTED,
    413: Issue.TOO_LONG,
    415: Issue.NOT_SUPPORTED,
    500: Issue.EXCEPTION,
    503: Issue.TRANSIENT,
}


def of_problem(problem: Mapping[str, Any]) -> dict[str, Any]:
    """A problem detail as an OperationOutcome."""
    code = _ISSUES.get(problem["status"], Issue.INVALID)
    text = problem.get("detail") or problem["title"]
    issues = [issue("error", code, f"{problem['reason']}: {text}")]
    for fault in problem.get("errors", ()):
        where = f"{fault['location']} {fault['field']}"
        issues.append(issue("error", code, f"{where}: {fault['message']}"))
    return outcome(issues)


SCHEMA: Final[Mapping[str, Any]] = {
    "type": "object",
    "description": "OperationOutcome",
    "required": ["resourceType", "issue"],
    "properties": {
        "resourceType": {"const": "OperationOutcome"},
        "issue": {
            "type": "array",
            "minItems": 1,
            "items": {
                "type": "object",
                "required": ["severity", "code"],
                "properties": {
                    "severity": {"type": "string"},
                    "code": {"type": "string"},
                    "diagnostics": {"type": "string"},
                    "expression": {"type": "array", "items": {"type": "string"}},
                },
            },
        },
    },
}


def _response(unit: Unit, notes: Iterable[Note]) -> dict[str, Any]:
    """The answer to a message: a message."""
    header = unit.header
    event = (
        {"eventUri": header.eventUri}
        if header.eventUri
        else {"eventCoding": header.eventCoding.model_dump()}
    )
    answer = {
        "resourceType": "MessageHeader",
        **event,
        "source": {"name": "Lianxin", "endpoint": "urn:lianxin:interop"},
        "response": {"identifier": unit.control_id or "unknown", "code": "ok"},
    }
    entries = [{"resource": answer}, {"resource": of_notes(notes)}]
    return bundle("message", entries)


def capabilities() -> dict[str, Any]:
    """What is served here, and nothing else."""
    rest = {
        "mode": "server",
        "documentation": "Everything is taken in; nothing can be read or searched.",
        "security": {"description": "OAuth 2.0 bearer tokens with the role integration"},
        "resource": [_resource(name) for name in sorted(TOLD + REFERRED)],
        "interaction": [{"code": "transaction"}, {"code": "batch"}],
    }
    return {
        "resourceType": "CapabilityStatement",
        "status": "active",
        "date": _SINCE,
        "kind": "instance",
        "software": {"name": "Lianxin interop"},
        "implementation": {"description": "Lianxin: what the hospital's systems tell"},
        "fhirVersion": "4.0.1",
        "format": ["json", MEDIA_TYPE],
        "rest": [rest],
        "messaging": [{"documentation": "POST [base] with a Bundle of type message"}],
    }


def _resource(name: str) -> dict[str, Any]:
    return {
        "type": name,
        "interaction": [{"code": "create"}, {"code": "update"}],
        "versioning": "no-version",
        "readHistory": False,
        "updateCreate": True,
        "conditionalCreate": True,
        "conditionalRead": "not-supported",
        "conditionalUpdate": True,
        "referencePolicy": ["literal", "logical", "local"],
    }
