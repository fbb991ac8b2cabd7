"""Has a resource the form that FHIR R4 gives it?

``fhir.resources`` checks elements, cardinalities and primitives. It is asked one resource at a
time, and only those that we use, so that nothing else in a bundle can refuse it. It checks no
code against its value set: the mappings do, by table.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, Final

from fhir.resources.R4B import get_fhir_model_class
from pydantic import ValidationError

from services.interop.domain.receipt import Fault
from services.interop.edge.fhir.refused import Issue, Refused

#: Resources that tell something.
TOLD: Final = (
    "Patient",
    "RelatedPerson",
    "Encounter",
    "DiagnosticReport",
    "Observation",
    "MedicationRequest",
    "MedicationDispense",
    "ServiceRequest",
    "Appointment",
    "Procedure",
    "Condition",
    "AllergyIntolerance",
    "Practitioner",
    "PractitionerRole",
)
#: Those that tell nothing themselves, and that others refer to.
REFERRED: Final = ("Organization", "Location", "Medication")
USED: Final = frozenset(TOLD + REFERRED)
_MODELS: Final[Mapping[str, Any]] = {
    name: get_fhir_model_class(name) for name in (*USED, "Bundle", "MessageHeader")
}
_RESOURCE: Final = get_fhir_model_class("Resource")
#: Not read by anybody here: a narrative of megabytes need not be checked.
_UNREAD: Final = frozenset({"text", "contained", "fhir_comments"})
_NAME: Final = re.compile(r"[A-Za-z_]{1,64}")
_WORDS: Final[Mapping[str, tuple[Issue, str]]] = {
    "missing": (Issue.REQUIRED, "required"),
    "model_field_validation.missing": (Issue.REQUIRED, "required"),
    "extra_forbidden": (Issue.STRUCTURE, "no element that FHIR R4 has here"),
    "list_type": (Issue.STRUCTURE, "must be an array"),
    "string_pattern_mismatch": (Issue.VALUE, "not in the form that FHIR gives it"),
    "value_error": (Issue.VALUE, "not in the form that FHIR gives it"),
}
_MOST: Final = 20
_DEEPEST: Final = 64
#: Elements that hold a date or time. The library would take a number there for seconds.
_TIMES: Final = re.compile(
    r".*Date(Time)?|start|end|date|issued|authoredOn|created|creation|lastUpdated|timestamp|event"
)


def is_known(type: str) -> bool:
    """Whether FHIR R4 has such a resource."""
    try:
        return issubclass(get_fhir_model_class(type), _RESOURCE)
    except (KeyError, ValueError):
        return False


def checked(type: str, raw: Mapping[str, Any], place: str) -> Any:
    """``raw`` as a model of ``type``, which stands at ``place`` (FHIRPath)."""
    _look_through(raw, place)
    read = {name: value for name, value in raw.items() if name not in _UNREAD}
    try:
        return _MODELS[type].model_validate(read)
    except ValidationError as error:
        faults = tuple(_fault(place, e) for e in error.errors(include_input=False)[:_MOST])
        raise Refused.of(faults) from None
    except (ArithmeticError, AttributeError, TypeError, RecursionError):
        # The library's own checks fail on values that no sender of FHIR has.
        raise Refused(place, Issue.STRUCTURE, f"no {type} of FHIR R4") from None


def _look_through(raw: Any, place: str, depth: int = 0) -> None:
    """Refuse numbers where a date belongs, and what nobody nests so deeply but to do harm."""
    if depth > _DEEPEST:
        raise Refused(place[:200], Issue.STRUCTURE, f"nested more than {_DEEPEST} deep")
    if isinstance(raw, list):
        for n, value in enumerate(raw):
            if isinstance(value, dict | list):
                _look_through(value, f"{place}[{n}]", depth + 1)
    elif isinstance(raw, dict):
        for name, value in raw.items():
            if value and (name == "modifierExtension" or (name == "implicitRules" and not depth)):
                text = "may turn the meaning of the rest, and is not known here"
                raise Refused(place + _step(name), Issue.NOT_SUPPORTED, text)
            if isinstance(value, dict | list):
                _look_through(value, place + _step(name), depth + 1)
            elif isinstance(value, int | float) and _TIMES.fullmatch(name):
                text = "must be a text in the form of a date or time"
                raise Refused(place + _step(name), Issue.VALUE, text)


def _fault(place: str, error: Any) -> Fault:
    code, text = _WORDS.get(error["type"], (Issue.STRUCTURE, "not what FHIR R4 has here"))
    if not error["loc"]:  # of several forms of an element (value[x]) none or two: names only
        text = str(error["msg"]).removeprefix("Value error, ")[:250]
    return Fault(expression=place + "".join(map(_step, error["loc"])), code=code, text=text)


def _step(part: int | str) -> str:
    if isinstance(part, int):
        return f"[{part}]"
    return f".{part}" if _NAME.fullmatch(part) else ".?"
