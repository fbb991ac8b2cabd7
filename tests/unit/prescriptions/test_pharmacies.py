"""Which pharmacy is nearest, and when is it open?"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.prescriptions.domain.pharmacies import (
    EARTH,
    Pharmacies,
    Pharmacy,
    Place,
    distance,
    openness,
)
from services.prescriptions.main import load_pharmacies

SHANGHAI = ZoneInfo("Asia/Shanghai")
BERLIN = ZoneInfo("Europe/Berlin")  # its clock is turned; China's is not
WEEK = ("monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday")


def pharmacy(id: str = "a", at: tuple[float, float] = (30.0, 120.5), **more: Any) -> Pharmacy:
    fields: dict[str, Any] = {
        "id": id,
        "name": {"zh-CN": "示例", "en": "Sample"},
        "address": {"zh-CN": "示例路", "en": "Sample Road"},
        "telephone": "1",
        "place": {"latitude": at[0], "longitude": at[1]},
        "hours": {day: ["08:30-20:00"] for day in WEEK[:6]},
        **more,
    }
    return Pharmacy.model_validate(fields)


def local(text: str, zone: ZoneInfo = SHANGHAI, fold: int = 0) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=zone, fold=fold)


# -- how far ------------------------------------------------------------------------------

latitudes = st.floats(-90, 90)
longitudes = st.floats(-180, 180)
places = st.builds(Place, latitude=latitudes, longitude=longitudes)


@given(places, places)
def test_a_distance_is_the_same_both_ways_and_at_most_half_the_globe(a: Place, b: Place) -> None:
    there = distance(a, b)
    assert there == pytest.approx(distance(b, a), abs=1e-3)
    assert 0 <= there <= 3.14159266 * EARTH


@given(places, places, places)
def test_no_detour_is_shorter(a: Place, b: Place, c: Place) -> None:
    # Near the antipode the arc sine is steep: centimetres, not metres, are lost there.
    assert distance(a, c) <= distance(a, b) + distance(b, c) + 1


@given(places)
def test_nobody_is_away_from_where_they_are(a: Place) -> None:
    assert distance(a, a) == 0


@given(latitudes, st.floats(0, 1))
def test_the_antimeridian_is_no_wall(latitude: float, degrees: float) -> None:
    east = Place(latitude=latitude, longitude=180 - degrees / 2)
    west = Place(latitude=latitude, longitude=-180 + degrees / 2)
    same = distance(
        Place(latitude=latitude, longitude=0), Place(latitude=latitude, longitude=degrees)
    )
    assert distance(east, west) == pytest.approx(same, abs=1e-2)


@given(longitudes, longitudes)
def test_at_a_pole_every_longitude_is_one_place(a: float, b: float) -> None:
    assert distance(Place(latitude=90, longitude=a), Place(latitude=90, longitude=b)) < 1e-3


@pytest.mark.parametrize(
    ("a", "b", "metres"),
    [  # degrees of a great circle are 111,195 m each
        ((0, 0), (0, 1), 111_195),
        ((0, 0), (90, 0), 10_007_557),
        ((0, 0), (0, 180), 20_015_115),
        ((30.0, 120.0), (30.0, 121.0), 96_297),
    ],
)
def test_known_distances(a: tuple[float, float], b: tuple[float, float], metres: int) -> None:
    found = distance(*(Place(latitude=p[0], longitude=p[1]) for p in (a, b)))
    assert found == pytest.approx(metres, abs=2)


def test_the_nearest_comes_first_and_only_who_delivers_there_if_asked() -> None:
    near = pharmacy("near", (30.0, 120.50), delivers_within=100)
    far = pharmacy("far", (30.0, 120.60), delivers_within=20_000)
    never = pharmacy("never", (30.0, 120.55))
    all = Pharmacies([far, never, near])
    here = Place(latitude=30.0, longitude=120.51)
    assert [n.pharmacy.id for n in all.nearest(here)] == ["near", "never", "far"]
    assert [n.pharmacy.id for n in all.nearest(here, delivering=True)] == ["far"]
    assert [n.pharmacy.id for n in all.nearest(None, delivering=True)] == ["far", "near"]
    assert [n.distance for n in all.nearest(None)] == [None] * 3


# -- when ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("now", "open", "changes"),
    [
        ("2026-03-02T08:29:59", False, "2026-03-02T08:30"),
        ("2026-03-02T08:30:00", True, "2026-03-02T20:00"),
        ("2026-03-02T19:59:59", True, "2026-03-02T20:00"),
        ("2026-03-02T20:00:00", False, "2026-03-03T08:30"),
        ("2026-03-07T20:00:00", False, "2026-03-09T08:30"),  # Saturday evening: not Sunday
    ],
)
def test_it_is_open_from_the_first_minute_until_before_the_last(
    now: str, open: bool, changes: str
) -> None:
    found = openness(pharmacy(), local(now), SHANGHAI)
    assert found.open is open
    assert (found.closes_at if open else found.opens_at) == local(changes)
    assert (found.opens_at if open else found.closes_at) is None


def test_hours_past_midnight_belong_to_the_day_on_which_they_begin() -> None:
    night = pharmacy(hours={"friday": ["22:00-06:00"], "saturday": ["10:00-12:00"]})
    at = openness(night, local("2026-03-07T05:59"), SHANGHAI)  # Saturday
    assert (at.open, at.closes_at) == (True, local("2026-03-07T06:00"))
    assert openness(night, local("2026-03-07T06:00"), SHANGHAI).opens_at == local(
        "2026-03-07T10:00"
    )
    assert not openness(night, local("2026-03-06T05:00"), SHANGHAI).open


def test_a_holiday_has_its_own_hours_or_none_and_ends_no_night_before() -> None:
    feast = pharmacy(
        hours={day: ["20:00-02:00"] for day in WEEK},
        special={"2026-10-01": [], "2026-10-02": ["09:00-12:00"]},
    )
    assert openness(feast, local("2026-10-01T01:00"), SHANGHAI).open  # Wednesday's night
    closed = openness(feast, local("2026-10-01T21:00"), SHANGHAI)
    assert (closed.open, closed.opens_at) == (False, local("2026-10-02T09:00"))
    assert openness(feast, local("2026-10-02T12:00"), SHANGHAI).opens_at == local(
        "2026-10-03T20:00"
    )


def test_what_is_open_day_and_night_never_closes_and_what_is_always_closed_never_opens() -> None:
    always = pharmacy(hours={day: ["00:00-24:00"] for day in WEEK})
    found = openness(always, local("2026-03-02T00:00"), SHANGHAI)
    assert (found.open, found.closes_at) == (True, None)
    never = openness(pharmacy(hours={}), local("2026-03-02T00:00"), SHANGHAI)
    assert (never.open, never.opens_at, never.closes_at) == (False, None, None)
    feast = pharmacy(hours={d: ["00:00-24:00"] for d in WEEK}, special={"2026-03-05": []})
    assert openness(feast, local("2026-03-02T00:00"), SHANGHAI).closes_at == local(
        "2026-03-05T00:00"
    )


def test_where_the_clock_is_turned_nobody_is_sent_to_a_closed_door() -> None:
    # 29 March 2026: 02:00 becomes 03:00. 25 October 2026: 03:00 becomes 02:00 again.
    night = pharmacy(hours={"saturday": ["20:00-02:30"], "sunday": ["02:30-10:00"]})
    spring = night.spans(local("2026-03-28T00:00").date(), 2, BERLIN)
    assert [(s.start, s.end) for s in spring] == [
        (datetime(2026, 3, 28, 19, 0, tzinfo=UTC), datetime(2026, 3, 29, 0, 30, tzinfo=UTC)),
        (datetime(2026, 3, 29, 1, 30, tzinfo=UTC), datetime(2026, 3, 29, 8, 0, tzinfo=UTC)),
    ]
    autumn = night.spans(local("2026-10-24T00:00").date(), 2, BERLIN)
    assert [(s.start, s.end) for s in autumn] == [
        (datetime(2026, 10, 24, 18, 0, tzinfo=UTC), datetime(2026, 10, 25, 0, 30, tzinfo=UTC)),
        (datetime(2026, 10, 25, 1, 30, tzinfo=UTC), datetime(2026, 10, 25, 9, 0, tzinfo=UTC)),
    ]
    day = pharmacy(hours={day: ["00:00-24:00"] for day in WEEK})
    [whole] = day.spans(local("2026-03-29T00:00").date(), 1, BERLIN)
    assert whole.end - whole.start == timedelta(hours=23)


minutes = st.integers(0, 23 * 60 + 59)


@st.composite
def weeks(draw: st.DrawFn) -> dict[str, list[str]]:
    def text(at: int) -> str:
        return f"{at // 60:02}:{at % 60:02}"

    week = {}
    for day in WEEK:
        pairs = draw(
            st.lists(st.tuples(minutes, minutes).filter(lambda p: p[0] != p[1]), max_size=2)
        )
        week[day] = [f"{text(a)}-{text(b)}" for a, b in pairs]
    return week


@given(
    weeks(),
    st.timedeltas(timedelta(0), timedelta(days=365)),
    st.sampled_from([SHANGHAI, BERLIN]),
)
def test_what_is_told_of_a_moment_holds_until_it_is_said_to_change(
    week: dict[str, list[str]], later: timedelta, zone: ZoneInfo
) -> None:
    one, now = pharmacy(hours=week), datetime(2026, 1, 1, tzinfo=UTC) + later
    told = openness(one, now, zone)
    changes = told.closes_at if told.open else told.opens_at
    if changes is not None:
        assert changes > now
        assert openness(one, changes, zone).open is not told.open
        between = now + (changes - now) / 2
        assert openness(one, between, zone) == told


# -- the files ----------------------------------------------------------------------------


def test_the_sample_files_are_read_and_name_each_pharmacy_once() -> None:
    known = load_pharmacies(Path("policies/pharmacies"))
    assert {n.pharmacy.id for n in known.nearest(None)} == {"riverside", "old-town", "night-market"}


@pytest.mark.parametrize(
    "broken",
    [
        {"hours": {"monday": ["8-20"]}},
        {"hours": {"monday": ["08:00-08:00"]}},
        {"hours": {"monday": ["24:00-08:00"]}},
        {"hours": {"monday": ["08:00-25:00"]}},
        {"hours": {"someday": ["08:00-20:00"]}},
        {"name": {"en": "Sample"}},
        {"place": {"latitude": 91, "longitude": 0}},
        {"place": {"latitude": 0, "longitude": float("nan")}},
        {"delivers_within": 0},
        {"colour": "green"},
    ],
)
def test_a_file_that_makes_no_sense_stops_the_start(broken: dict[str, Any]) -> None:
    with pytest.raises(ValueError):
        pharmacy(**broken)


def test_two_files_of_one_id_stop_the_start_and_the_file_is_named(tmp_path: Path) -> None:
    text = Path("policies/pharmacies/riverside.yaml").read_text(encoding="utf-8")
    (tmp_path / "a.yaml").write_text(text, encoding="utf-8")
    (tmp_path / "b.yaml").write_text(text, encoding="utf-8")
    with pytest.raises(ValueError, match=r"b\.yaml: id: riverside is another pharmacy's"):
        load_pharmacies(tmp_path)
