"""Are policies checked as the services take them, and is a fault said where it is?"""

from __future__ import annotations

import shutil
from collections.abc import Callable
from datetime import UTC, date, datetime
from pathlib import Path

import pytest

from lianxin.policy import READERS, faults, versions
from lianxin.policy_replay import line, version_of
from libs.common.devstack.places import ROOT
from services.prescriptions.domain.replay import Difference
from services.prescriptions.settings import Settings
from tests.support.command_line import lianxin

POLICIES = ROOT / "policies"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return Path(shutil.copytree(POLICIES, tmp_path / "policies"))


def test_each_folder_of_the_policies_has_its_readers() -> None:
    assert set(READERS) == {entry.name for entry in POLICIES.iterdir() if entry.is_dir()}


def test_the_policies_here_are_taken_by_all_services() -> None:
    assert faults(POLICIES) == []
    said = lianxin("policy", "check", str(POLICIES), env={})
    assert (said.code, said.out) == (0, f"{POLICIES}: 6 services take these policies.\n")


def replaced(old: str, new: str) -> Callable[[str], str]:
    def change(text: str) -> str:
        assert old in text
        return text.replace(old, new, 1)

    return change


MISSPELT, UNDATED = replaced("version:", "verison:"), replaced("valid_from:", "from:")
REQUIRED = "Field required"
NO_AGE = replaced("adult_age: 18", "adult_age: 0")
TWICE = replaced("id: cardio", "id: cardio\nid: twice")
PERHAPS = replaced("mode: production", "mode: perhaps")


@pytest.mark.parametrize(
    ("file", "change", "service", "field", "says"),
    [
        ("renewal/2026-01-01.yaml", MISSPELT, "prescriptions", "version", REQUIRED),
        ("reports/2026-01-01.yaml", MISSPELT, "reports", "version", REQUIRED),
        ("messaging/2026-01-01.yaml", MISSPELT, "messaging", "version", REQUIRED),
        ("notify/2026-01-01.yaml", MISSPELT, "notify", "version", REQUIRED),
        ("clinical/2026-01-01.yaml", MISSPELT, "prescriptions", "version", REQUIRED),
        ("persons/2026-01-01.yaml", NO_AGE, "enrollment", "adult_age", "greater than"),
        ("programmes/cardio.yaml", TWICE, "enrollment", "line 4", "twice"),
        ("partners/sample.yaml", replaced("hospital: h1", ""), "interop", "hospital", REQUIRED),
        ("senders/default.yaml", PERHAPS, "interop", "mode", "Input should be"),
        ("pharmacies/riverside.yaml", lambda _: "{", "prescriptions", "line 1", "expected"),
        ("templates/common.yaml", lambda _: "templates: 3", "notify", "templates", "dictionary"),
        ("education/stroke.home.yaml", UNDATED, "messaging", "valid_from", REQUIRED),
        ("consents/rules.default.yaml", UNDATED, "messaging", "valid_from", REQUIRED),
    ],
)  # fmt: skip
def test_a_fault_is_said_with_its_file_its_field_and_what_to_do(
    folder: Path, file: str, change: Callable[[str], str], service: str, field: str, says: str
) -> None:
    wrong = folder / file
    wrong.write_text(change(wrong.read_text("utf-8")), "utf-8")
    found = [f for f in faults(folder) if f.service == service and f.field == field]
    assert [f.file for f in found] == [str(wrong)]
    assert says in found[0].fault and found[0].remedy


def test_what_two_versions_share_is_said_too(folder: Path) -> None:
    again = (folder / "renewal/2026-01-01.yaml").read_text("utf-8")
    (folder / "renewal/2027-01-01.yaml").write_text(again, "utf-8")
    (found,) = faults(folder)
    assert (found.service, found.fault) == (
        "prescriptions",
        "every version needs a name and a day of its own",
    )
    said = lianxin("policy", "check", str(folder), env={})
    assert said.code == 1 and "would not start" in said.out


def test_the_version_in_force_is_that_of_the_day(folder: Path) -> None:
    text = (folder / "renewal/2026-01-01.yaml").read_text("utf-8")
    later = text.replace("version: renewal-2026-01-01", "version: renewal-2027-03-01").replace(
        "in_force_from: 2026-01-01", "in_force_from: 2027-03-01"
    )
    (folder / "renewal/2027-03-01.yaml").write_text(later, "utf-8")
    for day, name in ((date(2027, 2, 28), "2026-01-01"), (date(2027, 3, 1), "2027-03-01")):
        held = [v.name for v in versions(folder, day) if v.folder == "renewal" and v.in_force]
        assert held == [f"renewal-{name}"]
    programmes = {v.name for v in versions(folder, date(2027, 3, 1)) if v.folder == "programmes"}
    assert {"cardio", "stroke"} <= programmes


def test_nothing_is_in_force_before_its_day(folder: Path) -> None:
    assert not [v for v in versions(folder, date(2020, 1, 1)) if v.in_force]
    said = lianxin("policy", "list", "--on", "2026-06-01", env={"POLICIES_DIR": str(folder)})
    assert said.code == 0 and "renewal-2026-01-01" in said.out and "in force" in said.out


@pytest.mark.parametrize(
    ("command", "variable"),
    [
        (["check"], "KAFKA_SECURITY_PROTOCOL"),
        (["replay", "--from=2026-01-01", "--policy=none.yaml"], "CLINICAL_TIMEOUT"),
    ],
)
def test_a_setting_that_is_wrong_is_named(command: list[str], variable: str) -> None:
    env = {"KAFKA_BOOTSTRAP_SERVERS": "kafka:9093", variable: "SASL_SSL"}
    said = lianxin("policy", *command, env=env)
    assert said.code == 2 and variable in said.err


def test_a_replay_prints_no_age_no_record_and_no_allergy() -> None:
    figures = {"age": 71, "in_words": ["a1"], "not_compared": ["C09DB01"], "uncoded": 1}
    told = line(Difference("r1", "renewal-1", "accepted", "allergy_recorded", figures))
    assert told == "r1  renewal-1: accepted -> allergy_recorded  (uncoded=1)"


def test_a_replay_knows_what_combinations_hold() -> None:
    version = version_of(POLICIES / "renewal/2026-01-01.yaml", Settings(policies_dir=POLICIES))
    held = version.combinations(datetime(2026, 3, 2, tzinfo=UTC)).of("C09DB01")
    assert held == frozenset({"C09CA03", "C08CA01"})
