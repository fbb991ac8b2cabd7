"""What do Practitioner and PractitionerRole tell?

The record of one who works here: name and licence from the Practitioner, roles and departments
from all their PractitionerRoles. Who has no role that the profile knows is not told of.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import date
from typing import Any

from libs.common.events import (
    Event,
    PractitionerLeft,
    PractitionerRegistered,
    PractitionerUpdated,
    StaffRole,
)
from services.interop.edge.fhir.mapping import people
from services.interop.edge.fhir.mapping.reading import Reading
from services.interop.edge.fhir.references import Resource
from services.interop.edge.fhir.refused import Issue, Refused


def practitioner(reading: Reading, resource: Resource) -> Iterator[Event]:
    yield from _record(reading, resource, resource)


def role(reading: Reading, resource: Resource) -> Iterator[Event]:
    """A role changes the record of whose it is, unless that is told of in this request."""
    whose = reading.of(resource.model.practitioner, resource, "practitioner", "Practitioner")
    if whose is None:
        text = "no Practitioner known by this: send it in the same bundle or before"
        raise Refused(resource.at("practitioner"), Issue.NOT_FOUND, text)
    if not whose.is_new:
        yield from _record(reading, whose, resource)


def _record(reading: Reading, whose: Resource, said_by: Resource) -> Iterator[Event]:
    if PractitionerUpdated.TOPIC not in reading.topics:
        return
    id = reading.id_of(whose, reading.profile.fhir.practitioner)
    at = reading.recorded(said_by)
    all_roles = list(_roles_of(reading, whose))
    held = [r for r in all_roles if _holds(reading, r.model)]
    if whose.model.active is False or (all_roles and not held):
        if whose.before is not None:
            yield PractitionerLeft(practitioner_id=id, left_at=at)
        return
    roles = list(dict.fromkeys(_words(reading, held)))
    name = people.name_of(whose.model.name)
    if not roles or name is None:
        reading.note("staff_not_told", whose.place, "no role that the profile knows, or no name")
        return
    kind = PractitionerUpdated if whose.before else PractitionerRegistered
    yield kind(
        practitioner_id=id,
        name=name,
        roles=tuple(roles),
        departments=tuple(dict.fromkeys(_departments(reading, held)))[:64],
        practising_since=_since(reading, whose.model),
        updated_at=at,
    )


def _roles_of(reading: Reading, whose: Resource) -> Iterator[Resource]:
    for resource in reading.known.all.values():
        if resource.type == "PractitionerRole":
            found = reading.of(
                resource.model.practitioner, resource, "practitioner", "Practitioner"
            )
            if found is whose:
                yield resource


def _holds(reading: Reading, role: Any) -> bool:
    end = reading.until(role.period.end) if role.period else None
    return role.active is not False and (end is None or end > reading.now)


def _words(reading: Reading, roles: list[Resource]) -> Iterator[StaffRole]:
    table = reading.profile.tables.staff_role
    for role in roles:
        for n, concept in enumerate(role.model.code or ()):
            found = reading.meaning(table, concept, role.at(f"code[{n}]"), None, "role")
            if found is not None:
                yield found


def _departments(reading: Reading, roles: list[Resource]) -> Iterator[str]:
    for role in roles:
        told = list(reading.organisation(role.model.organization, role, "organization"))
        found = reading.department_of(told, role) if told else None
        if found is not None:
            yield found.code


def _since(reading: Reading, model: Any) -> date | None:
    """The earliest begin of a licence."""
    licences = reading.profile.fhir.licences
    begins: list[date] = []
    for one in model.qualification or ():
        codes = {k for c in reading.codings(one.code) for k in (c.code, f"{c.system}|{c.code}")}
        start = reading.time(one.period.start) if one.period else None
        if start is not None and codes & licences:
            begins.append(start.astimezone(reading.zone).date())
    return min(begins, default=None)
