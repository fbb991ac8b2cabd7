"""What do pharmacy orders (RDE^O11, O25) tell? Each ORC with its RXE is a prescription.

A drug without ATC and without a line in the profile's table is passed under the sender's code:
it is on no list of renewals, and the note says why.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Final

from libs.common.events import (
    Department,
    Medication,
    PrescriptionIssued,
    PrescriptionStopped,
)
from services.interop.edge import naming
from services.interop.edge.hl7 import types
from services.interop.edge.hl7.mapping import supply
from services.interop.edge.hl7.mapping.asked import the_patient
from services.interop.edge.hl7.mapping.diagnoses import diagnoses
from services.interop.edge.hl7.mapping.reading import (
    Distinct,
    Mapped,
    Reading,
    as_code,
    as_id,
    line,
    numbered,
    shown,
)
from services.interop.edge.hl7.message import Group, Segment
from services.interop.edge.hl7.refused import ErrorCode
from services.interop.edge.profile import OnUnknown, OrderControl

_MOST_DIAGNOSES: Final = 16
#: ORC-1 of an order that is no longer what it was. What it was, the message does not say.
_CHANGED: Final = "XO"
_ENDED: Final = frozenset({OrderControl.STOPPED, OrderControl.ON_HOLD})
_NOTHING_NEW: Final = frozenset(
    {OrderControl.UNUSED, OrderControl.RELEASED, OrderControl.BY_STATUS}
)


def prescribed(reading: Reading) -> Mapped:
    pid = the_patient(reading)
    patient_id = reading.patient_id(pid)
    groups = reading.message.need_groups("ORC")
    gone, going_on = Distinct(), Distinct()
    codes = tuple(dict.fromkeys(d.code for d in diagnoses(reading)))[:_MOST_DIAGNOSES]
    events: list[PrescriptionIssued | PrescriptionStopped] = []
    for group in groups:
        meant = _meant(reading, group.head)
        ids = gone if meant is OrderControl.STOPPED else going_on
        events += _order(reading, group, meant, patient_id, ids, codes)
    # What is replaced under the same number (RP, then RO) goes on as another one.
    on = {e.prescription_id for e in events if isinstance(e, PrescriptionIssued)}
    told = (e for e in events if isinstance(e, PrescriptionIssued) or e.prescription_id not in on)
    return Mapped(tuple(told), patient_id)


def _meant(reading: Reading, orc: Segment) -> OrderControl:
    tables, unused = reading.profile.tables, OrderControl.UNUSED
    control, status = orc.need(1), orc.text(5)
    found = reading.meaning(tables.order_control, control, (orc, 1), unused, "order control")
    by_status = tables.prescription_status
    if found is OrderControl.BY_STATUS:
        found = unused
        if status is not None:
            found = reading.meaning(by_status, status, (orc, 5), unused, "order status")
    elif found is OrderControl.ISSUED and by_status.codes.get(status or "") in _ENDED:
        found = by_status.codes[status or ""]  # changed, and by that on hold
    if found is unused:
        reading.note("not_used", orc, 1, f"{control[:8]} gives no event")
    elif found is OrderControl.RELEASED:
        text = "it was on hold, and stays stopped: what is to be taken again is prescribed anew"
        reading.note("stop_stands", orc, 1, text)
    return found


def _order(
    reading: Reading,
    group: Group,
    meant: OrderControl,
    patient_id: str,
    ids: Distinct,
    codes: tuple[str, ...],
) -> Iterator[PrescriptionIssued | PrescriptionStopped]:
    if meant in _NOTHING_NEW:
        return
    orc = group.head
    id = _prescription_id(reading, group, ids)
    at = reading.moment(((orc, 9), (orc, 15), (reading.message.header, 7)))
    if meant is not OrderControl.ISSUED:
        by = orc.text(12)
        yield PrescriptionStopped(
            prescription_id=id,
            patient_id=patient_id,
            stopped_at=at,
            stopped_by=as_id(by, orc, 12) if by else None,
            reason="on_hold" if meant is OrderControl.ON_HOLD else None,
        )
        return
    rxe = group.need("RXE")
    if orc.need(1).upper() == _CHANGED and not reading.profile.prescriptions.number_is_enough:
        text = "if the drug is another one now, the prescription of the former stands"
        reading.note("order_changed", orc, 1, text)
    quantity = supply.quantity(reading, rxe)
    days, assumed = supply.days_supply(reading, group, rxe)
    yield PrescriptionIssued(
        prescription_id=id,
        patient_id=patient_id,
        medication=_medication(reading, rxe),
        dosage=supply.dosage(reading, group, rxe),
        quantity=quantity,
        days_supply=days,
        assumed=("days_supply",) if assumed else (),
        prescriber_id=_prescriber(reading, orc, rxe),
        department=_department(reading, orc),
        diagnoses=codes,
        issued_at=at,
        updated_at=types.moment(reading.message.header, 7, reading.zone),
        refill_id=_renewal(reading, group),
    )


def _renewal(reading: Reading, group: Group) -> str | None:
    """Our number of the renewal that the order is a copy of, where the profile says."""
    for place in reading.profile.prescriptions.renewal_in:
        name, _, number = place.partition("-")
        segment = group.head if name == "ORC" else group.need(name)
        # ORC-8 has the placer's number of the parent and the filler's.
        for component in (1, 2):
            found = naming.as_ours(segment.text(int(number), component) or "")
            if found is not None:
                return found
    return None


def _prescription_id(reading: Reading, group: Group, ids: Distinct) -> str:
    """The order's number and the sender's code of the drug; by the profile the order's number
    alone, if each is one medicine's. A prescription's (RXE-15) may always be several's."""
    rxe = group.first("RXE")
    for segment, number in ((group.head, 2), (group.head, 3), (rxe, 15)):
        if segment is None or segment.text(number) is None:
            continue
        alone = reading.profile.prescriptions.number_is_enough and segment is not rxe
        drug = None if alone else _drug(group)
        return ids.of(numbered(segment, number, drug), segment, number)
    raise group.head.missing(2, "no order number")


def _drug(group: Group) -> str:
    """The sender's own code, whatever our tables make of it now or next year."""
    for name, number in (("RXE", 2), ("RXO", 1)):
        segment = group.first(name)
        coded = next(types.codings(segment.value(number)), None) if segment is not None else None
        if coded is not None:
            return coded.code
    raise group.need("RXE").missing(2)


def _medication(reading: Reading, rxe: Segment) -> Medication:
    value, systems = rxe.value(2), reading.profile.systems
    codings, table = list(types.codings(value)), reading.profile.tables.drug
    if not codings:
        raise rxe.missing(2)
    readable = types.coded_text(value)
    form = line(types.coded_text(rxe.value(6)))
    strength = line("".join(t for t in (rxe.text(25), types.coded_text(rxe.value(26))) if t))
    for coded in codings:
        system = (coded.system or "").upper()
        drug = table.codes.get(f"{system}|{coded.code}") or table.codes.get(coded.code)
        if drug is not None:
            code, ingredient = drug.atc, drug.ingredient or drug.atc
            name = drug.name or line(readable) or code
        elif system in systems.atc:
            code = ingredient = as_code(coded.code.upper(), rxe, 2)
            name = line(coded.text or readable) or code
        else:
            continue
        return Medication(
            code=code, name=name, ingredient_code=ingredient, form=form, strength=strength
        )
    first = codings[0]
    text = f"no ATC code, and system {shown(first.system or 'none')} is not in the profile's table"
    if table.unknown is OnUnknown.REFUSE:
        raise rxe.refused(2, ErrorCode.TABLE_VALUE_NOT_FOUND, text)
    reading.note("unknown_code", rxe, 2, text)
    own = as_code(f"{first.system or 'LOCAL'}:{first.code}", rxe, 2)
    return Medication(
        code=own,
        name=line(readable) or own,
        ingredient_code=own,
        form=form,
        strength=strength,
    )


def _prescriber(reading: Reading, orc: Segment, rxe: Segment) -> str:
    """Who ordered it; else the physician of the visit, with a note; else the default."""
    pv1 = reading.message.first("PV1")
    for segment, number in ((orc, 12), (rxe, 13), (pv1, 7)):
        id = segment.text(number) if segment is not None else None
        if segment is None or id is None:
            continue
        if segment is pv1:
            reading.note("defaulted", orc, 12, "no prescriber: the visit's physician (PV1-7)")
        return as_id(id, segment, number)
    default = reading.profile.defaults.prescriber_id
    if default is None:
        raise orc.missing(12)
    reading.note("defaulted", orc, 12, "no prescriber: the profile's default")
    return default


def _department(reading: Reading, orc: Segment) -> Department:
    """Where the visit is, else the entering organisation (ORC-17)."""
    code = orc.text(17)
    if reading.message.first("PV1") is None and code is not None:
        return Department(code=as_code(code, orc, 17), name=line(orc.text(17, 2)))
    return reading.need_department()


TRIGGERS: Final[Mapping[str, Callable[[Reading], Mapped]]] = {
    "O11": prescribed,
    "O25": prescribed,
}
