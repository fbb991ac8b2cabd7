"""Do the sheets hold what they must, and does the right version count?"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import pytest
import yaml

from libs.common.events import MessageKind
from services.messaging.domain.policy import Policy, Sheet
from tests.unit.messaging.given import NOW, policy

SHEETS = [
    Sheet.model_validate(yaml.safe_load(f.read_text(encoding="utf-8")))
    for f in sorted(Path("policies/education").glob("*.yaml"))
]
FIGURES = yaml.safe_load(Path("policies/messaging/2026-01-01.yaml").read_text(encoding="utf-8"))


def test_every_sheet_that_a_programme_names_exists() -> None:
    kinds = (MessageKind.WELCOME, MessageKind.RULES, MessageKind.EDUCATION)
    named: dict[MessageKind, set[str]] = {kind: set() for kind in kinds}
    for file in Path("policies/programmes").glob("*.yaml"):
        sheets = yaml.safe_load(file.read_text(encoding="utf-8"))["sheets"]
        named[MessageKind.WELCOME].add(sheets["welcome"])
        named[MessageKind.RULES].add(sheets["rules"])
        named[MessageKind.EDUCATION].update(sheets["education"])
    loaded = policy()
    for kind, keys in named.items():
        assert keys, "no programme was found"
        for key in keys:
            sheet = loaded.sheet(key, NOW)
            assert sheet is not None, f"{key} has no text"
            assert sheet.kind is kind


@pytest.mark.parametrize("sheet", SHEETS, ids=lambda s: s.key)
def test_a_sheet_is_in_both_languages_and_names_the_emergency_number(sheet: Sheet) -> None:
    assert any("一" <= c <= "鿿" for c in sheet.zh)
    assert not any("一" <= c <= "鿿" for c in sheet.en)
    assert sheet.zh.count("\n") > 2 and sheet.en.count("\n") > 2
    if sheet.kind is MessageKind.WELCOME:
        assert "120" in sheet.zh and "120" in sheet.en


def _policy(*sheets: dict[str, Any]) -> Policy:
    return Policy(figures=[FIGURES], rules=[], sheets=sheets, zone=ZoneInfo("Asia/Shanghai"))


def _sheet(version: str, valid_from: str) -> dict[str, Any]:
    return {
        "key": "a.sheet",
        "kind": "education",
        "version": version,
        "valid_from": valid_from,
        "source": "a test",
        "title": {"zh": "标题", "en": "Title"},
        "zh": "文字",
        "en": "Text",
    }


def test_the_version_of_the_hospitals_day_counts() -> None:
    loaded = _policy(_sheet("new", "2026-06-01"), _sheet("old", "2026-01-01"))
    midnight = datetime(2026, 5, 31, 16, 0, tzinfo=UTC)  # 1 June in Shanghai
    before, after = (
        loaded.sheet("a.sheet", midnight - timedelta(seconds=1)),
        loaded.sheet("a.sheet", midnight),
    )
    assert before is not None and before.version == "old"
    assert after is not None and after.version == "new"
    assert loaded.sheet("a.sheet", datetime(2025, 1, 1, tzinfo=UTC)) is None
    assert loaded.sheet("another", midnight) is None


def test_two_texts_of_one_day_are_a_mistake() -> None:
    with pytest.raises(ValueError, match="two texts"):
        _policy(_sheet("a", "2026-01-01"), _sheet("b", "2026-01-01"))


def test_figures_need_a_name_and_a_day_of_their_own() -> None:
    for figures in ([], [FIGURES, FIGURES]):
        with pytest.raises(ValueError):
            Policy(figures=figures, rules=[], sheets=[], zone=ZoneInfo("Asia/Shanghai"))
