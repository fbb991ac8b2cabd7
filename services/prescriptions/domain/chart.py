"""What did the hospital tell about a patient that the rules look at?"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from typing import TypeVar

from libs.common.decision import Document, Need, State
from services.prescriptions.domain.accounts import codes_of, last_visit_at, renewed
from services.prescriptions.domain.checks import ClinicalChecks
from services.prescriptions.domain.documents import (
    Order,
    PatientCare,
    Prescription,
    Refill,
    RenewalAccount,
)
from services.prescriptions.domain.dosing import redosed, replaced
from services.prescriptions.domain.facts import Deciding, Facts
from services.prescriptions.domain.fulfilment import Fulfilment
from services.prescriptions.domain.health import Allergy, Condition, Stay, icd10
from services.prescriptions.domain.origin import line_of, origin, renewal_of
from services.prescriptions.domain.persons import ids_of, needs_patient, patient
from services.prescriptions.domain.policy import RenewalPolicy
from services.prescriptions.domain.supply import supplied, taken_beside

D = TypeVar("D", bound=Document)


@dataclass(frozen=True, slots=True)
class Chart:
    """What the hospital told about one patient, over all records that are merged."""

    prescriptions: Sequence[Prescription]
    conditions: Sequence[Condition]
    allergies: Sequence[Allergy]
    stays: Sequence[Stay]
    fulfilments: Sequence[Fulfilment] = ()

    @property
    def orders(self) -> Mapping[str, Order]:
        """By their prescriptions."""
        return {p.id: p.order for p in self.prescriptions if p.order is not None}

    def but(self, told: Document) -> Chart:
        """The same with what was just told."""

        def put(known: Sequence[D], model: type[D]) -> Sequence[D]:
            if not isinstance(told, model):
                return known
            return [*(d for d in known if d.id != told.id), told]

        return Chart(
            put(self.prescriptions, Prescription),
            put(self.conditions, Condition),
            put(self.allergies, Allergy),
            put(self.stays, Stay),
            put(self.fulfilments, Fulfilment),
        )

    @classmethod
    def of(cls, state: State, care: PatientCare) -> Chart:
        def all_of(model: type[D]) -> list[D]:
            ids = sorted(ids_of(care))
            return [doc for id in ids for doc in state.where(model, "patient_id", id)]

        return cls(
            all_of(Prescription),
            all_of(Condition),
            all_of(Allergy),
            all_of(Stay),
            all_of(Fulfilment),
        )


def needs_chart(state: State, hospital: str, patient_id: str) -> Iterator[Need]:
    yield from needs_patient(state, patient_id)
    yield from needs_records(ids_of(patient(state, hospital, patient_id)))


def needs_records(ids: Iterable[str]) -> Iterator[Need]:
    for id in sorted(ids):
        for model in (Prescription, Condition, Allergy, Stay, Fulfilment):
            yield Need(model, "patient_id", id)


def original_of(
    refill: Refill, known: Prescription | None, care: PatientCare, now: datetime
) -> Prescription:
    """The prescription that ``refill`` renews; what is not known any more, or is another's, is
    stopped."""
    if known is not None and known.patient_id in ids_of(care):
        return known
    return Prescription(
        id=refill.prescription_id,
        hospital=refill.hospital,
        patient_id=refill.patient_id,
        stopped_at=now,
    )


def gather(
    prescription: Prescription,
    order: Order,
    care: PatientCare,
    account: RenewalAccount,
    chart: Chart,
    *,
    now: datetime,
    policy: RenewalPolicy,
    oneself: bool,
    requester_acts: bool = True,
    declaration: Mapping[str, str] | None = None,
    deciding: Deciding | None = None,
    checks: ClinicalChecks | None = None,
    renewal: Refill | None = None,
) -> Facts:
    """The facts of a renewal of ``order``, as they are known now; ``renewal``: if it is already
    under way or in effect."""
    visited = last_visit_at(care, order.department.code)
    codes = codes_of(care, account.ingredient_code)
    beside = taken_beside(prescription.id, order, codes, account, chart.orders, policy)
    seen_at, ended_at = origin(prescription.id, order, account, chart.prescriptions, codes, beside)
    line = line_of(prescription.id, order.refill_id, account, chart.orders)
    if line is not None and line not in chart.orders:
        ended_at = now  # what it goes on with never was the patient's
    since = seen_at or visited or order.issued_at
    own = renewal_of(prescription.id, order, account)
    as_taken = renewal.prescribed if renewal is not None and renewal.effective_at else order
    known = policy.rules.stable_condition.parameters.known_days
    return Facts(
        deceased=care.deceased_at is not None,
        birth_date=care.birth_date,
        oneself=oneself,
        requester_acts=requester_acts,
        code=order.medication.code,
        authored_here=(prescription.order or order).authored_here,
        has_diagnosis=bool(order.diagnoses),
        diagnoses=order.diagnoses,
        issued_at=order.issued_at,
        seen_at=seen_at,
        days_supply=order.days_supply,
        stopped_at=min(filter(None, (prescription.stopped_at, ended_at)), default=None),
        under_way=len(account.open),
        renewals=renewed(account),
        last_visit_at=visited,
        dispensed=supplied(
            prescription.id, order, codes, account, chart.orders, chart.fulfilments, policy
        ),
        others_today=_others_today(care, codes, policy.day(now)),
        declaration=declaration,
        deciding=deciding,
        diagnosed=_diagnosed(order, chart, since, timedelta(days=known)),
        allergies=_coded(chart),
        allergies_uncoded=sum(a.is_present and a.code_in_atc is None for a in chart.allergies),
        allergies_in_words=tuple(
            sorted(
                a.as_told
                for a in chart.allergies
                if a.is_present and a.code_in_atc is None and a.may_be_to_a_medicine
            )
        ),
        health_told=bool(chart.conditions or chart.stays),
        alerts=None if checks is None else checks.alerts(),
        unchecked=() if checks is None else checks.unchecked(),
        admitted=_since(since, (s.began_at for s in chart.stays)),
        others_stopped=_since(
            since,
            (p.stopped_at for p in chart.prescriptions if p.id != prescription.id),
        ),
        replaced=replaced(prescription, order, account, renewal),
        redosed=tuple(
            sorted(
                redosed(prescription.id, as_taken, account, chart.prescriptions, codes),
                key=lambda other: other.at,
            )
        ),
        effective_at=own.effective_at if own is not None else None,
    )


def _diagnosed(
    order: Order, chart: Chart, since: datetime, known: timedelta
) -> tuple[datetime, ...]:
    """When each present condition began. One that is recorded anew goes on, under whichever
    record, as long as an earlier one was present or recorded within the time that it counts as
    ``known``; so does what the medicine is for. What is told to have come back is new."""
    begun: set[tuple[str, datetime]] = set()
    reasons = {icd10(code) for code in order.diagnoses}
    start: dict[str, datetime] = {}
    until: dict[str, datetime] = {}
    for condition in sorted(chart.conditions, key=lambda c: (c.began_at, c.id)):
        if condition.is_wrong:
            continue
        code, began = icd10(condition.code), condition.began_at
        if code not in until or began > until[code]:
            start[code] = began
        lasts = condition.recorded_at + (known if condition.is_present else timedelta())
        until[code] = max(lasts, until.get(code, lasts))
        if condition.is_back:
            begun.add((code, began))
        elif condition.is_present and code not in reasons:
            begun.add((code, start[code]))
    return _since(since, (at for _, at in begun))


def _coded(chart: Chart) -> tuple[str, ...] | None:
    if not chart.allergies:
        return None
    coded = {a.code_in_atc for a in chart.allergies if a.is_present}
    return tuple(sorted(code for code in coded if code is not None))


def _since(start: datetime, times: Iterable[datetime | None]) -> tuple[datetime, ...]:
    return tuple(sorted(at for at in times if at is not None and at > start))


def _others_today(care: PatientCare, ingredients: Collection[str], today: date) -> int:
    return len(set(care.asked) - set(ingredients)) if care.asked_on == today else 0
