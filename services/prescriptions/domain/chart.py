"""What did the hospital tell about a patient that the rules look at?"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from typing import TypeVar

from libs.common.decision import Document, Need, State
from services.prescriptions.domain.accounts import last_visit
from services.prescriptions.domain.documents import (
    Order,
    PatientCare,
    Prescription,
    RenewalAccount,
)
from services.prescriptions.domain.facts import Deciding, Dispensed, Facts
from services.prescriptions.domain.health import Allergy, Condition, Stay
from services.prescriptions.domain.persons import ids_of, needs_patient, patient

D = TypeVar("D", bound=Document)


@dataclass(frozen=True, slots=True)
class Chart:
    """What the hospital told about one patient, over all records that are merged."""

    prescriptions: Sequence[Prescription]
    conditions: Sequence[Condition]
    allergies: Sequence[Allergy]
    stays: Sequence[Stay]

    @classmethod
    def of(cls, state: State, care: PatientCare) -> Chart:
        def all_of(model: type[D]) -> list[D]:
            ids = sorted(ids_of(care))
            return [doc for id in ids for doc in state.where(model, "patient_id", id)]

        return cls(all_of(Prescription), all_of(Condition), all_of(Allergy), all_of(Stay))


def needs_chart(state: State, hospital: str, patient_id: str) -> Iterator[Need]:
    yield from needs_patient(state, patient_id)
    for id in sorted(ids_of(patient(state, hospital, patient_id))):
        for model in (Prescription, Condition, Allergy, Stay):
            yield Need(model, "patient_id", id)


def gather(
    prescription: Prescription,
    order: Order,
    care: PatientCare,
    account: RenewalAccount,
    chart: Chart,
    *,
    today: date,
    oneself: bool,
    declaration: Mapping[str, str] | None = None,
    deciding: Deciding | None = None,
) -> Facts:
    """The facts of a renewal of ``order``, as they are known now."""
    return Facts(
        deceased=care.deceased_at is not None,
        birth_date=care.birth_date,
        oneself=oneself,
        code=order.medication.code,
        authored_here=order.authored_here,
        has_diagnosis=bool(order.diagnoses),
        issued_at=order.issued_at,
        days_supply=order.days_supply,
        stopped_at=prescription.stopped_at,
        under_way=len(account.open),
        renewals=tuple(r.effective_at for r in account.renewals),
        last_visit_at=last_visit(care, order.department.code),
        dispensed=_dispensed(account, chart),
        others_today=_others_today(care, account.ingredient_code, today),
        declaration=declaration,
        deciding=deciding,
        diagnosed=_diagnosed(order, chart),
        allergies=_coded(chart),
        allergies_uncoded=sum(a.is_present and not _is_coded(a) for a in chart.allergies),
        admitted=_since(order.issued_at, (s.began_at for s in chart.stays)),
        others_stopped=_since(
            order.issued_at,
            (p.stopped_at for p in chart.prescriptions if p.id != prescription.id),
        ),
    )


def _diagnosed(order: Order, chart: Chart) -> tuple[datetime, ...]:
    """When each present condition was first recorded; what was known before, or is what the
    medicine is for, is not new under whichever record it comes again."""
    first: dict[str, datetime] = {}
    for condition in chart.conditions:
        if not condition.is_wrong:
            known = first.get(condition.code.upper(), condition.first_recorded_at)
            first[condition.code.upper()] = min(known, condition.first_recorded_at)
    present = {c.code.upper() for c in chart.conditions if c.is_present}
    reasons = {code.upper() for code in order.diagnoses}
    return _since(order.issued_at, (first[code] for code in present - reasons))


def _is_coded(allergy: Allergy) -> bool:
    return allergy.code is not None and (allergy.system or "").upper() == "ATC"


def _coded(chart: Chart) -> tuple[str, ...] | None:
    if not chart.allergies:
        return None
    coded = {a.code.upper() for a in chart.allergies if a.code and _is_coded(a) and a.is_present}
    return tuple(sorted(coded))


def _since(start: datetime, times: Iterable[datetime | None]) -> tuple[datetime, ...]:
    return tuple(sorted(at for at in times if at is not None and at > start))


def _dispensed(account: RenewalAccount, chart: Chart) -> Dispensed | None:
    told = [
        Dispensed(at=p.order.issued_at, days=p.order.days_supply)
        for p in chart.prescriptions
        if p.order is not None and p.order.medication.ingredient_code == account.ingredient_code
    ]
    renewed = [Dispensed(at=r.effective_at, days=r.days_supply) for r in account.renewals]
    return max((*told, *renewed), key=lambda d: (d.at, d.days or 0), default=None)


def _others_today(care: PatientCare, ingredient: str, today: date) -> int:
    return len(set(care.asked) - {ingredient}) if care.asked_on == today else 0
