"""What does a MedicationRequest follow from: a renewal of ours, or an earlier prescription?

The sender's copy of a renewal is no new order of a doctor's, so it must be known as one: by the
identifier that we gave the renewal's prescription. What it refers to and we don't know is left
out; a prescription is not refused for it.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final

from services.interop.edge.fhir.mapping.reading import Reading
from services.interop.edge.fhir.references import Resource
from services.interop.edge.fhir.refused import Refused

#: The system of that identifier (``fhir_out.resources``).
OURS: Final = "urn:lianxin:medicationrequest"


def renewal_of(reading: Reading, resource: Resource, patient_id: str) -> str | None:
    """Our number of the renewal that it is a copy of, or that it is based on."""
    model = resource.model
    found = list(_ours(model.identifier))
    for n, reference in enumerate(model.basedOn or ()):
        if reference.identifier is not None:
            found += _ours([reference.identifier])
        meant = _earlier(reading, reference, resource, f"basedOn[{n}]", patient_id)
        if meant is not None:
            found += _ours(meant.model.identifier)
    return reading.as_id(found[0], resource.at("identifier")) if found else None


def replaced_by(reading: Reading, resource: Resource, patient_id: str) -> str | None:
    """The id of the prescription that it replaces (``priorPrescription``)."""
    reference, path = resource.model.priorPrescription, "priorPrescription"
    if reference is None:
        return None
    rule, place = reading.profile.fhir.prescription, resource.at(path)
    found = _earlier(reading, reference, resource, path, patient_id)
    if found is not None:
        return reading.id_of(found, rule)
    named = [reference.identifier] if reference.identifier is not None else []
    chosen = next(_ours(named), None) or reading.chosen(named, rule, place)
    if chosen is None:
        reading.note("prescription_not_known", place, "left out")
        return None
    return reading.as_id(chosen, place)


def _ours(identifiers: Any) -> Iterator[str]:
    return (i.value for i in identifiers or () if i.system == OURS and i.value)


def _earlier(
    reading: Reading, reference: Any, resource: Resource, path: str, patient_id: str
) -> Resource | None:
    """The prescription that is meant, of this patient."""
    try:
        found = reading.of(reference, resource, path, "MedicationRequest")
        if found is not None:
            reading.same_patient(found, patient_id, resource.at(path))
    except Refused:
        reading.note("prescription_not_known", resource.at(path), "left out")
        return None
    return found
