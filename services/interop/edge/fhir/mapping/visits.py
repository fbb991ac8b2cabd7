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


def visit(reading: Reading, resource: Resource, path: str = "encounter") -> Resource | None:
    """The Encounter that a resource belongs to, if it is known."""
    return reading.of(getattr(resource.model, path), resource, path, "Encounter")


def of_visit(reading: Reading, stay: Resource, type: str) -> list[Resource]:
    """The resources of ``type`` that name ``stay``, of this request or fetched for it."""
    if type not in reading.by_visit:
        found = reading.by_visit[type] = {}
        for resource in reading.known.all.values():
            if resource.type == type:
                named = visit(reading, resource)
                if named is not None:
                    found.setdefault(named.key, []).append(resource)
    return reading.by_visit[type].get(stay.key, [])
