"""Which programme does a discharge lead to, and does a wrong policy stop the start?"""

from __future__ import annotations

from datetime import date, timedelta
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from libs.common.events import Diagnosis, DiagnosisUse, EncounterDischarged
from libs.common.years import years
from services.enrollment.domain.programme import Match, Policy, choose
from services.enrollment.policy import PolicyError, load_policy
from services.enrollment.settings import Settings
from tests.unit.enrollment.given import NOW, STROKE, consent_text, discharged, policy, programme

EPILEPSY = programme("epilepsy", match=Match(icd10=("G40",)))
DEFAULT = programme("neuro", default=True)


def chosen(*programmes: Any, event: EncounterDischarged | None = None, **more: Any) -> str | None:
    found = choose(policy(*programmes), "h1", event or discharged(**more))
    return found.id if found else None


def with_diagnoses(*diagnoses: Diagnosis) -> EncounterDischarged:
    return discharged().model_copy(update={"diagnoses": diagnoses})


@pytest.mark.parametrize("code", ["I63", "I63.9", "I639", "i63.900x001"])
def test_a_prefix_matches_codes_with_and_without_dots_in_both_cases(code: str) -> None:
    assert chosen(STROKE, codes=[code]) == "stroke"


@pytest.mark.parametrize("code", ["I64", "J63.9", "XI63"])
def test_other_codes_do_not_match(code: str) -> None:
    assert chosen(STROKE, codes=[code]) is None


def test_another_departments_programme_does_not_match() -> None:
    assert chosen(STROKE, department="CARDIO") is None


def test_the_departments_default_takes_only_those_whom_no_programme_wants() -> None:
    assert chosen(STROKE, DEFAULT) == "stroke"
    assert chosen(STROKE, DEFAULT, codes=["J18"]) == "neuro"


def test_the_higher_priority_wins_over_the_more_important_diagnosis() -> None:
    wanted = programme("epilepsy", match=Match(icd10=("G40",)), priority=10)
    assert chosen(STROKE, wanted, codes=["I63", "G40"]) == "epilepsy"


def test_the_main_diagnosis_wins_over_the_others() -> None:
    event = with_diagnoses(Diagnosis(code="G40", rank=2), Diagnosis(code="I63", rank=1))
    assert chosen(STROKE, EPILEPSY, event=event) == "stroke"


def test_a_diagnosis_of_the_discharge_wins_over_a_comorbidity() -> None:
    event = with_diagnoses(
        Diagnosis(code="I63", use=DiagnosisUse.COMORBIDITY, rank=1), Diagnosis(code="G40", rank=2)
    )
    assert chosen(STROKE, EPILEPSY, event=event) == "epilepsy"


def test_an_admission_diagnosis_does_not_count() -> None:
    event = with_diagnoses(Diagnosis(code="I63", use=DiagnosisUse.ADMISSION))
    assert chosen(STROKE, event=event) is None


def test_the_more_specific_prefix_wins() -> None:
    small = programme("brainstem", match=Match(icd10=("I63.9",)))
    assert chosen(STROKE, small, codes=["I63.900"]) == "brainstem"


def test_the_narrower_ages_win_and_then_the_id() -> None:
    old = programme("late-stroke", match=Match(icd10=("I63",), min_age=60))
    assert chosen(STROKE, old) == "late-stroke"
    twin = programme("a-stroke")
    assert chosen(STROKE, twin) == chosen(twin, STROKE) == "a-stroke"


@pytest.mark.parametrize(("years", "fits"), [(17, False), (18, True), (65, True), (66, False)])
def test_ages_are_inclusive(years: int, fits: bool) -> None:
    adults = programme(match=Match(icd10=("I63",), min_age=18, max_age=65))
    born = date(NOW.year - years, 1, 1)
    assert (chosen(adults, born=born) == "stroke") is fits


def test_a_programme_for_the_operated_wants_disease_and_operation() -> None:
    after = programme("thyroid", match=Match(icd10=("C73",), procedures=("06.4",)))
    assert chosen(after, codes=["C73"]) is None
    assert chosen(after, codes=["C73"], procedures=["06.4x01"]) == "thyroid"
    assert chosen(after, codes=["I63"], procedures=["06.4x01"]) is None


def test_a_programme_counts_on_its_days_by_the_calendar_at_the_hospital() -> None:
    last = programme(valid_until=date(2026, 11, 17))
    # 15:59 UTC is the 17th in Shanghai, 16:00 is the 18th.
    late = NOW.replace(day=17, hour=15, minute=59)
    assert chosen(last, at=late) == "stroke"
    assert chosen(last, at=late + timedelta(minutes=1)) is None


def test_a_programme_of_another_hospital_does_not_match() -> None:
    assert chosen(programme(hospital="h2")) is None
    assert chosen(programme(hospital="h1")) == "stroke"


@pytest.mark.parametrize(
    ("birth", "day", "age"),
    [
        (date(2008, 11, 18), date(2026, 11, 17), 17),
        (date(2008, 11, 18), date(2026, 11, 18), 18),
        (date(2008, 2, 29), date(2026, 2, 28), 17),
        (date(2008, 2, 29), date(2026, 3, 1), 18),
        (date(2026, 11, 18), date(2026, 11, 18), 0),
    ],
)
def test_age_is_in_completed_years(birth: date, day: date, age: int) -> None:
    assert years(birth, day) == age


@given(st.dates(min_value=date(1850, 1, 1), max_value=date(2026, 1, 1)), st.integers(0, 60_000))
def test_nobody_grows_younger(birth: date, days: int) -> None:
    day = birth + timedelta(days=days)
    assert years(birth, day) <= years(birth, day + timedelta(days=1))


# -- policy files -----------------------------------------------------------------------


def test_the_policies_of_the_repository_are_sound() -> None:
    loaded = load_policy(Settings())
    assert {"ped-neph", "stroke", "thyroid-surgery", "stoma", "epilepsy"} <= {
        p.id for p in loaded.programmes
    }
    assert loaded.accept_url == "http://127.0.0.1:8001/accept"


PERSONS = {"version": "1", "in_force_from": date(2026, 1, 1), "source": ["test"]}


def _files(folder: Path, adult_age: int = 16, **programme: Any) -> Settings:
    content = {
        "id": "stroke",
        "department": "NEURO",
        "name": {"zh": "脑卒中", "en": "Stroke"},
        "valid_from": date(2026, 1, 1),
        "source": "hospital policy",
        "match": {"icd10": ["I63"]},
        "staff": {"doctor": "d-1", "nurse": "n-1"},
        "sheets": {"welcome": "welcome.default", "rules": "rules.default"},
        **programme,
    }
    for name, documents in (
        ("programmes", [content]),
        (
            "consents",
            [consent_text(k).model_dump() | {"key": k} for k in ("rules.default", "health_data")],
        ),
        ("persons", [{**PERSONS, "adult_age": adult_age}]),
    ):
        (folder / name).mkdir()
        for n, document in enumerate(documents):
            text = yaml.safe_dump(document, allow_unicode=True)
            (folder / name / f"{n}.yaml").write_text(text, encoding="utf-8")
    return Settings(policies_dir=folder)


def test_settings_reach_the_policy(tmp_path: Path) -> None:
    settings = _files(tmp_path).model_copy(
        update={"public_base_url": "https://h.example/", "group_limit": 5}
    )
    loaded = load_policy(settings)
    assert loaded.group_limit == 5
    later = settings.model_copy(
        update={"discharge_ahead": timedelta(days=3), "tell_staff_within": timedelta(days=4)}
    )
    assert load_policy(later).discharge_ahead == timedelta(days=3)
    assert load_policy(later).tell_staff_within == timedelta(days=4)
    assert loaded.accept_url == "https://h.example/accept"


@pytest.mark.parametrize(
    "wrong",
    [
        {"match": {"icd_10": ["I63"]}},
        {"match": {"icd10": ["I63"], "min_age": 40, "max_age": 20}},
        {"match": {}},
        {"default": True},
        {"valid_until": date(2025, 1, 1)},
        {"staff": {"doctor": "d-1"}},
        {"sheets": {"welcome": "welcome.default", "rules": "rules.unknown"}},
        {"group_limit": 0},
        {"source": ""},
        {"id": "Stroke Group"},
    ],
)
def test_a_wrong_policy_stops_the_start(tmp_path: Path, wrong: dict[str, Any]) -> None:
    with pytest.raises(PolicyError):
        load_policy(_files(tmp_path, **wrong))


def test_an_adult_is_whom_the_policy_of_persons_calls_so(tmp_path: Path) -> None:
    loaded = load_policy(_files(tmp_path))
    assert not loaded.is_child(date(2010, 11, 18), NOW)
    assert loaded.is_child(date(2010, 11, 19), NOW)


def test_a_wrong_age_of_adults_stops_the_start(tmp_path: Path) -> None:
    with pytest.raises(PolicyError, match="persons"):
        load_policy(_files(tmp_path, adult_age=0))


def test_a_folder_without_policies_stops_the_start(tmp_path: Path) -> None:
    with pytest.raises(PolicyError):
        load_policy(Settings(policies_dir=tmp_path))


@pytest.mark.parametrize(
    ("a", "b"),
    [
        (programme(), programme()),
        (programme(), programme(hospital="h1")),
        (DEFAULT, programme("neuro-2", default=True)),
        (programme(), programme(department="CARDIO", valid_from=date(2027, 1, 1))),
    ],
)
def test_programmes_that_contradict_each_other_stop_the_start(a: Any, b: Any) -> None:
    with pytest.raises(ValidationError):
        policy(a, b)


def test_one_version_may_follow_another() -> None:
    old = programme(valid_until=date(2026, 6, 30))
    new = programme(valid_from=date(2026, 7, 1), group_limit=500)
    loaded: Policy = policy(old, new)
    assert loaded.programme("stroke", "h1", date(2026, 6, 30)) is old
    assert loaded.programme("stroke", "h1", date(2026, 7, 1)) is new
