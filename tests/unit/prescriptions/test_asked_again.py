"""Does what was asked for still hold when somebody decides, by the rules and records of then?"""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta
from typing import Any

import pytest

from libs.common.decision import Actor
from libs.common.events import LinkScope
from services.prescriptions.domain.policy import RenewalPolicies
from services.prescriptions.domain.reasons import Reason
from services.prescriptions.domain.transitions import Status
from tests.unit.prescriptions.given import (
    DAUGHTER,
    DAY,
    HOUR,
    NOW,
    PATIENT,
    Hospital,
    hospital,
    linked,
    merged,
    prescription,
    reason,
    registered,
    unlinked,
)
from tests.unit.prescriptions.test_around import seen
from tests.unit.prescriptions.test_policy import SHANGHAI, eighteen, file

#: The first moment of 2026-03-03 in the hospital's time zone.
MIDNIGHT = datetime(2026, 3, 2, 16, 0, tzinfo=UTC)
MINUTE = timedelta(minutes=1)
STAGES = pytest.mark.parametrize("stage", ["approve", "pass"])


def decided(case: Hospital, id: str, stage: str) -> str | None:
    """The doctor's or the pharmacist's answer now."""
    return reason(case.doctor(id, "approve") if stage == "approve" else case.pharmacist(id, "pass"))


def before(case: Hospital, stage: str, by: Actor = PATIENT) -> str:
    """A renewal that waits for ``stage``."""
    id = case.asked(by=by)
    if stage == "pass":
        assert reason(case.doctor(id, "approve", valid_days=2)) is None
    return id


# -- another version of the rules ---------------------------------------------------------


def psychotropic(rules: Any) -> None:
    rules["never_classes"]["parameters"]["classes"]["psychotropic"]["atc"].append("C08C")


def off_the_list(rules: Any) -> None:
    rules["restricted_list"]["parameters"]["conditions"]["hypertension"]["atc"].remove("C08")


@STAGES
@pytest.mark.parametrize("late", [False, True])
@pytest.mark.parametrize(
    ("changed", "expected"),
    [(psychotropic, Reason.NEVER_CLASS), (off_the_list, Reason.NOT_ON_LIST)],
)
def test_a_medicine_that_may_no_longer_be_renewed_is_decided_on_by_the_version_of_the_day(
    stage: str, late: bool, changed: Callable[[Any], None], expected: Reason
) -> None:
    tomorrow = {**file(), "version": "tomorrow", "in_force_from": date(2026, 3, 3)}
    changed(tomorrow["rules"])
    case = hospital(now=MIDNIGHT - 10 * MINUTE)
    case.policy = RenewalPolicies([file(), tomorrow], SHANGHAI, eighteen)
    id = before(case, stage)
    case.now = MIDNIGHT if late else MIDNIGHT - timedelta(milliseconds=1)
    assert decided(case, id, stage) == (expected if late else None)
    refill = case.refill(id)
    if late:
        assert (refill.status, refill.reason) == (Status.REFUSED, expected)
        assert refill.history[-1].policy == "tomorrow"
        assert case.account().open == ()
    else:
        assert refill.status is not Status.REFUSED


# -- what the hospital tells otherwise ----------------------------------------------------


@STAGES
def test_what_turns_out_to_be_anothers_prescription_is_closed(stage: str) -> None:
    case = hospital()
    id = before(case, stage)
    case.event(prescription(authored_here=False))
    assert decided(case, id, stage) == Reason.OTHER_HOSPITAL
    assert case.refill(id).status is Status.REFUSED


@pytest.mark.parametrize(
    ("born", "expected"), [(date(2020, 3, 2), None), (date(2020, 3, 3), Reason.CHILD_TOO_YOUNG)]
)
def test_a_child_whose_date_of_birth_is_corrected_after_the_approval_is_not_passed(
    born: date, expected: Reason | None
) -> None:
    case = hospital()
    case.event(linked())
    id = before(case, "pass", DAUGHTER)
    case.event(registered(born=born))
    assert decided(case, id, "pass") == expected
    if expected is not None:
        assert case.refill(id).status is Status.WAITING_PHARMACIST  # it goes back, or ends
        assert reason(case.pharmacist(id, "return")) is None


@STAGES
@pytest.mark.parametrize(
    ("born", "expected"), [(date(2008, 3, 2), None), (date(2008, 3, 3), Reason.GUARDIAN_NEEDED)]
)
def test_who_asked_for_oneself_and_is_a_minor_after_all_needs_a_guardian(
    stage: str, born: date, expected: Reason | None
) -> None:
    case = hospital()
    id = before(case, stage)
    case.event(registered(born=born))
    assert decided(case, id, stage) == expected
    assert (case.refill(id).status is Status.REFUSED) is (expected is not None)


# -- who asked ----------------------------------------------------------------------------


@STAGES
def test_a_request_of_who_may_no_longer_act_is_closed_and_the_patient_hears(stage: str) -> None:
    case = hospital()
    case.event(linked())
    id = before(case, stage, DAUGHTER)
    case.event(unlinked(case.now))
    [check] = [c for c in seen(case, id).checks if c.rule == "requester"]
    assert check.verdict == "refused"
    case.told()
    assert decided(case, id, stage) == Reason.REQUESTER_MAY_NOT_ACT
    assert case.told() == [("p1", "refill.refused")]
    assert case.refill(id).status is Status.REFUSED
    assert reason(case.ask()) is None  # the place is free


@STAGES
@pytest.mark.parametrize(
    ("facts", "expected"),
    [
        ([], None),
        ([unlinked(NOW), linked(linked_at=NOW + HOUR)], None),  # again
        ([linked(linked_at=NOW, scope=[LinkScope.RECORDS])], Reason.REQUESTER_MAY_NOT_ACT),
        ([linked(linked_at=NOW, valid_until=NOW + HOUR)], Reason.REQUESTER_MAY_NOT_ACT),
        ([linked(linked_at=NOW, valid_until=NOW + HOUR + MINUTE)], None),
        ([unlinked(NOW, person="p6")], None),
        ([merged("p5", "p6")], None),  # one person under another number
        ([merged("p5", "p6"), unlinked(NOW, person="p6")], Reason.REQUESTER_MAY_NOT_ACT),
        ([merged("p5", "p1")], None),  # it was the patient
    ],
)
def test_who_asked_may_act_as_long_as_a_link_says_so(
    stage: str, facts: list[Any], expected: Reason | None
) -> None:
    case = hospital()
    case.event(linked())
    id = before(case, stage, DAUGHTER)
    case.now = NOW + HOUR
    for fact in facts:
        case.event(fact)
    assert decided(case, id, stage) == expected


def test_a_no_may_be_said_to_whom_asked_whatever_became_of_them() -> None:
    case = hospital()
    case.event(linked())
    id = before(case, "approve", DAUGHTER)
    case.event(unlinked(NOW))
    assert reason(case.doctor(id, "decline")) is None


def test_what_took_effect_stays_when_who_asked_may_act_no_more() -> None:
    case = hospital()
    case.event(linked())
    refill = case.renewed(by=DAUGHTER)
    case.event(unlinked(NOW + DAY), time=NOW)
    assert case.refill(refill.id).status is Status.EFFECTIVE
