"""What does a MedicationDispense tell? How far a pharmacy is with one prescription.

Several steps may stand in one resource: packed (``whenPrepared``), then handed over
(``whenHandedOver``). What an earlier version has told already is not told again.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime
from typing import Any, Final

from libs.common.events import Event, FulfilmentStatus, FulfilmentUpdated, Quantity
from services.interop.edge import naming
from services.interop.edge.fhir.mapping.reading import Reading
from services.interop.edge.fhir.references import Resource
from services.interop.edge.fhir.refused import Issue, Refused

S = FulfilmentStatus
#: MedicationDispense.status -> what the pharmacy is at when nothing else in it says more;
#: ``None``: it tells nothing.
STATUSES: Final[dict[str, FulfilmentStatus | None]] = {
    "preparation": S.PREPARING,
    "in-progress": S.PREPARING,
    "completed": S.COLLECTED,
    "declined": S.DECLINED,
    "cancelled": S.DECLINED,
    "stopped": S.DECLINED,
    "on-hold": None,
    "entered-in-error": None,
    "unknown": None,
}
#: Of these what was packed goes back on the shelf.
_ENDED: Final = frozenset({"declined", "cancelled", "stopped"})


def dispense(reading: Reading, resource: Resource) -> Iterator[Event]:
    model = resource.model
    if model.status not in STATUSES:
        text = "no status of a MedicationDispense"
        raise Refused(resource.at("status"), Issue.CODE_INVALID, text)
    patient_id, _ = reading.patient(model.subject, resource, "subject")
    prescription_id = _prescription(reading, resource, patient_id)
    if prescription_id is None:
        reading.note("not_used", resource.place, "no authorizingPrescription")
        return
    steps = list(_steps(reading, resource))
    if not steps:
        reading.note("not_used", resource.place, f"{model.status}: no event")
    for status, at in steps:
        yield FulfilmentUpdated(
            fulfilment_id=reading.id_of(resource, reading.profile.fhir.dispense),
            prescription_id=prescription_id,
            patient_id=patient_id,
            pharmacy_id=_pharmacy(reading, resource),
            status=status,
            quantity=_quantity(model.quantity),
            occurred_at=at,
        )


def _prescription(reading: Reading, resource: Resource, patient_id: str) -> str | None:
    """The one prescription: one that was sent, or by its identifier, as a renewal's own is."""
    references, place = resource.model.authorizingPrescription or (), "authorizingPrescription"
    if len(references) > 1:
        text = "of several prescriptions: send one MedicationDispense for each"
        raise Refused(resource.at(place), Issue.BUSINESS_RULE, text)
    for reference in references:
        path, rule = f"{place}[0]", reading.profile.fhir.prescription
        found = reading.of(reference, resource, path, "MedicationRequest")
        if found is not None:
            reading.same_patient(found, patient_id, resource.at(path))
            return reading.id_of(found, rule)
        if reference.identifier is not None:
            chosen = reading.chosen([reference.identifier], rule, resource.at(path))
            if chosen is not None:
                return reading.as_id(chosen, resource.at(path))
        text = "no MedicationRequest known by this: send it before, or name its identifier"
        raise Refused(resource.at(path), Issue.NOT_FOUND, text)
    return None


def _steps(reading: Reading, resource: Resource) -> Iterator[tuple[FulfilmentStatus, datetime]]:
    model, last = resource.model, STATUSES[resource.model.status]
    if last is None:
        return
    prepared = model.whenPrepared is not None
    if prepared and not _was_told(resource, "whenPrepared"):
        yield S.DISPENSED, reading.moment(resource, [("whenPrepared", model.whenPrepared)])
    if model.status in _ENDED:
        yield (S.RETURNED_TO_STOCK if prepared else last), reading.recorded(resource)
    elif model.status == "completed":
        status = S.DELIVERED if model.destination is not None else last
        yield status, reading.moment(resource, [("whenHandedOver", model.whenHandedOver)])
    elif not prepared:
        yield last, reading.recorded(resource)


def _was_told(resource: Resource, name: str) -> bool:
    earlier = resource.earlier()
    if earlier is None or STATUSES.get(earlier.raw.get("status", "")) is None:
        return False
    return bool(earlier.raw.get(name) == resource.raw.get(name))


def _pharmacy(reading: Reading, resource: Resource) -> str | None:
    """The first identifier of the Organization that performs it, else of the location."""
    model = resource.model
    places = [
        (f"performer[{n}].actor", performer.actor)
        for n, performer in enumerate(model.performer or ())
    ]
    for path, reference in (*places, ("location", model.location)):
        for _, keys, _ in reading.organisation(reference, resource, path):
            return reading.as_id(keys[-1], resource.at(path))
    return None


def _quantity(quantity: Any) -> Quantity | None:
    unit = naming.line(quantity.unit or quantity.code) if quantity is not None else None
    if unit is None or quantity.value is None or quantity.value <= 0:
        return None
    return Quantity(value=float(quantity.value), unit=unit)
