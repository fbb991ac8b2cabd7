"""Which requests would another version have answered otherwise?"""

from __future__ import annotations

from typing import Any

import pytest

from services.prescriptions.domain.documents import Refill
from services.prescriptions.domain.policy import RenewalPolicies, RenewalPolicy
from services.prescriptions.domain.replay import Difference, differences
from tests.unit.prescriptions.given import DAY, NOW, Hospital, hospital, policies, prescription
from tests.unit.prescriptions.test_policy import SHANGHAI, eighteen, file


def another(rule: str, **parameters: Any) -> RenewalPolicy:
    changed = file() | {"version": "another"}
    changed["rules"][rule]["parameters"] |= parameters
    return RenewalPolicies([changed], SHANGHAI, eighteen).versions[0]


def test_the_same_rules_answer_every_request_as_they_did() -> None:
    case = hospital()
    for _ in range(4):
        case.ask()
    case.event(prescription("rx2", at=NOW - 184 * DAY, ingredient="other"))
    case.ask("rx2")
    case.ask(declaration={"no_new_symptoms": "no", "taken_as_prescribed": "yes",
                          "no_side_effects": "yes"})  # fmt: skip
    assert len(case.docs(Refill)) == 6
    assert list(differences(case.docs(Refill), policies().at(NOW))) == []


def test_a_shorter_window_refuses_what_was_accepted_and_a_longer_one_accepts() -> None:
    case = Hospital()
    for n, days in enumerate((90, 91, 184)):
        case.event(prescription(f"rx{n}", at=NOW - days * DAY, ingredient=f"i{n}"))
        case.ask(f"rx{n}")
    by_days = {r.order.issued_at: r.id for r in case.docs(Refill)}
    id = by_days[NOW - 91 * DAY]
    [shorter] = differences(case.docs(Refill), another("window", days=90))
    assert shorter == Difference(id, "renewal-2026-01-01", "accepted", "too_old", {"days": 91})
    [longer] = differences(case.docs(Refill), another("window", days=184))
    assert (longer.was, longer.would_be) == ("too_old", "accepted")


def test_a_lower_limit_is_counted_as_it_was_then() -> None:
    case = hospital()
    for _ in range(3):
        case.renewed()
        case.advance(DAY)
    found = list(differences(case.docs(Refill), another("limit", renewals=2)))
    assert [(d.would_be, d.figures) for d in found] == [("renewal_limit_reached", {"used": 2})]


def test_what_has_no_facts_is_not_answered_for() -> None:
    case = hospital()
    refill = case.refill(case.asked()).but(facts=None)
    with pytest.raises(ValueError, match="no facts"):
        list(differences([refill], policies().at(NOW)))
