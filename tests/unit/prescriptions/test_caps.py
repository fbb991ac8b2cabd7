"""May a doctor allow fewer renewals, and does everybody count them?"""

from __future__ import annotations

import pytest

from libs.common.decision import Actor, Decision, Refusal
from libs.common.events import (
    RefillEffective,
)
from services.prescriptions.domain.accounts import account
from services.prescriptions.domain.chart import Chart
from services.prescriptions.domain.documents import (
    PatientCare,
    Prescription,
    Refill,
    RenewalAccount,
)
from services.prescriptions.domain.facts import Facts, Renewed, still_allowed
from services.prescriptions.domain.reasons import Reason
from services.prescriptions.domain.renewable import renewable
from services.prescriptions.domain.transitions import Status
from tests.unit.prescriptions.given import (
    DAY,
    HOUR,
    NOW,
    Hospital,
    hospital,
    merged,
    policies,
    prescription,
    reason,
    visit,
)

P2 = Actor("p2", frozenset({"patient"}))


def capped(case: Hospital, refills: int) -> Refill:
    id = case.asked()
    case.doctor(id, "change", refills_allowed=refills)
    case.pharmacist(id, "pass")
    return case.refill(id)


@pytest.mark.parametrize(("refills", "expected"), [(0, None), (2, None), (3, "most")])
def test_a_doctor_may_only_allow_fewer_renewals_than_the_rules(
    refills: int, expected: str | None
) -> None:
    case = hospital()
    id = case.asked()
    answer = case.doctor(id, "change", refills_allowed=refills)
    if expected is None:
        assert isinstance(answer, Decision)
        assert answer.result["remaining"] == refills
        return
    assert isinstance(answer, Refusal)
    assert (answer.reason, answer.extra["most"]) == (Reason.REFILLS_TOO_MANY, 2)


def renewals_left(case: Hospital) -> int:
    care, rx = case.doc(PatientCare, "p1"), case.doc(Prescription, "rx1")
    assert care is not None and rx is not None
    own, _ = account(care, "amlodipine", lambda id: case.doc(RenewalAccount, id))
    line = renewable(
        rx, care, {"amlodipine": own}, Chart([rx], [], [], []), case.now, policies().at(case.now),
        oneself=True, language="en",
    )  # fmt: skip
    assert line.renewable == (line.renewals_left > 0)
    return line.renewals_left


def test_after_a_renewal_with_a_cap_no_more_follow_until_the_next_visit() -> None:
    case = hospital()
    assert renewals_left(case) == 3
    assert (capped(case, 1).number, case.events(RefillEffective)[-1].remaining) == (1, 1)
    assert renewals_left(case) == 1
    id = case.asked()
    assert case.refill(id).remaining == 0
    case.doctor(id, "approve")
    case.pharmacist(id, "pass")
    assert (case.refill(id).number, case.refill(id).remaining) == (2, 0)
    assert renewals_left(case) == 0
    answer = case.ask()
    assert reason(answer) == Reason.RENEWAL_LIMIT_REACHED
    assert isinstance(answer, Refusal)
    outcomes = case.refill(answer.extra["refill_id"]).history[-1].outcomes
    [outcome] = [o for o in outcomes if o.rule == "limit"]
    assert outcome.figures == {"used": 2, "left": 0}
    case.advance(HOUR)
    case.event(visit(case.now, "v2"))
    assert renewals_left(case) == 3
    assert case.renewed().remaining == 2


def test_a_later_cap_can_not_loosen_an_earlier_one() -> None:
    case = hospital()
    capped(case, 1)
    id = case.asked()
    answer = case.doctor(id, "change", refills_allowed=1)
    assert isinstance(answer, Refusal)
    assert (answer.reason, answer.extra["most"]) == (Reason.REFILLS_TOO_MANY, 0)
    assert reason(case.doctor(id, "change", refills_allowed=0)) is None


def test_a_cap_of_nought_ends_the_renewals() -> None:
    case = hospital()
    assert capped(case, 0).remaining == 0
    assert reason(case.ask()) == Reason.RENEWAL_LIMIT_REACHED


def test_a_late_visit_lifts_a_cap_that_it_follows_and_no_other() -> None:
    case = hospital()
    capped(case, 0)
    case.event(visit(NOW - DAY, "before"))
    assert reason(case.ask()) == Reason.RENEWAL_LIMIT_REACHED
    case.advance(DAY)
    case.event(visit(NOW + HOUR, "after"))
    assert reason(case.ask()) is None


def test_a_cap_counts_what_a_merged_record_renewed_after_it() -> None:
    case = hospital()
    case.event(prescription("rx2", patient_id="p2"))
    capped(case, 1)
    case.advance(HOUR)
    case.renewed("rx2", "p2", P2)
    case.event(merged("p2", "p1"))
    assert reason(case.ask()) == Reason.RENEWAL_LIMIT_REACHED


def test_who_is_capped_while_a_request_is_open_is_refused_at_the_next_step() -> None:
    case = hospital()
    case.event(prescription("rx2", patient_id="p2"))
    other = case.asked("rx2", "p2", P2)
    capped(case, 0)
    case.event(merged("p2", "p1"))
    assert reason(case.doctor(other, "approve")) == Reason.RENEWAL_LIMIT_REACHED
    assert case.refill(other).status is Status.REFUSED


@pytest.mark.parametrize(
    ("caps", "left"),
    [
        ([], 3),
        ([None], 2),
        ([0], 0),
        ([1], 1),
        ([2], 2),
        ([9], 2),
        ([1, None], 0),
        ([None, 1], 1),
        ([2, 0], 0),
        ([0, None], 0),  # more than was allowed, after a merge
        ([None, None, None, None], 0),
    ],
)
def test_what_is_left_is_the_least_that_limit_and_caps_allow(
    caps: list[int | None], left: int
) -> None:
    counted = [Renewed(at=NOW + n * DAY, refills_allowed=c) for n, c in enumerate(caps)]
    assert still_allowed(counted, 3) == left


def test_facts_that_were_kept_before_caps_were_known_are_read() -> None:
    case = hospital()
    case.renewed()
    facts = case.refill(case.asked()).facts
    assert facts is not None
    kept = facts.model_dump(mode="json")
    kept["renewals"] = [r["at"] for r in kept["renewals"]]
    assert Facts.model_validate(kept) == facts
