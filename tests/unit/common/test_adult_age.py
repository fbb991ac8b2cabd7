"""From which age on is somebody an adult, and do all services agree?"""

from __future__ import annotations

from datetime import date
from pathlib import Path
from typing import Any

import pytest
import yaml

from libs.common import adult_age
from services.enrollment.policy import load_policy as of_enrollment
from services.enrollment.settings import Settings as EnrollmentSettings
from services.prescriptions.main import load_policy as of_prescriptions
from services.prescriptions.settings import Settings as PrescriptionsSettings
from services.reports.main import load_policy as of_reports
from services.reports.settings import Settings as ReportsSettings

DAY = date(2026, 11, 18)
FILE = {"version": "1", "in_force_from": DAY, "adult_age": 18, "source": ["a law"]}


def _folder(folder: Path, *files: dict[str, Any]) -> Path:
    (folder / "persons").mkdir()
    for n, file in enumerate(files):
        (folder / "persons" / f"{n}.yaml").write_text(yaml.safe_dump(file), encoding="utf-8")
    return folder


def test_the_age_of_the_law_is_in_force() -> None:
    assert adult_age.load(Path("policies"))(DAY) == 18


def test_the_newest_file_that_has_begun_holds_and_before_all_the_first(tmp_path: Path) -> None:
    later = FILE | {"in_force_from": date(2027, 3, 1), "adult_age": 20}
    on = adult_age.load(_folder(tmp_path, later, FILE))
    days = [date(2020, 1, 1), DAY, date(2027, 2, 28), date(2027, 3, 1), date(2030, 1, 1)]
    assert [on(day) for day in days] == [18, 18, 18, 20, 20]


@pytest.mark.parametrize(
    "files",
    [
        [],
        [FILE, FILE | {"version": "2"}],
        [FILE | {"adult_age": 0}],
        [FILE | {"source": []}],
        [FILE | {"adultage": 18}],
        [{k: v for k, v in FILE.items() if k != "source"}],
    ],
)
def test_a_wrong_policy_stops_the_start_and_is_named(
    tmp_path: Path, files: list[dict[str, Any]]
) -> None:
    with pytest.raises(ValueError, match="persons"):
        adult_age.load(_folder(tmp_path, *files))


def test_a_file_that_can_not_be_read_stops_the_start_and_is_named(tmp_path: Path) -> None:
    folder = _folder(tmp_path)
    (folder / "persons" / "a.yaml").write_text("a: [", encoding="utf-8")
    with pytest.raises(ValueError, match=r"a\.yaml"):
        adult_age.load(folder)


def test_all_services_take_the_same_person_for_an_adult(tmp_path: Path) -> None:
    for name in ("programmes", "consents", "renewal", "clinical", "reports"):
        (tmp_path / name).symlink_to(Path("policies", name).absolute())
    _folder(tmp_path, FILE | {"adult_age": 16})
    ages = [
        of_enrollment(EnrollmentSettings(policies_dir=tmp_path)).adult_age,
        of_prescriptions(PrescriptionsSettings(policies_dir=tmp_path)).versions[0].adult_age,
        of_reports(ReportsSettings(policies_dir=tmp_path)).versions[0].adult_age,
    ]
    assert [age(DAY) for age in ages] == [16, 16, 16]


@pytest.mark.parametrize("path", sorted(Path("policies").rglob("*.yaml")), ids=str)
def test_it_stands_in_no_other_file(path: Path) -> None:
    assert path.parent.name == "persons" or "adult_age" not in path.read_text(encoding="utf-8")
