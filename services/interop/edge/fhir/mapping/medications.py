"""What does a MedicationRequest tell? Each is the prescription of one medicine.

A drug without ATC and without a line in the profile's table is passed under the sender's code:
it is on no list of renewals, and the note says why.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime
from math import ceil
from typing import Any, Final, Literal

from libs.common.events import (
    Department,
    Event,
    Medication,
    PrescriptionIssued,
    PrescriptionStopped,
    Quantity,
)
from services.interop.edge import naming
from services.interop.edge.fhir.mapping import clinical, renewing, visits
from services.interop.edge.fhir.mapping.reading import Reading, words_of
from services.interop.edge.fhir.references import Resource
from services.interop.edge.fhir.refused import Issue, Refused
from services.interop.edge.profile import OnUnknown

#: MedicationRequest.status -> whether it was issued, and whether it is stopped.
STATUSES: Final[dict[str, tuple[bool, bool]]] = {
    "active": (True, False),
    "on-hold": (True, True),  # the patient must not take it; resumed, it is prescribed anew
    "completed": (True, False),
    "stopped": (True, True),
    "cancelled": (False, True),
    "entered-in-error": (False, True),
    "draft": (False, False),
    "unknown": (False, False),
}
#: What has ended for good; what is on hold may still.
_ENDED: Final = frozenset({"stopped", "cancelled", "entered-in-error"})
#: Why the event says that it was stopped.
_REASONS: Final = {"on-hold": "on_hold"}
#: intent of what is ordered; others propose or plan it.
ORDERS: Final = frozenset(
    {"order", "original-order", "reflex-order", "filler-order", "instance-order"}
)
_INTENTS: Final = ORDERS | {"proposal", "plan", "option"}
#: MedicationRequest.intent of one dose that is given, as on a ward's record.
_ONE_DOSE: Final = "instance-order"
#: MedicationRequest.category of what is given on the ward: nothing that a patient has at home.
_ON_THE_WARD: Final = "inpatient"
#: UCUM's units of time in days.
_DAYS: Final = {"d": 1.0, "wk": 7.0, "mo": 30.0, "a": 365.0, "h": 1 / 24, "min": 1 / 1440}
_UNITS: Final = {
    "s": "秒",
    "min": "分钟",
    "h": "小时",
    "d": "日",
    "wk": "周",
    "mo": "月",
    "a": "年",
}
_MOST_DIAGNOSES: Final = 16


def prescription(reading: Reading, resource: Resource) -> Iterator[Event]:
    model = resource.model
    if model.status not in STATUSES:
        text = "no status of a MedicationRequest"
        raise Refused(resource.at("status"), Issue.CODE_INVALID, text)
    if model.intent not in _INTENTS:
        text = "no intent of a MedicationRequest"
        raise Refused(resource.at("intent"), Issue.CODE_INVALID, text)
    patient_id, _ = reading.patient(model.subject, resource, "subject")
    id = reading.id_of(resource, reading.profile.fhir.prescription)
    issued, stopped = STATUSES[model.status]
    if why := _no_prescription(reading, resource):
        reading.note("not_used", resource.place, why)
        return
    was = _status_before(resource)
    was_issued, was_stopped = STATUSES.get(was, (False, False))
    if issued and not (stopped and was_issued):
        yield _issued(reading, resource, id, patient_id)
    if was_stopped and not stopped:
        text = f"was {was}, and stays stopped: what is to be taken again is prescribed anew"
        reading.note("stop_stands", resource.at("status"), text)
    is_told = was in (*_ENDED, model.status) and was_stopped and _was_told(reading, resource, id)
    if stopped and not is_told:
        yield PrescriptionStopped(
            prescription_id=id,
            patient_id=patient_id,
            stopped_at=_stopped_at(reading, resource, was),
            reason=_REASONS.get(model.status),
        )


def _no_prescription(reading: Reading, resource: Resource) -> str:
    """Why a MedicationRequest tells nothing; empty if it does."""
    model = resource.model
    if model.intent not in ORDERS or model.intent == _ONE_DOSE:
        return f"intent {model.intent}: no prescription"
    if model.doNotPerform:
        return "doNotPerform: what is not to be taken"
    if any(c.code == _ON_THE_WARD for one in model.category or () for c in reading.codings(one)):
        return f"category {_ON_THE_WARD}: given on the ward"
    return "" if any(STATUSES[model.status]) else f"{model.status}: no event"


def _status_before(resource: Resource) -> str:
    """The status of the version before; empty if there is none."""
    earlier = resource.earlier()
    return "" if earlier is None else str(earlier.raw.get("status"))


def _was_told(reading: Reading, resource: Resource, id: str) -> bool:
    """Whether the version before told something, and of the same prescription."""
    earlier, rule = resource.earlier(), reading.profile.fhir.prescription
    told = resource.before is not None and bool(resource.before.told)
    return told and earlier is not None and reading.id_of(earlier, rule) == id


def _stopped_at(reading: Reading, resource: Resource, was: str) -> datetime:
    """Since when it is stopped: R4 has no place for it, so when its sender recorded that.

    What was never told as in force, and has no such time of its own, belongs to a past that is
    told as a whole: it counts as stopped when it was written. Told as stopped now it would be a
    change of today's treatment, for which the patient's other medicines are not renewed.
    """
    was_in_force, meta = was and was not in _ENDED, resource.raw.get("meta")
    if was_in_force or (isinstance(meta, dict) and meta.get("lastUpdated")):
        return reading.recorded(resource)
    return reading.moment(resource, [("authoredOn", resource.model.authoredOn)])


def _issued(reading: Reading, resource: Resource, id: str, patient_id: str) -> PrescriptionIssued:
    model = resource.model
    stay = visits.visit(reading, resource, patient_id)
    found = [
        clinical.icd10(reading, concept, resource.at("reasonCode"))
        for concept in model.reasonCode or ()
    ]
    for n, reference in enumerate(model.reasonReference or ()):
        condition = reading.of(reference, resource, f"reasonReference[{n}]", "Condition")
        if condition is not None:
            place = resource.at(f"reasonReference[{n}]")
            reading.same_patient(condition, patient_id, place)
            found.append(clinical.icd10(reading, condition.model.code, place))
    codes = tuple(dict.fromkeys(f[0] for f in found if f is not None))
    dosage = _dosage(reading, resource)
    quantity, days = _quantity(reading, resource), _days_supply(resource)
    return PrescriptionIssued(
        prescription_id=id,
        patient_id=patient_id,
        medication=_medication(reading, resource),
        dosage=dosage or _usual_dosage(reading, resource),
        quantity=quantity or _usual(reading, resource),
        days_supply=days or _usual_days(reading, resource),
        assumed=_assumed(quantity, days),
        dosage_assumed=dosage is None,
        prescriber_id=_prescriber(reading, resource),
        department=_department(reading, resource, stay),
        diagnoses=codes[:_MOST_DIAGNOSES],
        issued_at=reading.moment(resource, [("authoredOn", model.authoredOn)]),
        updated_at=reading.recorded(resource),
        based_on=renewing.replaced_by(reading, resource, patient_id),
        refill_id=renewing.renewal_of(reading, resource, patient_id),
    )


def _medication(reading: Reading, resource: Resource) -> Medication:
    model, place = resource.model, resource.at("medication")
    concept, form = model.medicationCodeableConcept, None
    if concept is None:
        found = reading.of(model.medicationReference, resource, "medicationReference", "Medication")
        if found is None:
            text = "no Medication known by this: send it in the same bundle, or contained"
            raise Refused(resource.at("medicationReference"), Issue.NOT_FOUND, text)
        concept, form = found.model.code, naming.line(words_of(found.model.form))
    systems, table = reading.profile.systems, reading.profile.tables.drug
    codings, readable = reading.codings(concept), words_of(concept)
    for coded in codings:
        drug = table.codes.get(f"{coded.system}|{coded.code}") or table.codes.get(coded.code)
        if drug is not None:
            code, ingredient = drug.atc, drug.ingredient or drug.atc
            name = drug.name or readable or code
        elif coded.system in systems.atc:
            code = ingredient = reading.as_code(coded.code.upper(), place)
            name = naming.line(coded.text) or readable or code
        else:
            continue
        return Medication(code=code, name=name, ingredient_code=ingredient, form=form)
    if not codings:
        raise Refused(place, Issue.REQUIRED, "required: a coded medicine")
    first = codings[0]
    text = f"no ATC code, and code {naming.shown(first.code)} is not in the profile's table"
    if table.unknown is OnUnknown.REFUSE:
        raise Refused(place, Issue.CODE_INVALID, text)
    reading.note("unknown_code", place, text)
    system = first.system.rstrip("/").rpartition("/")[2] or "LOCAL"
    own = reading.as_code(f"{system}:{first.code}", place)
    return Medication(code=own, name=readable or own, ingredient_code=own, form=form)


# -- how to take it, how much, for how long ----------------------------------------------


def _dosage(reading: Reading, resource: Resource) -> str | None:
    """The instructions in words; else amount and frequency; ``None`` if there are none."""
    instructions = resource.model.dosageInstruction or ()
    told = [t for one in instructions if (t := _instruction(reading, one))]
    whole = "；".join(told)
    if len(whole) > 8000:
        place = resource.at("dosageInstruction")
        raise Refused(place, Issue.TOO_LONG, "more than 8000 characters")
    return whole or None


def _usual_dosage(reading: Reading, resource: Resource) -> str:
    default = reading.profile.defaults.dosage
    place = resource.at("dosageInstruction")
    if default is None:
        raise Refused(place, Issue.REQUIRED, "required: how to take it, and no default")
    reading.note("defaulted", place, "no instruction: the profile's default")
    return default


def _instruction(reading: Reading, one: Any) -> str:
    if one.text:
        return str(one.text)
    parts = [_frequency(reading, one.timing), _dose(one)]
    if one.asNeededBoolean or one.asNeededCodeableConcept is not None:
        parts.append("必要时")
    parts.append(words_of(one.route) or "")
    parts.append(one.patientInstruction or "")
    parts += [words_of(a) or "" for a in one.additionalInstruction or ()]
    return "，".join(p for p in parts if p)


def _frequency(reading: Reading, timing: Any) -> str:
    if timing is None:
        return ""
    found = reading.known_code(reading.profile.tables.frequency, timing.code)
    if found is not None:
        return found[0]
    repeat = timing.repeat
    if repeat is None or repeat.frequency is None or repeat.period is None:
        return words_of(timing.code) or ""
    unit = _UNITS.get(repeat.periodUnit or "", repeat.periodUnit or "")
    period = f"{repeat.period:g}" if repeat.period != 1 else ""
    times = f"{repeat.frequency}–{repeat.frequencyMax}" if repeat.frequencyMax else repeat.frequency
    return f"每{period}{unit}{times}次"


def _dose(one: Any) -> str:
    for dose in one.doseAndRate or ():
        quantity = dose.doseQuantity
        if quantity is not None and quantity.value is not None:
            return f"每次{quantity.value:g}{quantity.unit or ''}"
        if dose.doseRange is not None and dose.doseRange.low and dose.doseRange.high:
            low, high = dose.doseRange.low, dose.doseRange.high
            return f"每次{low.value:g}–{high.value:g}{high.unit or ''}"
    return ""


def _quantity(reading: Reading, resource: Resource) -> Quantity | None:
    """What was prescribed; ``None`` if the sender does not say."""
    dispense = resource.model.dispenseRequest
    quantity = dispense.quantity if dispense is not None else None
    place = resource.at("dispenseRequest.quantity")
    if quantity is None or quantity.value is None:
        return None
    if quantity.value <= 0:
        raise Refused(place, Issue.VALUE, "not more than nothing")
    unit = naming.line(quantity.unit or quantity.code) or reading.profile.defaults.quantity_unit
    if unit is None:
        raise Refused(f"{place}.unit", Issue.REQUIRED, "required, and no default of the profile")
    return Quantity(value=float(quantity.value), unit=unit)


def _assumed(
    quantity: Quantity | None, days: int | None
) -> tuple[Literal["quantity", "days_supply"], ...]:
    found: tuple[Literal["quantity", "days_supply"], ...] = ()
    if quantity is None:
        found = ("quantity",)
    return found if days is not None else (*found, "days_supply")


def _usual(reading: Reading, resource: Resource) -> Quantity:
    place, defaults = resource.at("dispenseRequest.quantity"), reading.profile.defaults
    if defaults.quantity is None or defaults.quantity_unit is None:
        raise Refused(place, Issue.REQUIRED, "required, and no default of the profile")
    reading.note("defaulted", place, "no quantity: the profile's default")
    return Quantity(value=defaults.quantity, unit=defaults.quantity_unit)


def _days_supply(resource: Resource) -> int | None:
    """expectedSupplyDuration, else the longest bound of the instructions; else ``None``."""
    model, place = resource.model, resource.at("dispenseRequest.expectedSupplyDuration")
    dispense = model.dispenseRequest
    found = [_days(dispense.expectedSupplyDuration)] if dispense is not None else []
    if not any(found):
        for one in model.dosageInstruction or ():
            repeat = one.timing.repeat if one.timing is not None else None
            found.append(_days(repeat.boundsDuration) if repeat is not None else None)
    days = max((d for d in found if d is not None and d > 0), default=None)
    if days is None:
        return None
    if days > 366:
        raise Refused(place, Issue.VALUE, "more than 366 days")
    return max(1, ceil(days))


def _usual_days(reading: Reading, resource: Resource) -> int:
    place = resource.at("dispenseRequest.expectedSupplyDuration")
    default = reading.profile.defaults.days_supply
    if default is None:
        raise Refused(place, Issue.REQUIRED, "required, and no default of the profile")
    reading.note("defaulted", place, "no duration: the profile's default")
    return default


def _days(duration: Any) -> float | None:
    if duration is None or duration.value is None:
        return None
    each = _DAYS.get(duration.code or duration.unit or "d")
    return None if each is None else float(duration.value) * each


def _prescriber(reading: Reading, resource: Resource) -> str:
    found = reading.practitioner(resource.model.requester, resource, "requester")
    if found is not None:
        return found
    default, place = reading.profile.defaults.prescriber_id, resource.at("requester")
    if default is None:
        raise Refused(place, Issue.REQUIRED, "no prescriber known by this, and no default")
    reading.note("defaulted", place, "no prescriber: the profile's default")
    return default


def _department(reading: Reading, resource: Resource, stay: Resource | None) -> Department:
    """Of the visit; else of the prescriber's role; else the default."""
    found = reading.department(stay) if stay is not None else None
    if found is None:
        requester = resource.model.requester
        role = reading.of(requester, resource, "requester", "PractitionerRole")
        told = (
            list(reading.organisation(role.model.organization, role, "organization"))
            if role is not None
            else []
        )
        found = reading.department_of(told, role)
    if found is None:
        text = "no visit with a department, and no default of the profile"
        raise Refused(resource.at("encounter"), Issue.REQUIRED, text)
    return found
