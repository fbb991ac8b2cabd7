"""Which diagnoses does a message name (DG1)?"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

from libs.common.events import Diagnosis, DiagnosisUse
from services.interop.edge.hl7 import types
from services.interop.edge.hl7.mapping.reading import Reading, line
from services.interop.edge.hl7.message import Segment
from services.interop.edge.hl7.refused import ErrorCode
from services.interop.edge.naming import as_icd10
from services.interop.edge.profile import OnUnknown


def diagnoses(reading: Reading) -> Iterator[Diagnosis]:
    """DG1 in ICD-10, or by the profile's table; anything else is left out with a note."""
    counted: Counter[DiagnosisUse] = Counter()
    for dg1 in reading.message.all("DG1"):
        if dg1.text(21) == "D":  # DG1-21: this diagnosis is deleted
            continue
        code = icd10(reading, dg1)
        if code is None:
            continue
        use, kind = DiagnosisUse.DISCHARGE, dg1.text(6)
        if kind is not None:
            table = reading.profile.tables.diagnosis_use
            use = reading.meaning(table, kind, (dg1, 6), DiagnosisUse.OTHER, "diagnosis type")
        counted[use] += 1
        told = types.number_of(dg1.text(15) or "")
        rank = int(told) if told is not None and 1 <= told <= 99 else min(counted[use], 99)
        text = line(dg1.text(3, 2) or dg1.text(4))
        yield Diagnosis(code=code, display=text, use=use, rank=rank)


def icd10(reading: Reading, dg1: Segment) -> str | None:
    systems, table = reading.profile.systems, reading.profile.tables.diagnosis
    codings = list(types.codings(dg1.value(3)))
    absent = dg1.text(2) or systems.diagnosis_if_absent
    for coded in codings:
        system = (coded.system or absent).upper()
        if system in systems.icd10 and (found := as_icd10(coded.code)):
            return found
        mapped = table.codes.get(f"{system}|{coded.code}")
        if mapped is not None:
            return mapped
    text = "neither ICD-10 nor in the profile's table: left out" if codings else "no code"
    if codings and table.unknown is OnUnknown.REFUSE:
        raise dg1.refused(3, ErrorCode.TABLE_VALUE_NOT_FOUND, text)
    reading.note("diagnosis_left_out", dg1, 3, text)
    return None
