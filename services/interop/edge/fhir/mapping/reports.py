"""What does a DiagnosticReport tell, with the Observations that are its lines?

The stricter of the report's status and its lines' holds (``edge/report_status.py``). Panels
(``hasMember``) and components are lines of the report, too. An Observation alone tells nothing:
it is kept for the report that refers to it.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator
from dataclasses import dataclass, field
from datetime import datetime
from decimal import Decimal
from typing import Any, Final

from libs.common.events import (
    Event,
    Interpretation,
    Observation,
    ReferenceRange,
    ReportCorrected,
    ReportKind,
    ReportReady,
    ReportStatus,
    ReportWithdrawn,
)
from services.interop.edge import report_status
from services.interop.edge.fhir.mapping import visits
from services.interop.edge.fhir.mapping.reading import Reading, words_of
from services.interop.edge.fhir.references import Resource
from services.interop.edge.fhir.refused import Issue, Refused
from services.interop.edge.naming import line
from services.interop.edge.profile import LineStatus

#: Observation.status -> what it makes of a line.
LINES: Final[dict[str, LineStatus]] = {
    "registered": LineStatus.PENDING,
    "preliminary": LineStatus.PENDING,
    "final": LineStatus.FINAL,
    "amended": LineStatus.CORRECTED,
    "corrected": LineStatus.CORRECTED,
    "cancelled": LineStatus.ABSENT,
    "entered-in-error": LineStatus.VOID,
    "unknown": LineStatus.PENDING,
}
#: Said before others, if an interpretation says several things.
_GRAVE: Final = (
    Interpretation.CRITICALLY_ABNORMAL,
    Interpretation.CRITICALLY_HIGH,
    Interpretation.CRITICALLY_LOW,
)
_MOST_LINES, _MOST_VALUE, _MOST_CONCLUSION, _DEEPEST = 300, 2000, 8000, 5


@dataclass(slots=True)
class Lines:
    """The lines of one report as they are read."""

    told: list[Observation] = field(default_factory=list)
    words: list[str] = field(default_factory=list)
    statuses: list[LineStatus | None] = field(default_factory=list)
    critical: bool = False
    effective_at: datetime | None = None
    seen: set[int] = field(default_factory=set)


def report(reading: Reading, resource: Resource) -> Iterator[Event]:
    model = resource.model
    try:
        told = ReportStatus(model.status)
    except ValueError:
        text = "no status of a DiagnosticReport"
        raise Refused(resource.at("status"), Issue.CODE_INVALID, text) from None
    patient_id, _ = reading.patient(model.subject, resource, "subject")
    report_id = reading.id_of(resource, reading.profile.fhir.report)
    lines = Lines()
    for n, reference in enumerate(model.result or ()):
        _add(reading, resource, f"result[{n}]", reference, lines, patient_id)
    status = report_status.settled(told, lines.statuses)
    if status is not told:
        text = f"{told} as a whole, but not every line is: taken as {status}"
        reading.note("not_all_final", resource.at("status"), text)
    issued = [("issued", model.issued)]
    if status in report_status.WITHDRAWN:
        at = reading.recorded(resource)
        yield ReportWithdrawn(report_id=report_id, patient_id=patient_id, withdrawn_at=at)
        return
    if status not in report_status.READY | report_status.CORRECTED:
        reading.note("not_used", resource.at("status"), f"{status}: no result yet, no event")
        return
    code, title = reading.need_code(model.code, resource.at("code"))
    stay = visits.visit(reading, resource, patient_id)
    department = reading.department(stay) if stay else None
    period = model.effectivePeriod
    effective = reading.time(model.effectiveDateTime or (period.start if period else None))
    made = ReportCorrected if status in report_status.CORRECTED else ReportReady
    event = made(
        report_id=report_id,
        patient_id=patient_id,
        kind=_kind(reading, resource),
        code=code,
        title=line(title) or code,
        status=status,
        critical=lines.critical,
        ordering_practitioner_id=_orderer(reading, resource),
        department_code=department.code if department else None,
        encounter_id=visits.encounter_id(reading, stay) if stay else None,
        effective_at=effective or lines.effective_at,
        issued_at=reading.moment(resource, issued),
        observations=_first(reading, resource, lines.told),
        conclusion=_conclusion(reading, resource, lines.words),
    )
    if report_status.is_too_large(event):
        text = "the report is larger than an event may be"
        raise Refused(resource.place, Issue.TOO_LONG, text)
    yield event


def _first(
    reading: Reading, resource: Resource, found: list[Observation]
) -> tuple[Observation, ...]:
    if len(found) > _MOST_LINES:
        beyond = len(found) - _MOST_LINES
        reading.note("left_out", resource.at("result"), f"{beyond} lines beyond {_MOST_LINES}")
    return tuple(found[:_MOST_LINES])


def _kind(reading: Reading, resource: Resource) -> ReportKind:
    categories, default = resource.model.category or (), reading.profile.defaults.report_kind
    for n, concept in enumerate(categories):
        found = reading.known_code(reading.profile.tables.report_kind, concept)
        if found is not None:
            return found[0]
        if n == len(categories) - 1:
            table, place = reading.profile.tables.report_kind, resource.at("category")
            unknown = default or ReportKind.OTHER
            return reading.meaning(table, concept, place, unknown, "category")
    if default is None:
        raise Refused(resource.at("category"), Issue.REQUIRED, "required, and no default")
    reading.note("defaulted", resource.at("category"), "no category: the profile's default")
    return default


def _orderer(reading: Reading, resource: Resource) -> str | None:
    """Who asked for it: the requester of what it is based on."""
    for n, reference in enumerate(resource.model.basedOn or ()):
        order = reading.of(reference, resource, f"basedOn[{n}]", "ServiceRequest")
        if order is not None and order.model.requester is not None:
            return reading.practitioner(order.model.requester, order, "requester")
    return None


def _conclusion(reading: Reading, resource: Resource, words: list[str]) -> str | None:
    model = resource.model
    for document in model.presentedForm or ():
        text = f"{document.contentType or 'document'} of the report stays in the message"
        reading.note("document_left_out", resource.at("presentedForm"), text)
    coded = [words_of(concept) for concept in model.conclusionCode or ()]
    found = "\n".join(t for t in (model.conclusion, *coded, *words) if t)
    if len(found) > _MOST_CONCLUSION:
        text = f"more than {_MOST_CONCLUSION} characters of text"
        reading.note("shortened", resource.at("conclusion"), text)
        found = f"{found[: _MOST_CONCLUSION - 1]}…"
    return found or None


# -- lines ------------------------------------------------------------------------------


def _add(
    reading: Reading,
    of: Resource,
    path: str,
    reference: Any,
    lines: Lines,
    patient_id: str,
    depth: int = 0,
) -> None:
    observation = reading.of(reference, of, path, "Observation")
    if observation is None:
        text = "no Observation known by this: send it in the same bundle or before"
        raise Refused(of.at(path), Issue.NOT_FOUND, text)
    if id(observation) in lines.seen:
        return
    lines.seen.add(id(observation))
    model = observation.model
    reading.same_patient(observation, patient_id, of.at(path))
    status = LINES.get(model.status)
    if status is None:
        text = "no status of an Observation"
        raise Refused(observation.at("status"), Issue.CODE_INVALID, text)
    members, components = model.hasMember or (), model.component or ()
    if status is not LineStatus.VOID:  # a panel may say it, which is no line itself
        meant = _interpretation(reading, model, observation.at("interpretation"))
        lines.critical |= meant in _GRAVE
    if _has_value(model) or not (members or components):
        _line(reading, observation, "", model, status, lines)
        lines.statuses.append(status)
    period = model.effectivePeriod
    taken = reading.time(model.effectiveDateTime or (period.start if period else None))
    lines.effective_at = lines.effective_at or taken
    for n, component in enumerate(components):
        _line(reading, observation, f"component[{n}].", component, status, lines)
        lines.statuses.append(status)
    if members and depth >= _DEEPEST:
        text = f"panels within panels, more than {_DEEPEST} deep"
        raise Refused(observation.at("hasMember"), Issue.TOO_COSTLY, text)
    for n, member in enumerate(members):
        _add(reading, observation, f"hasMember[{n}]", member, lines, patient_id, depth + 1)


def _has_value(model: Any) -> bool:
    return model.dataAbsentReason is not None or _value(model) is not None


def _line(
    reading: Reading,
    observation: Resource,
    path: str,
    model: Any,
    status: LineStatus,
    lines: Lines,
) -> None:
    """One value: of the Observation, or of a component."""
    place = observation.at(path.rstrip(".")) if path else observation.place
    if status is LineStatus.VOID:
        reading.note("line_left_out", place, "taken back")
        return
    # Before anything else leaves the line out: a danger to life is told though no line shows it.
    meant = _interpretation(reading, model, f"{place}.interpretation")
    lines.critical |= meant in _GRAVE
    code, display = reading.need_code(model.code, f"{place}.code")
    value = None if status is LineStatus.ABSENT else _value(model)
    notes = [n.text for n in getattr(model, "note", None) or () if n.text]
    if isinstance(value, str) and len(value) > _MOST_VALUE:
        lines.words.append(f"{display}：{value}")
        return
    lines.words += [f"{display}：{text}" for text in notes]
    quantity = model.valueQuantity
    unit = (quantity.unit or quantity.code) if quantity is not None else None
    lines.told.append(
        Observation(
            code=code,
            display=line(display) or code,
            value=value,
            unit=line(unit, 32),
            reference_range=_range(model),
            interpretation=meant,
        )
    )


def _value(model: Any) -> int | float | str | None:
    """value[x] as a number, else as people write it."""
    quantity = model.valueQuantity
    if quantity is not None and quantity.value is not None:
        number = _number(quantity.value)
        return f"{quantity.comparator}{number}" if quantity.comparator else number
    if model.valueInteger is not None:
        return int(model.valueInteger)
    if model.valueBoolean is not None:
        return "是" if model.valueBoolean else "否"
    if model.valueCodeableConcept is not None:
        return words_of(model.valueCodeableConcept)
    if model.valueString is not None:
        return str(model.valueString)
    if model.valueRange is not None:
        return _between(model.valueRange.low, model.valueRange.high)
    if model.valueRatio is not None:
        parts = (model.valueRatio.numerator, model.valueRatio.denominator)
        return ":".join(str(_number(p.value)) for p in parts if p is not None and p.value)
    if model.valuePeriod is not None:
        return _between(model.valuePeriod.start, model.valuePeriod.end)
    for found in (model.valueDateTime, model.valueTime):
        if found is not None:
            return found.isoformat() if hasattr(found, "isoformat") else str(found)
    return None


def _between(low: Any, high: Any) -> str:
    def shown(end: Any) -> str:
        if end is None:
            return ""
        if hasattr(end, "value"):
            return f"{_number(end.value)}{end.unit or ''}" if end.value is not None else ""
        return end.isoformat() if hasattr(end, "isoformat") else str(end)

    return f"{shown(low)}–{shown(high)}"


def _number(value: Any) -> int | float:
    """140 stays 140 and 5.6 stays 5.6."""
    number = Decimal(value)
    exponent = number.as_tuple().exponent
    if isinstance(exponent, int) and exponent >= 0 and number.adjusted() < 15:
        return int(number)
    return float(number)


def _range(model: Any) -> ReferenceRange | None:
    """The first range, which is the usual one unless its type says otherwise."""
    for one in model.referenceRange or ():
        codes = {c.code for c in (one.type.coding or ())} if one.type else set()
        if codes and "normal" not in codes:
            continue
        low, high = one.low, one.high
        text = line(one.text)
        found = ReferenceRange(
            low=float(low.value) if low is not None and low.value is not None else None,
            high=float(high.value) if high is not None and high.value is not None else None,
            text=text,
        )
        if found != ReferenceRange():
            return found
    return None


def _interpretation(reading: Reading, model: Any, place: str) -> Interpretation | None:
    table, found = reading.profile.tables.interpretation, []
    flags, critical = reading.profile.reports.critical_flags, False
    for concept in model.interpretation or ():
        if any(c.code in flags for c in reading.codings(concept)):
            critical = True
            continue
        found.append(reading.meaning(table, concept, place, None, "interpretation"))
    meant = _gravest(found)
    return Interpretation.CRITICALLY_ABNORMAL if critical and meant not in _GRAVE else meant


def _gravest(found: Collection[Interpretation | None]) -> Interpretation | None:
    told = [f for f in found if f is not None]
    unusual = [f for f in told if f is not Interpretation.NORMAL]
    return next((grave for grave in _GRAVE if grave in told), next(iter(unusual or told), None))
