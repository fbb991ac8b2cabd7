"""What did the hospital tell about a patient that the rules look at?"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import date

from libs.common.decision import Need, State
from services.prescriptions.domain.accounts import last_visit
from services.prescriptions.domain.documents import (
    Order,
    PatientCare,
    Prescription,
    RenewalAccount,
)
from services.prescriptions.domain.facts import Deciding, Dispensed, Facts
from services.prescriptions.domain.persons import ids_of, needs_patient, patient


@dataclass(frozen=True, slots=True)
class Chart:
    """What the hospital told about one patient, over all records that are merged."""

    prescriptions: Sequence[Prescription]

    @classmethod
    def of(cls, state: State, care: PatientCare) -> Chart:
        ids = sorted(ids_of(care))
        return cls([p for id in ids for p in state.where(Prescription, "patient_id", id)])


def needs_chart(state: State, hospital: str, patient_id: str) -> Iterator[Need]:
    yield from needs_patient(state, patient_id)
    for id in sorted(ids_of(patient(state, hospital, patient_id))):
        yield Need(Prescription, "patient_id", id)


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
    )


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
