"""Does one answer hold all that doctor and pharmacist need to decide?"""

from __future__ import annotations

import itertools
from datetime import date, datetime, timedelta
from typing import Any

import pytest

from libs.common.events import (
    AllergyRecorded,
    ClinicalStatus,
    ReportKind,
    ResultRecalled,
    ResultReleased,
)
from services.prescriptions.domain.accounts import account, account_id
from services.prescriptions.domain.around import (
    EARLIER_FIELDS,
    Around,
    StaffRefillView,
    looked_at,
    since,
    staff_view,
)
from services.prescriptions.domain.chart import Chart
from services.prescriptions.domain.documents import (
    PatientCare,
    Prescription,
    Refill,
    RenewalAccount,
)
from services.prescriptions.domain.facts import Verdict
from services.prescriptions.domain.fulfilment import Fulfilment
from services.prescriptions.domain.health import Allergy, Condition, Stay
from services.prescriptions.domain.results import Result, result_id
from services.prescriptions.domain.views import Reader
from tests.unit.prescriptions.given import (
    DAY,
    HOUR,
    NOW,
    Hospital,
    hospital,
    policies,
    prescription,
    stopped,
    visit,
)
from tests.unit.prescriptions.test_stable import condition


def released(at: datetime, id: str = "r1", patient: str = "p1", **more: Any) -> ResultReleased:
    fields = {"version": 1, "kind": ReportKind.LABORATORY, "code": "24323-8", **more}
    return ResultReleased(report_id=id, patient_id=patient, released_at=at, **fields)


def recalled(at: datetime, id: str = "r1", patient: str = "p1", version: int = 1) -> ResultRecalled:
    return ResultRecalled(
        report_id=id, patient_id=patient, version=version, recalled_at=at, reason="withdrawn"
    )


def seen(case: Hospital, id: str) -> StaffRefillView:
    """What a doctor sees, of all that the case holds."""
    refill, care = case.refill(id), case.doc(PatientCare, "p1")
    assert care is not None
    accounts = case.docs(RenewalAccount)
    by_id = {a.id: a for a in accounts}
    others = sorted(case.docs(Refill), key=lambda r: r.requested_at, reverse=True)
    around = Around(
        care=care,
        requester=frozenset({refill.requested_by}),
        account=account(care, refill.ingredient_code, by_id.get)[0],
        accounts=accounts,
        chart=Chart(
            case.docs(Prescription),
            case.docs(Condition),
            case.docs(Allergy),
            case.docs(Stay),
            case.docs(Fulfilment),
        ),
        earlier=[r.model_dump(include=set(EARLIER_FIELDS)) for r in others if r.id != id],
        results=sorted(case.docs(Result), key=lambda r: r.id),
    )
    policy = policies().at(case.now)
    return staff_view(refill, around, case.now, policy, Reader(policies(), "en", "staff", case.now))


def result(case: Hospital, id: str = "r1", patient: str = "p1") -> Result:
    found = case.doc(Result, result_id(released(NOW, id, patient)))
    assert found is not None
    return found


# -- results ------------------------------------------------------------------------------


def test_a_result_stands_alike_in_whatever_order_its_facts_come_and_twice() -> None:
    facts = [
        released(NOW - 3 * HOUR),
        recalled(NOW - 2 * HOUR),
        released(NOW - HOUR, version=2, corrected=True),
    ]
    left = set()
    for order in itertools.permutations([*facts, facts[0], facts[1]]):
        case = hospital()
        for fact in order:
            case.event(fact)
        found = result(case)
        left.add((found.report_version, found.corrected, found.is_recalled, found.released_at))
    assert left == {(2, True, False, NOW - HOUR)}


@pytest.mark.parametrize("first", ["released", "recalled"])
def test_what_was_recalled_last_is_shown_as_recalled(first: str) -> None:
    facts = [released(NOW - 2 * HOUR), recalled(NOW - HOUR)]
    case = hospital()
    for fact in facts if first == "released" else reversed(facts):
        case.event(fact)
    id = case.asked()
    [shown] = seen(case, id).results
    assert (shown.report_id, shown.recalled, shown.path) == ("r1", True, "/v1/reports/r1")


def test_a_recall_alone_shows_nothing() -> None:
    case = hospital()
    case.event(recalled(NOW - HOUR))
    assert seen(case, case.asked()).results == ()


def test_a_report_that_turned_out_to_be_anothers_is_recalled_here_and_stands_there() -> None:
    case = hospital()
    for fact in (
        released(NOW - HOUR, patient="p2"),
        recalled(NOW - HOUR, patient="p1"),
        released(NOW - 2 * HOUR, patient="p1"),
    ):
        case.event(fact)
    assert result(case, patient="p1").is_recalled
    assert not result(case, patient="p2").is_recalled


# -- what stands beside a renewal ---------------------------------------------------------


def test_the_earlier_renewals_come_with_their_numbers_and_what_is_left() -> None:
    case = hospital()
    first = case.renewed()
    case.advance(DAY)
    second = case.renewed()
    case.advance(DAY)
    third = case.asked()
    view = seen(case, third)
    assert [(e.id, e.number, e.status) for e in view.earlier] == [
        (second.id, 2, "effective"),
        (first.id, 1, "effective"),
    ]
    assert (view.number, view.renewals_used, view.renewals_left) == (3, 2, 1)
    assert view.last_visit is not None
    assert (view.last_visit.department_code, view.last_visit.occurred_at) == (
        "cardiology",
        NOW - 30 * DAY,
    )
    case.event(visit(case.now - HOUR, "v2"))  # told while it waits
    view = seen(case, third)
    assert (view.renewals_used, view.renewals_left) == (0, 3)


def test_what_rules_would_say_now_is_shown_while_it_is_under_way() -> None:
    case = hospital()
    id = case.asked()
    said = {c.rule: c.verdict for c in seen(case, id).checks}
    assert said["stable_condition"] is Verdict.NOT_CHECKED
    assert said["allergy"] is Verdict.NOT_CHECKED
    case.event(stopped(case.now))
    assert seen(case, id).checks == ()  # it is over


def test_present_conditions_and_allergies_are_shown_and_nothing_told_is_not_nothing_there() -> None:
    case = hospital()
    id = case.asked()
    view = seen(case, id)
    assert (view.conditions, view.allergies) == (None, None)
    case.event(condition(NOW - 40 * DAY, "c1", "I10", display="hypertension"))
    case.event(
        condition(NOW - 40 * DAY, "c2", "J20", clinical_status=ClinicalStatus.RESOLVED),
    )
    case.event(
        AllergyRecorded(
            allergy_id="a1", patient_id="p1", display="penicillin", recorded_at=NOW - DAY
        )
    )
    view = seen(case, id)
    assert view.conditions is not None and view.allergies is not None
    assert [(c.code, c.display) for c in view.conditions] == [("I10", "hypertension")]
    assert [a.display for a in view.allergies] == ["penicillin"]
    assert looked_at(view)["Condition"] == ["c1"]


def test_other_medicines_in_use_are_the_newest_of_each_ingredient_and_none_that_was_stopped() -> (
    None
):
    case = hospital()
    ago = timedelta(days=20)
    for id, ingredient, at in (
        ("old", "metformin", NOW - 60 * DAY),
        ("new", "metformin", NOW - ago),
        ("gone", "atorvastatin", NOW - ago),
        ("long", "aspirin", NOW - 200 * DAY),
    ):
        case.event(prescription(id, at=at, ingredient=ingredient, days_supply=28))
    case.event(stopped(NOW - 31 * DAY, "gone"))
    view = seen(case, case.asked())
    # 10 February with 28 days: the last tablet is taken on 9 March.
    assert [(m.prescription_id, m.lasts_until) for m in view.medicines] == [
        ("new", date(2026, 3, 9))
    ]
    assert view.since == date(2025, 8, 31)
    assert since(NOW, policies().at(NOW)) == datetime(2025, 8, 30, 16, tzinfo=NOW.tzinfo)


def test_of_what_is_renewed_another_dosing_that_was_prescribed_since_stands_among_them() -> None:
    case = hospital()
    id = case.asked()
    case.event(prescription("again", at=NOW - 2 * HOUR))
    assert seen(case, id).medicines == ()
    case.event(prescription("other", at=NOW - HOUR, dosage="two tablets in the morning"))
    [newer] = seen(case, id).medicines
    assert (newer.prescription_id, newer.dosage) == ("other", "two tablets in the morning")


def test_a_medicine_that_is_renewed_lasts_longer() -> None:
    case = hospital()
    more: dict[str, Any] = {"ingredient": "metformin", "days_supply": 28, "diagnoses": ("E11",)}
    case.event(prescription("m1", at=NOW - 30 * DAY, **more))
    case.renewed("m1")
    view = seen(case, case.asked())
    [metformin] = view.medicines
    assert metformin.lasts_until == date(2026, 3, 29)
    assert account_id("p1", "metformin") in {a.id for a in case.docs(RenewalAccount)}
