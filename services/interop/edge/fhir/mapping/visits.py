"""Which stay or visit does a resource belong to, and of what class is it?"""

from __future__ import annotations

from libs.common.events import VisitClass
from services.interop.edge.fhir.mapping.reading import Reading
from services.interop.edge.fhir.references import Resource


def class_of(reading: Reading, resource: Resource) -> VisitClass | None:
    table = reading.profile.tables.visit_class
    place, default = resource.at("class"), reading.profile.defaults.visit_class
    return reading.meaning(table, resource.model.class_fhir, place, default, "class")


def encounter_id(reading: Reading, resource: Resource) -> str:
    return reading.id_of(resource, reading.profile.fhir.encounter)


def visit(reading: Reading, resource: Resource, patient_id: str) -> Resource | None:
    """The Encounter that a resource of ``patient_id`` belongs to, if it is known."""
    found = _named(reading, resource)
    if found is not None:
        reading.same_patient(found, patient_id, resource.at("encounter"))
    return found


def _named(reading: Reading, resource: Resource) -> Resource | None:
    return reading.of(resource.model.encounter, resource, "encounter", "Encounter")


def of_visit(reading: Reading, stay: Resource, type: str, patient_id: str) -> list[Resource]:
    """The resources of ``type`` that name ``stay``, of this request or fetched for it."""
    if type not in reading.by_visit:
        found = reading.by_visit[type] = {}
        for resource in reading.known.all.values():
            if resource.type == type:
                named = _named(reading, resource)
                if named is not None:
                    found.setdefault(named.key, []).append(resource)
    of_stay = reading.by_visit[type].get(stay.key, [])
    for one in of_stay:
        reading.same_patient(one, patient_id, one.at("subject"))
    return of_stay
