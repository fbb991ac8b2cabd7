"""What has to be checked before a renewal goes on, and when does a check count?

A step that needs one is asked what there is to check (:class:`ToCheck`); that is put to an
engine outside, and the step decided again with what it found. What was told in between makes
it another question, and what was found for the first one no longer counts.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from libs.common.decision import Input, Refusal
from libs.common.years import years
from services.prescriptions.domain.chart import Chart
from services.prescriptions.domain.checks import (
    Acknowledgement,
    Checked,
    Checks,
    ClinicalChecks,
    Current,
    KnownAllergy,
    Medicine,
    Question,
)
from services.prescriptions.domain.documents import Order, PatientCare, Prescription, RenewalAccount
from services.prescriptions.domain.dosing import same_regimen
from services.prescriptions.domain.policy import RenewalPolicy
from services.prescriptions.domain.reasons import Reason


@dataclass(frozen=True, slots=True)
class ToCheck(Refusal):
    """Nothing else stands against the step: ``question`` is what has to be checked for it."""

    question: Question | None = None


def to_check(question: Question) -> ToCheck:
    return ToCheck(Reason.UNCHECKED, question=question)


def checked_with(input: Input) -> Checked | None:
    return input.data.checked if isinstance(input.data, Checks) else None


def acknowledgements(
    given: Mapping[str, str], checks: ClinicalChecks
) -> tuple[Acknowledgement, ...]:
    """Those that concern an alert of ``checks``."""
    alerts = sorted({a.id for a in checks.alerts()} & given.keys())
    return tuple(Acknowledgement(alert=id, reason=given[id]) for id in alerts)


def question_of(
    prescription_id: str,
    order: Order,
    days_supply: int | None,
    care: PatientCare,
    chart: Chart,
    accounts: Sequence[RenewalAccount],
    now: datetime,
    policy: RenewalPolicy,
) -> Question:
    """What to check if ``order`` is renewed now, for ``days_supply`` days."""
    conditions = {c.code.upper() for c in chart.conditions if c.is_present}
    conditions.update(code.upper() for code in order.diagnoses)
    present = sorted(
        (a for a in chart.allergies if a.is_present), key=lambda a: (a.code or "", a.id)
    )
    told = tuple(KnownAllergy(code=a.code, system=a.system, text=a.display) for a in present)
    return Question(
        patient_id=care.id,
        sex=care.gender,
        age=None if care.birth_date is None else years(care.birth_date, policy.day(now)),
        conditions=tuple(sorted(conditions)),
        allergies=told if chart.allergies else None,
        order=_medicine(order, days_supply),
        current=tuple(_current(prescription_id, order, chart, accounts, now, policy)),
    )


def _medicine(order: Order, days_supply: int | None) -> Medicine:
    return Medicine(
        **order.medication.model_dump(),
        dosage=order.dosage,
        quantity=order.quantity,
        days_supply=days_supply,
    )


#: Since when and for how many days; without a time it is being renewed right now.
Supply = tuple[datetime | None, int | None]


def _current(
    id: str,
    order: Order,
    chart: Chart,
    accounts: Sequence[RenewalAccount],
    now: datetime,
    policy: RenewalPolicy,
) -> Iterator[Current]:
    """The other medicines that the patient counts as taking, each once, by its newest order."""
    stopped = {p.id for p in chart.prescriptions if p.stopped_at and p.stopped_at <= now}
    supplies = _supplies(accounts, stopped)
    newest: dict[tuple[str, str], Order] = {}
    # ``order`` may say what a doctor makes of it.
    asked = next((p.order for p in chart.prescriptions if p.id == id and p.order), order)
    for p in chart.prescriptions:
        if p.order is None or p.id in stopped or p.id == id or _same_therapy(p, id, order, asked):
            continue
        medication = p.order.medication
        begun: list[Supply] = [(p.order.issued_at, p.order.days_supply)]
        if medication.ingredient_code != order.medication.ingredient_code:
            begun += supplies.get(medication.ingredient_code, [])
        if any(_lasts(at, days, now, policy) for at, days in begun):
            key = (medication.code, medication.ingredient_code)
            known = newest.get(key)
            if known is None or known.issued_at < p.order.issued_at:
                newest[key] = p.order
    replaced = {
        a.ingredient_code: r.effective_at for a in accounts for r in a.renewals if r.replaces
    }
    for (_, ingredient), other in sorted(newest.items()):
        told = _medicine(other, other.days_supply)
        if ingredient in replaced and replaced[ingredient] > other.issued_at:
            # Its dose is another one now; better that it is not known than the old one.
            told = told.model_copy(update={"strength": None, "quantity": None})
        yield Current(
            **dict(told), since=other.issued_at, supply_known=other.days_supply is not None
        )


def _supplies(accounts: Sequence[RenewalAccount], stopped: set[str]) -> dict[str, list[Supply]]:
    """What was renewed here, by ingredient."""
    found: dict[str, list[Supply]] = {}
    for account in accounts:
        renewed = found.setdefault(account.ingredient_code, [])
        renewed += [
            (r.effective_at, r.days_supply)
            for r in account.renewals
            if r.prescription_id not in stopped
        ]
        renewed += [(None, None) for _ in account.open]
    return found


def _lasts(at: datetime | None, days: int | None, now: datetime, policy: RenewalPolicy) -> bool:
    """Whether a supply of ``days`` from ``at`` on is still taken; one that nobody knows is."""
    if at is None or days is None:
        return True
    since = (policy.day(now) - policy.day(at)).days
    return since < days + policy.rules.clinical_checks.parameters.grace_days


def _same_therapy(p: Prescription, id: str, order: Order, asked: Order) -> bool:
    """Whether ``p`` is what is renewed, as it was prescribed before or again: by the same
    department, or as the one that follows from the other. What has since been prescribed with
    another dosing than what was ``asked`` for is not: the patient would take both."""
    other = p.order
    if other is None or other.medication.ingredient_code != order.medication.ingredient_code:
        return False
    later = other.issued_at > asked.issued_at and other.refill_id is None
    if later and not same_regimen(other, asked):
        return False
    same = other.department.code == order.department.code
    return same or other.based_on == id or order.based_on == p.id
