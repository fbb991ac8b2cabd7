"""What does staff see beside a renewal, so that one answer holds all that a decision needs?

How often the ingredient was renewed before, what the rules would say today, what is
present, what else is taken, when the patient was last seen, and which results there are.
A result is named and not shown: what was found is read at the reports service, by who may.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from typing import Any

from pydantic import Field

from libs.common.events import Criticality, Department, Medication, ReportKind, VerificationStatus
from services.prescriptions.domain.accounts import account, codes_of, last_visit, left, used
from services.prescriptions.domain.chart import Chart, gather, original_of
from services.prescriptions.domain.documents import (
    PatientCare,
    Refill,
    RenewalAccount,
)
from services.prescriptions.domain.dosing import same_regimen
from services.prescriptions.domain.health import Recorded
from services.prescriptions.domain.persons import is_patient, may_act
from services.prescriptions.domain.policy import RenewalPolicy
from services.prescriptions.domain.receipt import View
from services.prescriptions.domain.results import Result
from services.prescriptions.domain.rules import LASTING, evaluate
from services.prescriptions.domain.supply import supplied, taken_beside
from services.prescriptions.domain.transitions import Status
from services.prescriptions.domain.views import (
    OutcomeView,
    Reader,
    RefillView,
    outcome_view,
    refill_view,
)


@dataclass(frozen=True, slots=True)
class Around:
    """What the store holds around one renewal."""

    care: PatientCare
    #: All ids of who asked for it.
    requester: frozenset[str]
    account: RenewalAccount
    #: Of all of the patient's ingredients.
    accounts: Sequence[RenewalAccount]
    chart: Chart
    earlier: Sequence[Mapping[str, Any]]
    results: Sequence[Result]


class EarlierRenewal(View):
    """Another renewal of the same ingredient, whichever prescription it was of."""

    id: str
    prescription_id: str
    status: Status
    reason: str | None
    number: int | None
    requested_at: datetime
    effective_at: datetime | None
    days_supply: int | None
    doctor_id: str | None
    pharmacist_id: str | None
    new_prescription_id: str | None


#: What is read of it.
EARLIER_FIELDS = tuple(EarlierRenewal.model_fields)


class ConditionView(View):
    id: str
    code: str
    display: str | None
    first_recorded_at: datetime
    recorded_at: datetime


class AllergyView(View):
    id: str
    code: str | None
    system: str | None
    display: str
    criticality: Criticality | None
    verification_status: VerificationStatus
    recorded_at: datetime


class MedicineView(View):
    """Another medicine, or what is renewed with another dosing, prescribed since or to be taken
    beside it: the newest prescription of its ingredient, as long as it may be in use."""

    prescription_id: str
    medication: Medication
    dosage: str
    days_supply: int | None
    issued_at: datetime
    department: Department
    prescriber_id: str
    lasts_until: date | None = Field(
        description="The last day of its supply, renewals counted. Null: nobody told."
    )


class ResultView(View):
    """A result that the patient may see. What was found stands in the report."""

    report_id: str
    kind: ReportKind
    code: str = Field(description="LOINC code of the report.")
    version: int
    released_at: datetime
    corrected: bool
    recalled: bool = Field(description="It was taken back; do not rely on it.")
    path: str = Field(description="Where the reports service has it, for those who may read it.")


class VisitView(View):
    visit_id: str
    department_code: str
    occurred_at: datetime


class StaffRefillView(RefillView):
    """One renewal with all that a doctor or pharmacist looks at to decide on it."""

    renewals_used: int = Field(description="Of the ingredient, since the last visit in person.")
    renewals_left: int = Field(description="Until the next visit; this one not counted.")
    last_visit: VisitView | None = Field(
        description="The last visit in person to the treating department. Null: none was told."
    )
    checks: tuple[OutcomeView, ...] = Field(
        description="While it is under way, what the rules that must hold to the end say now;"
        " `history` has what all of them said at each step."
    )
    earlier: tuple[EarlierRenewal, ...] = Field(description="The newest first, at most 20.")
    conditions: tuple[ConditionView, ...] | None = Field(
        description="Those present. Null: none was ever told, which is not that there are none."
    )
    allergies: tuple[AllergyView, ...] | None = Field(
        description="Those present. Null: none was ever told, which is not that there are none."
    )
    medicines: tuple[MedicineView, ...] = Field(
        description="Others that may be in use, the newest first: prescribed here, not stopped."
    )
    results: tuple[ResultView, ...] = Field(description="The newest first, at most 50.")
    since: date = Field(description="How far `medicines` and `results` go back.")


def since(now: datetime, policy: RenewalPolicy) -> datetime:
    """The first moment that is looked back to: as far back as a prescription may be renewed."""
    return policy.end_of(policy.day(now) - timedelta(days=policy.rules.window.parameters.days + 1))


def staff_view(
    refill: Refill, around: Around, now: datetime, policy: RenewalPolicy, reader: Reader
) -> StaffRefillView:
    chart, care, account = around.chart, around.care, around.account
    original = next((p for p in chart.prescriptions if p.id == refill.prescription_id), None)
    facts = gather(
        original_of(refill, original, care, now),  # as it is decided on
        refill.order,
        care,
        account,
        chart,
        now=now,
        policy=policy,
        oneself=is_patient(care, around.requester),
        requester_acts=may_act(care, around.requester, now, policy),
    )
    count = used(account, care, refill.department_code)
    others = len([id for id in account.open if id != refill.id])
    limit = policy.rules.limit.parameters.renewals
    more = left(account, care, refill.department_code, limit)
    begin = since(now, policy)
    return StaffRefillView.model_validate(
        {
            **refill_view(refill, reader).model_dump(),
            "renewals_used": count,
            "renewals_left": max(0, more - others),
            "last_visit": last_visit(care, refill.department_code),
            "checks": [
                outcome_view(outcome, policy, reader)
                for outcome in evaluate(facts, policy, now, LASTING)
                if refill.stage is not None
            ],
            "earlier": [EarlierRenewal.model_validate(row) for row in around.earlier],
            "conditions": _present(chart.conditions),
            "allergies": _present(chart.allergies),
            "medicines": list(_medicines(refill, around, begin, now, policy)),
            "results": [_result(r) for r in around.results if r.released_at is not None],
            "since": policy.day(begin),
        }
    )


def _present(recorded: Sequence[Recorded]) -> Sequence[Recorded] | None:
    if not recorded:
        return None
    return sorted((r for r in recorded if r.is_present), key=lambda r: (r.recorded_at, r.id))


def _medicines(
    refill: Refill, around: Around, begin: datetime, now: datetime, policy: RenewalPolicy
) -> Iterator[MedicineView]:
    care, chart, accounts = around.care, around.chart, {a.id: a for a in around.accounts}
    renewed = codes_of(care, refill.ingredient_code)
    together = taken_beside(
        refill.prescription_id, refill.order, renewed, around.account, chart.orders, policy
    )
    seen = set()

    told = [(p, p.order) for p in chart.prescriptions if p.order is not None]
    for p, order in sorted(told, key=lambda each: (each[1].issued_at, each[0].id), reverse=True):
        stopped = p.stopped_at is not None and p.stopped_at <= now
        if stopped or order.issued_at < begin:
            continue
        ingredient = order.medication.ingredient_code
        if ingredient in seen and p.id not in together:
            continue
        seen.add(ingredient)
        if ingredient == refill.ingredient_code and same_regimen(order, refill.order):
            continue  # what is renewed, or the same again
        own, _ = account(care, ingredient, accounts.get)
        codes = codes_of(care, ingredient)
        last = supplied(p.id, order, codes, own, chart.orders, chart.fulfilments, policy)
        until = None
        if last is not None and last.days is not None:
            until = policy.day(last.at) + timedelta(days=last.days - 1)
        yield MedicineView(
            prescription_id=p.id,
            medication=order.medication,
            dosage=order.dosage,
            days_supply=order.days_supply,
            issued_at=order.issued_at,
            department=order.department,
            prescriber_id=order.prescriber_id,
            lasts_until=until,
        )


def _result(result: Result) -> ResultView:
    return ResultView.model_validate(
        {
            **result.model_dump(),
            "version": result.report_version,
            "recalled": result.is_recalled,
            "path": f"/v1/reports/{result.report_id}",
        }
    )


def looked_at(view: StaffRefillView) -> Mapping[str, Sequence[str]]:
    """What is shown beside the renewal itself, by FHIR type, as its read is recorded."""
    return {
        "MedicationRequest": [
            *(e.id for e in view.earlier),
            *(m.prescription_id for m in view.medicines),
        ],
        "Condition": [c.id for c in view.conditions or ()],
        "AllergyIntolerance": [a.id for a in view.allergies or ()],
        "DiagnosticReport": [r.report_id for r in view.results],
    }
