"""Do the parts of reports fit together, and is what happens counted?"""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import pytest
import yaml

from libs.common.cipher import sealed_fields
from libs.common.decision import Common, Document, Input
from libs.common.events import Event, Hold, ReportKind, ReportStatus
from libs.common.http.words import without_text
from libs.common.mongo.collection import CollectionSpec
from services.reports.api.routes import TEXTS
from services.reports.domain import alarm, telling
from services.reports.domain.arrival import Reason, ReleaseReport
from services.reports.domain.people import Patient
from services.reports.domain.policy import ReportPolicies
from services.reports.domain.reading import ViewReport
from services.reports.domain.report import Report, ReportVersion, Why
from services.reports.handlers import RELEASE, VIEW
from services.reports.main import SPEC, count, load_policy
from services.reports.settings import Settings
from services.reports.store import COLLECTIONS
from tests.support.counted import counted, since, stage
from tests.unit.reports.given import DAY, DOCTOR, HOUR, NOW, PATIENT, content, hospital, patient


def test_every_refusal_is_told_in_both_languages() -> None:
    assert without_text(TEXTS, [*Reason, Why.WITHDRAWN, *Common]) == set()


def test_notify_has_a_text_for_whatever_reports_asks_it_to_tell() -> None:
    known: set[str] = set()
    for file in Path("policies/templates").glob("*.yaml"):
        known |= yaml.safe_load(file.read_text(encoding="utf-8"))["templates"].keys()
    asked = {telling.READY, telling.CORRECTED, telling.WITHDRAWN}
    assert asked | {alarm.CRITICAL, alarm.CORRECTED, alarm.WITHDRAWN} <= known


def test_reports_reads_the_topics_of_the_events_that_it_handles() -> None:
    handled = {h.data.TOPIC for h in SPEC.handlers.values() if issubclass(h.data, Event)}
    assert handled == set(SPEC.topics)


def _count(event: Event) -> None:
    case = hospital()
    case.event(patient())
    input: Input = case.event_input(event)
    count(input, case.send(input))


def test_a_release_is_counted_by_kind() -> None:
    before = counted("reports_released_total", kind="imaging")
    _count(content(kind=ReportKind.IMAGING))
    assert counted("reports_released_total", kind="imaging") == before + 1


def test_it_is_measured_how_long_a_report_waited_and_until_somebody_read_it() -> None:
    stages = ("released", "doctor", "viewed")
    before = {s: stage("report", s) for s in stages}
    case = hospital()
    case.event(patient())

    def told(input: Input) -> None:
        count(input, case.send(input))

    told(case.event_input(content(at=NOW - HOUR)))
    told(case.event_input(content(report_id="r2", critical=True)))
    case.advance(HOUR)
    told(case.command_input(RELEASE, ReleaseReport(), actor=DOCTOR, subject="r2"))
    case.advance(HOUR)
    for id in ("r1", "r2", "r2"):
        read = ViewReport(edition="1")
        told(case.command_input(VIEW, read, actor=PATIENT, subject=id))
    took = {s: since(before[s], stage("report", s)) for s in stages}
    assert took == {"released": (1, 3600), "doctor": (1, 3600), "viewed": (2, 3 * 3600)}


def test_a_record_of_the_past_says_nothing_of_how_long_a_report_waits() -> None:
    before = stage("report", "released")
    _count(content(at=NOW - 30 * DAY))
    assert stage("report", "released") == before


@pytest.mark.parametrize(
    ("event", "reason"),
    [
        (content(status=ReportStatus.PRELIMINARY), "preliminary"),
        (content(hold=Hold(on=True)), "held"),
        (content(critical=True), "critical"),
        (content(kind=ReportKind.PATHOLOGY), "talk_first"),
        (content(critical=True, ordering_practitioner_id=None), "critical_untold"),
    ],
)
def test_what_is_kept_back_is_counted_by_reason(event: Event, reason: str) -> None:
    before = counted("reports_held_total", reason=reason)
    _count(event)
    assert counted("reports_held_total", reason=reason) == before + 1


# -- dated policies ---------------------------------------------------------------------

FILE = yaml.safe_load(Path("policies/reports/2026-01-01.yaml").read_text(encoding="utf-8"))
#: What does not stand in the file: the hospital's time zone, and who is an adult.
GIVEN = (ZoneInfo("Asia/Shanghai"), lambda _day: 18)


def test_the_policy_of_the_hospitals_day_holds() -> None:
    later = {**FILE, "version": "later", "in_force_from": "2026-06-01"}
    loaded = ReportPolicies([later, FILE], *GIVEN)
    midnight = NOW.replace(month=5, day=31, hour=16)  # 1 June in Shanghai
    assert loaded.at(midnight.replace(hour=15)).version == FILE["version"]
    assert loaded.at(midnight).version == "later"
    assert loaded.at(NOW.replace(year=2020)).version == FILE["version"]


@pytest.mark.parametrize("files", [[], [FILE, FILE], [FILE, {**FILE, "version": "same day"}]])
def test_versions_that_can_not_be_told_apart_are_a_mistake(files: list[object]) -> None:
    with pytest.raises(ValueError, match="of its own"):
        ReportPolicies(files, *GIVEN)  # type: ignore[arg-type]


def test_a_misspelt_rule_is_a_mistake(tmp_path: Path) -> None:
    shutil.copytree("policies/persons", tmp_path / "persons")
    folder = tmp_path / "reports"
    folder.mkdir()
    (folder / "a.yaml").write_text(yaml.safe_dump({**FILE, "bakfill": {}}), encoding="utf-8")
    with pytest.raises(ValueError, match="bakfill"):
        load_policy(Settings(policies_dir=tmp_path))


#: What queries ask for besides the fields of indexes.
ASKED: dict[type[Document], set[str]] = {
    Report: {"status", "department_code", "ordering_practitioner_id", "untold", "alarmed"},
}


SEALED: dict[type[Document], set[str]] = {
    Report: {"head"},  # its title
    ReportVersion: {"observations", "conclusion", "correction"},
    Patient: {"birth_date"},
}


@pytest.mark.parametrize("spec", COLLECTIONS, ids=lambda s: s.model.COLLECTION)
def test_nothing_that_is_sealed_is_searched_for(spec: CollectionSpec[Any]) -> None:
    searched = {field for index in spec.indexes for field in index.fields}
    model: type[Document] = spec.model
    assert not sealed_fields(model) & (searched | ASKED.get(model, set()))


def test_what_is_personal_is_sealed() -> None:
    for model, fields in SEALED.items():
        assert fields <= sealed_fields(model)
