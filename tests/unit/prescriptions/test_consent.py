"""Who signs for a long supply, over which text, and does the doctor need it?"""

from __future__ import annotations

from datetime import date
from typing import Any
from zoneinfo import ZoneInfo

import pytest

from libs.common.decision import Actor, Common
from services.prescriptions.domain.policy import RenewalPolicies
from services.prescriptions.domain.reasons import Reason
from services.prescriptions.domain.renewable import Declared
from tests.unit.prescriptions.answering import asked, tablets, view
from tests.unit.prescriptions.given import (
    DAUGHTER,
    DOCTOR,
    HOUR,
    STRANGER,
    linked,
    merged,
    policies,
    reason,
)
from tests.unit.prescriptions.test_policy import eighteen, file


def test_what_the_patient_signed_is_kept_word_for_word_and_seen_by_the_doctor() -> None:
    case, id = asked()
    case.advance(HOUR)
    assert reason(case.consent(id)) is None
    [signed] = case.refill(id).consents
    shown = Declared.of(policies().at(case.now)).long_supply
    assert signed.text == shown.text["zh-CN"] and "28 天" in signed.text
    assert (signed.person_id, signed.role, signed.at) == ("p1", "patient", case.now)
    assert signed.policy == "renewal-2026-01-01"
    [seen] = view(case.refill(id), "staff").consents
    assert (seen.text, seen.person_id) == (signed.text, "p1")
    case.consent(id, language="en")  # again: the last one is kept
    [signed] = case.refill(id).consents
    assert signed.text == shown.text["en"]


@pytest.mark.parametrize(
    ("consents", "on_paper", "expected"),
    [
        (True, None, None),
        (False, "form-1", None),
        (True, "form-1", None),
        (False, None, Reason.LONG_SUPPLY_CONDITIONS),
    ],
)
@pytest.mark.parametrize("decision", ["approve", "change"])
def test_more_than_four_weeks_need_the_patients_signature_here_or_on_paper(
    consents: bool, on_paper: str | None, expected: Reason | None, decision: str
) -> None:
    case, id = asked(days=28 if decision == "change" else 29)
    if consents:
        case.consent(id)
    quantity = tablets(29) if decision == "change" else None
    answer = case.doctor(id, decision, quantity=quantity, assessed=True, comment="stable",
                         patient_signature=on_paper)  # fmt: skip
    assert reason(answer) == expected


@pytest.mark.parametrize("lacks", ["assessed", "comment"])
def test_a_signature_alone_is_not_enough(lacks: str) -> None:
    case, id = asked(days=29)
    case.consent(id)
    met: dict[str, Any] = {"assessed": True, "comment": "stable"}
    del met[lacks]
    assert reason(case.doctor(id, "approve", **met)) == Reason.LONG_SUPPLY_CONDITIONS


def test_a_guardian_signs_and_for_others_it_does_not_exist() -> None:
    case, id = asked()
    assert reason(case.consent(id, DAUGHTER)) == Common.NOT_FOUND
    case.event(linked())
    assert reason(case.consent(id, DAUGHTER)) is None
    assert case.refill(id).consents[0].role == "guardian"
    for by in (STRANGER, DOCTOR):
        assert reason(case.consent(id, by)) == Common.NOT_FOUND
    assert reason(case.consent("unknown")) == Common.NOT_FOUND


def test_the_patient_signs_under_either_record_after_a_merge() -> None:
    case, id = asked()
    case.event(merged("p1", "p2"))
    assert reason(case.consent(id, Actor("p2", frozenset({"patient"})))) is None
    assert case.refill(id).consents[0].role == "patient"


def test_it_is_signed_only_while_it_lies_with_a_doctor() -> None:
    case, id = asked()
    case.doctor(id, "approve")
    assert reason(case.consent(id)) == Common.WRONG_STATUS
    case.pharmacist(id, "return")
    assert reason(case.consent(id)) is None
    case.now += 49 * HOUR
    assert reason(case.consent(id)) == Reason.DEADLINE_PASSED


def test_a_text_that_is_no_longer_in_force_is_not_signed() -> None:
    case, id = asked()
    second = file() | {"version": "next", "in_force_from": date(2026, 3, 2)}
    case.policy = RenewalPolicies([file(), second], ZoneInfo("Asia/Shanghai"), eighteen)
    assert reason(case.consent(id, policy="renewal-2026-01-01")) == Reason.CONSENT_OUTDATED
    assert reason(case.consent(id, policy="next")) is None


def test_a_doctor_who_has_not_read_it_decides_nothing() -> None:
    case, id = asked()
    version = case.refill(id).version
    case.consent(id)
    assert reason(case.doctor(id, "approve", if_match=version)) == Common.CHANGED


def test_what_was_signed_stays_when_it_is_returned() -> None:
    case, id = asked(days=29)
    case.consent(id)
    for _ in range(2):
        answer = case.doctor(id, "approve", assessed=True, comment="stable", valid_days=3)
        assert reason(answer) is None
        case.pharmacist(id, "return")
    assert len(case.refill(id).consents) == 1
