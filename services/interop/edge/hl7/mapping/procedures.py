"""Which procedures does a message tell (PR1)?"""

from __future__ import annotations

from collections.abc import Iterator

from libs.common.events import Procedure, ProcedurePerformed
from services.interop.edge.hl7 import types
from services.interop.edge.hl7.mapping.reading import (
    AHEAD,
    Reading,
    as_code,
    as_id,
    derived_id,
    line,
)
from services.interop.edge.hl7.mapping.visit import encounter_id
from services.interop.edge.hl7.message import Segment


def procedures(reading: Reading) -> Iterator[tuple[Segment, Procedure]]:
    systems = reading.profile.systems
    for pr1 in reading.message.all("PR1"):
        coded = next(types.codings(pr1.value(3)), None)
        if coded is None:
            reading.note("procedure_left_out", pr1, 3, "no code")
            continue
        system = coded.system or pr1.text(2)
        name = systems.procedure_if_absent
        if system is not None:
            name = systems.procedures.get(system.upper()) or as_code(system, pr1, 3)
        yield (
            pr1,
            Procedure(
                code=as_code(coded.code, pr1, 3),
                system=name,
                display=line(coded.text or pr1.text(4)),
                performed_at=types.moment(pr1, 5, reading.zone),
            ),
        )


def performed(reading: Reading, patient_id: str) -> Iterator[ProcedurePerformed]:
    """Those that have a time, each once."""
    seen: set[str] = set()
    for pr1, found in procedures(reading):
        at, stay = found.performed_at, encounter_id(reading, patient_id)
        if at is None or at > reading.now + AHEAD:
            continue
        own = pr1.text(19)
        parts = (own, pr1.text(19, 2) or "") if own else (stay, found.code, at.isoformat())
        id = derived_id("procedure", patient_id, *parts)
        if id in seen:
            continue
        seen.add(id)
        surgeon = pr1.text(11)
        yield ProcedurePerformed(
            procedure_id=id,
            patient_id=patient_id,
            encounter_id=stay,
            code=found.code,
            system=found.system,
            display=found.display,
            department=reading.department_if_known(),
            performer_id=as_id(surgeon, pr1, 11) if surgeon else None,
            performed_at=at,
        )
