"""Does every rule that counts days, or years, do so by the hospital's own calendar?

By a clock on its wall: in a zone without daylight saving, in one where a day in between had 23
hours and another had 25, in one that is a day ahead of UTC; and over 29 February.
"""

from __future__ import annotations

from datetime import UTC, date, datetime, time, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given as examples
from hypothesis import strategies as st

from services.prescriptions.domain.facts import Deciding, Dispensed, Facts, Verdict
from services.prescriptions.domain.rules import evaluate
from services.prescriptions.domain.transitions import Status
from tests.unit.prescriptions.given import (
    DAY,
    HOUR,
    NOW,
    Hospital,
    hospital,
    policies,
    prescription,
)

ZONES = ("Asia/Shanghai", "America/New_York", "Pacific/Kiritimati", "UTC")
LAST = time(23, 59, 59, 999000)


def on(day: date, at: time, zone: str) -> datetime:
    """When the clock on the hospital's wall says so."""
    return datetime.combine(day, at, ZoneInfo(zone)).astimezone(UTC)


@pytest.fixture(scope="module")
def plain() -> Facts:
    """A request that no rule refuses."""
    case = hospital()
    facts = case.refill(case.asked()).facts
    assert facts is not None
    return facts


def says(rule: str, now: datetime, zone: str, facts: Facts, **more: Any) -> Verdict:
    changed = facts.model_copy(update=more)
    [outcome] = evaluate(changed, policies(zone).at(now), now, frozenset({rule}))
    return outcome.verdict


#: A leap day, and changes of the clocks in New York (8 March, 1 November 2026), lie in these.
DAYS = st.dates(date(2026, 1, 1), date(2029, 1, 1))
TIMES = st.sampled_from([time(), time(0, 30), time(12), time(23, 30), LAST])


@pytest.mark.parametrize("zone", ZONES)
@examples(day=DAYS, at=TIMES)
def test_the_183rd_day_ends_at_the_hospitals_midnight(
    zone: str, plain: Facts, day: date, at: time
) -> None:
    last, over = day + timedelta(days=183), day + timedelta(days=184)
    issued = on(day, at, zone)
    new = {"issued_at": issued, "seen_at": issued}
    assert says("window", on(last, LAST, zone), zone, plain, **new) == "passed"
    assert says("window", on(over, time(), zone), zone, plain, **new) == "refused"


@pytest.mark.parametrize("zone", ZONES)
@pytest.mark.parametrize("supply", [7, 28, 84])
@examples(day=DAYS, at=TIMES)
def test_a_week_is_left_from_the_hospitals_midnight(
    zone: str, supply: int, plain: Facts, day: date, at: time
) -> None:
    dispensed = Dispensed(at=on(day, at, zone), days=supply)
    first = day + timedelta(days=supply - 7)
    facts = plain.model_copy(update={"dispensed": dispensed})
    assert says("not_too_early", on(first, time() if supply > 7 else at, zone), zone, facts) == (
        "passed"
    )
    if supply > 7:  # else it may be asked for at once
        before = on(first - timedelta(days=1), LAST, zone)
        assert says("not_too_early", before, zone, facts) == "refused"


@pytest.mark.parametrize("zone", ZONES)
@pytest.mark.parametrize(
    ("since", "years", "day"),
    [
        (date(2020, 3, 2), 6, date(2026, 3, 2)),
        (date(2020, 2, 29), 6, date(2026, 3, 1)),  # born on a leap day: from the first of March
        (date(2022, 2, 28), 6, date(2028, 2, 28)),
        (date(2022, 3, 1), 6, date(2028, 3, 1)),  # after a leap day that it does not change
        (date(2020, 12, 31), 6, date(2026, 12, 31)),
        (date(2008, 2, 29), 18, date(2026, 3, 1)),
        (date(2010, 2, 28), 18, date(2028, 2, 28)),
        (date(2024, 2, 29), 3, date(2027, 3, 1)),
        (date(2025, 3, 1), 3, date(2028, 3, 1)),
    ],
)
def test_so_many_years_are_over_at_the_hospitals_midnight(
    zone: str, since: date, years: int, day: date, plain: Facts
) -> None:
    practising = Deciding(is_party=False, practising_since=since)
    more: dict[str, Any] = {
        "birth_date": since, "oneself": years == 18, "deciding": practising,
    }  # fmt: skip
    rule = {6: "child", 18: "authority", 3: "practice"}[years]
    before = on(day - timedelta(days=1), LAST, zone)
    assert says(rule, before, zone, plain, **more) == "refused"
    assert says(rule, on(day, time(), zone), zone, plain, **more) == "passed"


@pytest.mark.parametrize("zone", ZONES)
@pytest.mark.parametrize("day", [date(2026, 3, 8), date(2026, 11, 1), date(2028, 2, 29)])
def test_a_prescription_is_valid_until_the_hospitals_midnight_of_its_last_day(
    zone: str, day: date
) -> None:
    """Of one day; also of a day of 23 hours, and of one of 25."""
    for days in (1, 3):
        case = Hospital(zone=zone, now=on(day, time(20), zone))
        id = asked(case)
        case.doctor(id, "approve", valid_days=days)
        refill = case.refill(id)
        assert refill.valid_on == day + timedelta(days=days - 1)
        midnight = on(day + timedelta(days=days), time(), zone)
        # Within the pharmacist's 24 hours only the first of these ends.
        assert refill.deadline == (midnight if days == 1 else case.now + DAY)
        case.now = refill.deadline - timedelta(milliseconds=1)
        case.pharmacist(id, "pass")
        assert case.refill(id).status is Status.EFFECTIVE


@pytest.mark.parametrize("zone", ZONES)
def test_what_was_valid_on_the_day_is_not_passed_after_midnight(zone: str) -> None:
    case = Hospital(zone=zone, now=on(date(2026, 3, 8), time(20), zone))
    id = asked(case)
    case.doctor(id, "approve")
    case.now = on(date(2026, 3, 9), time(), zone)
    case.pharmacist(id, "pass")
    assert case.refill(id).status is Status.EXPIRED


@pytest.mark.parametrize("zone", ZONES)
def test_the_medicines_of_a_day_are_those_of_the_hospitals_day(zone: str) -> None:
    day = date(2026, 11, 1)
    case = Hospital(zone=zone, now=on(day, time(), zone))
    for n in range(6):
        case.event(given(case, f"rx{n}", ingredient=f"i{n}"))
    for n in range(5):
        case.asked(f"rx{n}")
    case.now = on(day, LAST, zone)
    assert getattr(case.ask("rx5"), "reason", None) == "too_many_medicines"
    case.now = on(day + timedelta(days=1), time(), zone)
    case.asked("rx5")


@pytest.mark.parametrize("zone", ZONES)
@pytest.mark.parametrize(
    ("after", "expected"),
    [(timedelta(), "passed"), (timedelta(days=1), "refused")],
)
def test_what_is_diagnosed_on_the_day_of_the_prescription_belongs_to_it(
    zone: str, after: timedelta, expected: str, plain: Facts
) -> None:
    day = date(2026, 3, 8)
    issued = on(day, time(0, 30), zone)
    found = on(day + after, time() if after else LAST, zone)
    for field in ("diagnosed", "others_stopped"):
        more = {"seen_at": issued, "last_visit_at": issued, "health_told": True, field: (found,)}
        assert says("stable_condition", found + HOUR, zone, plain, **more) == expected


def given(case: Hospital, id: str, **more: Any) -> Any:
    return prescription(id, at=case.now - 30 * DAY, **more)


def asked(case: Hospital) -> str:
    case.event(given(case, "rx1"))
    return case.asked()


def test_new_york_has_days_of_23_and_of_25_hours() -> None:
    zone = "America/New_York"
    for day, hours in ((date(2026, 3, 8), 23), (date(2026, 11, 1), 25), (NOW.date(), 24)):
        begin, end = on(day, time(), zone), on(day + timedelta(days=1), time(), zone)
        assert end - begin == timedelta(hours=hours)
