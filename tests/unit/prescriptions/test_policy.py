"""Do the dated rules say all that they must, and which of them hold on a day?"""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import pytest
import yaml
from pydantic import ValidationError

from libs.common.http.words import without_text
from services.prescriptions.domain.documents import Step
from services.prescriptions.domain.fulfilment import Irregular
from services.prescriptions.domain.parameters import Language
from services.prescriptions.domain.policy import RenewalPolicies, Rules
from services.prescriptions.domain.reasons import Reason
from services.prescriptions.domain.rules import is_of
from services.prescriptions.domain.saying import reason_text
from services.prescriptions.domain.transitions import Action, Status
from services.prescriptions.main import SPEC
from tests.unit.prescriptions.given import DAY, NOW, hospital, policies, reason

SHANGHAI = ZoneInfo("Asia/Shanghai")
#: Reasons that only publishers of events meet.
EVENTS_ONLY = {
    Reason.IN_THE_FUTURE,
    Reason.ALREADY_MERGED,
    Reason.ANOTHER_PRESCRIPTION,
    Reason.ANOTHER_PATIENT,
}


def eighteen(_day: date) -> int:
    return 18


def file() -> dict[str, Any]:
    text = Path("policies/renewal/2026-01-01.yaml").read_text(encoding="utf-8")
    read: dict[str, Any] = yaml.safe_load(text)
    return read


def test_every_reason_has_words_in_both_languages() -> None:
    for version in policies().versions:
        wordless = {r for r in Reason if not (version.words(r, "zh-CN") and version.words(r, "en"))}
        assert without_text(SPEC.texts, wordless - EVENTS_ONLY) == set()


@pytest.mark.parametrize("reason", [Reason.VALIDITY_OVER, *Irregular])
@pytest.mark.parametrize("language", ["zh-CN", "en"])
def test_what_is_wrong_after_it_took_effect_is_told_in_words(
    reason: str, language: Language
) -> None:
    step = Step(
        at=NOW,
        action=Action.DISPENSE,
        from_status=Status.LAPSED,
        to_status=Status.DISPENSED,
        role="pharmacy",
        reason=reason,
        policy="gone",
    )
    assert reason_text(step, None, language)
    assert reason_text(step.model_copy(update={"action": Action.CANCEL}), None, language) is None


def test_every_rule_has_a_reason_of_its_own_that_the_code_knows() -> None:
    for version in policies().versions:
        reasons = [getattr(version.rules, name).reason for name in Rules.model_fields]
        assert len(set(reasons)) == len(reasons)
        assert set(reasons) <= set(Reason)


@pytest.mark.parametrize("code", ["N05BA12", "N03AX22", "R05FA02", "A08AA01", "A07DA01"])
def test_controlled_medicines_are_never_renewed_online_whenever_they_were_listed(code: str) -> None:
    never = policies().at(NOW).rules.never_classes.parameters.classes
    assert any(is_of(code, c.atc) for c in (never["narcotic"], never["psychotropic"]))


def test_the_page_for_the_committee_names_every_rule_with_its_reason_and_figures() -> None:
    page = Path("docs/renewals.md").read_text(encoding="utf-8")
    policy = policies().at(NOW)
    for id in policy.order:
        rule = policy.rule(id)
        [row] = [line for line in page.splitlines() if line.startswith(f"| `{id}` |")]
        assert row.endswith(f"| `{rule.reason}` |")
        assert rule.words("en", "staff") in row
        figures = rule.parameters.model_dump()
        assert all(f"{k} {v}" in row for k, v in figures.items() if isinstance(v, int | str))


def test_the_words_hold_the_figures() -> None:
    policy = policies().at(NOW)
    assert "183" in (policy.words("too_old", "zh-CN") or "")
    assert " 3 times" in (policy.words("renewal_limit_reached", "en") or "")
    assert policy.words("not_found", "en") is None


def test_the_version_of_the_hospitals_day_is_in_force() -> None:
    first, second = file(), file()
    second |= {"version": "next", "in_force_from": date(2026, 7, 1)}
    both = RenewalPolicies([second, first], SHANGHAI, eighteen)
    # 23:59 and 00:00 in Shanghai
    assert both.at(datetime(2026, 6, 30, 15, 59, tzinfo=UTC)).version == "renewal-2026-01-01"
    assert both.at(datetime(2026, 6, 30, 16, 0, tzinfo=UTC)).version == "next"
    assert both.at(datetime(2020, 1, 1, tzinfo=UTC)).version == "renewal-2026-01-01"
    assert both.version("next") is both.at(datetime(2027, 1, 1, tzinfo=UTC))
    assert both.version("unknown") is None


def test_each_step_records_the_version_that_decided() -> None:
    first, second = file(), file()
    second |= {"version": "next", "in_force_from": date(2026, 3, 3)}
    second["rules"]["limit"]["parameters"]["renewals"] = 1
    case = hospital()
    case.policy = RenewalPolicies([first, second], SHANGHAI, eighteen)
    case.renewed()
    id = case.asked()
    case.advance(DAY)
    # Accepted by yesterday's rules, one too many by today's.
    assert reason(case.doctor(id, "approve")) == "renewal_limit_reached"
    assert [s.policy for s in case.refill(id).history] == ["renewal-2026-01-01", "next"]


@pytest.mark.parametrize(
    "files",
    [
        [],
        [file(), file()],
        [file(), file() | {"version": "next"}],
        [file(), file() | {"in_force_from": date(2026, 7, 1)}],
    ],
)
def test_two_versions_never_hold_at_once(files: list[dict[str, Any]]) -> None:
    with pytest.raises(ValueError, match="of its own"):
        RenewalPolicies(files, SHANGHAI, eighteen)


@pytest.mark.parametrize(
    ("rule", "change"),
    [
        ("limit", {"parameters": {"renewals": 65, "visit_classes": ["ambulatory"]}}),
        ("limit", {"parameters": {"renewals": 0, "visit_classes": ["ambulatory"]}}),
        ("limit", {"parameters": {"renewals": 3, "visit_classes": []}}),
        ("window", {"parameters": {"days": 0}}),
        ("window", {"parameters": {}}),
        ("validity", {"parameters": {"usual_days": 1, "maximum_days": 4}}),  # the law's three
        ("window", {"source": []}),
        ("window", {"kind": "custom"}),
        ("window", {"surprise": 1}),
        ("window", {"texts": {"en": "only English"}}),
        ("window", {"texts": {"en": "{weeks}", "zh-CN": "{weeks}"}}),
    ],
)
def test_a_policy_that_can_not_work_fails_at_the_start(rule: str, change: dict[str, Any]) -> None:
    broken = file()
    broken["rules"][rule] |= change
    with pytest.raises((ValidationError, KeyError)):
        RenewalPolicies([broken], SHANGHAI, eighteen)


def test_a_day_ends_at_the_hospitals_midnight() -> None:
    policy = policies().at(NOW)
    assert policy.end_of(date(2026, 3, 2)) == datetime(2026, 3, 2, 16, 0, tzinfo=UTC)
    assert policy.day(datetime(2026, 3, 2, 15, 59, 59, tzinfo=UTC)) == date(2026, 3, 2)
    assert policy.day(policy.end_of(date(2026, 3, 2))) - date(2026, 3, 2) == timedelta(days=1)
