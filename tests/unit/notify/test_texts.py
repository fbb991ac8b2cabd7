"""The words: complete, short enough, and without anything that they must not say."""

from __future__ import annotations

import ast
import importlib
import re
import shutil
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from services.notify.domain.texts import (
    BODY_MAX,
    LANGUAGES,
    TITLE_MAX,
    Template,
    Texts,
    language_of,
)
from services.notify.policy import PolicyError, load_figures, load_policy, load_texts
from services.notify.settings import Settings
from tests.unit.notify.cases import POLICIES, texts

SERVICES = ("enrollment", "messaging", "prescriptions", "reports")
KEY = re.compile(r"[a-z_]+\.[a-z_]+")
#: Words of results, units, diagnoses and forms of medicines.
NEVER = re.compile(
    r"阳性|阴性|升高|降低|确诊|卒中|癌|肿瘤|片剂|胶囊|毫克|mmol|\bmg\b|\bml\b|μ|positive|negative"
    r"|tablet|capsule|cancer|stroke|diagnos(is|ed)",
    re.IGNORECASE,
)


def a_template(**changes: Any) -> dict[str, Any]:
    given: dict[str, Any] = {
        "audience": "person",
        "about_health": True,
        "parameters": {"count": {"max_length": 5, "absent": {"zh-CN": "几", "en": "some"}}},
        "zh-CN": {"title": "标题", "body": "有{count}条"},
        "en": {"title": "Title", "body": "There are {count}"},
    }
    return given | changes


def asked_for(service: str) -> set[str]:
    """What the service asks notify for: whatever its rules name that looks like a text's key
    and is not one of the service's own inputs (commands and timers are named alike)."""
    handlers = importlib.import_module(f"services.{service}.handlers").HANDLERS
    return {
        node.value
        for path in Path("services", service, "domain").rglob("*.py")
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.Constant)
        and isinstance(node.value, str)
        and KEY.fullmatch(node.value)
        and node.value not in handlers
    }


def test_no_service_is_forgotten_here() -> None:
    there = {path.parent.name for path in Path("services").glob("*/handlers.py")}
    assert there == {*SERVICES, "notify", "interop"}  # interop has nobody told


@pytest.mark.parametrize("service", SERVICES)
def test_every_service_asks_for_a_text(service: str) -> None:
    assert asked_for(service)  # or the search finds nothing any more


def test_there_are_the_texts_that_services_ask_for_and_no_others() -> None:
    assert texts().keys() == {"fallback"}.union(*map(asked_for, SERVICES))


@pytest.mark.parametrize("key", sorted(texts().keys()))
def test_no_text_says_a_result_a_diagnosis_or_a_medicine(key: str) -> None:
    template = texts().template(key)
    for language in LANGUAGES:
        words = template.words(language)
        assert not NEVER.search(words.title + words.body)


def test_a_parameter_for_a_result_cannot_be_declared() -> None:
    absent = {"zh-CN": "无", "en": "none"}
    with pytest.raises(ValidationError):
        Template.model_validate(
            a_template(
                **{
                    "parameters": {"result": {"absent": absent}},
                    "zh-CN": {"title": "标题", "body": "{result}"},
                    "en": {"title": "Title", "body": "{result}"},
                }
            )
        )


@pytest.mark.parametrize(
    "changes",
    [
        {"en": None},
        {"zh-CN": {"title": "", "body": "有{count}条"}},
        {"en": {"title": "Title", "body": "no parameter"}},
        {"en": {"title": "Title", "body": "{count} and {date}"}},
        {"en": {"title": "Title", "body": "{count!r}"}},
        {"en": {"title": "Title", "body": "{count:>900}"}},
        {"en": {"title": "Title", "body": "{count.__class__}"}},
        {"en": {"title": "Title" * 25, "body": "{count}"}},
        {"en": {"title": "T" * (TITLE_MAX - 3) + "{count}", "body": "b"}},
        {"en": {"title": "Title", "body": "b" * (BODY_MAX - 3) + "{count}"}},
        {"audience": "everybody"},
        {"about_health": None},
        {"more": 1},
    ],
)
def test_a_template_that_is_incomplete_or_too_long_is_refused(changes: dict[str, Any]) -> None:
    Template.model_validate(a_template())
    with pytest.raises(ValidationError):
        Template.model_validate(a_template(**changes))


@given(st.dictionaries(st.sampled_from(["kind", "count", "valid_on", "x"]), st.text()))
def test_whatever_the_parameters_hold_a_title_is_one_short_line(given: dict[str, str]) -> None:
    for key in sorted(texts().keys()):
        for rendered in texts().render(key, given).values():
            assert 0 < len(rendered.title) <= TITLE_MAX
            assert 0 < len(rendered.body) <= BODY_MAX
            assert len(rendered.title.splitlines()) == 1


def test_a_code_becomes_a_word_in_each_language() -> None:
    rendered = texts().render("report.ready", {"kind": "ultrasound"})
    assert "超声" in rendered["zh-CN"].title
    assert "ultrasound" in rendered["en"].title


def test_an_unknown_code_and_a_missing_parameter_have_a_word_too() -> None:
    for parameters in ({"kind": "x-ray-vision"}, {}):
        assert "检查检验" in texts().render("report.ready", parameters)["zh-CN"].title


def test_a_value_that_is_too_long_is_cut() -> None:
    one = Texts(
        {
            "fallback": Template.model_validate(
                a_template(
                    **{
                        "parameters": {},
                        "zh-CN": {"title": "t", "body": "b"},
                        "en": {"title": "t", "body": "b"},
                    }
                )
            ),
            "a": Template.model_validate(a_template()),
        }
    )
    assert one.render("a", {"count": "1234567"})["en"].body == "There are 1234…"


def test_an_unknown_template_is_told_in_general_words() -> None:
    assert texts().render("no.such", {}) == texts().render("fallback", {})


def test_the_fallback_must_be_there() -> None:
    with pytest.raises(ValueError, match="fallback"):
        Texts({"a": Template.model_validate(a_template())})


@pytest.mark.parametrize(
    ("tag", "language"),
    [("zh", "zh-CN"), ("zh-Hant-TW", "zh-CN"), ("EN-gb", "en"), ("fr", "zh-CN"), (None, "zh-CN")],
)
def test_a_person_reads_the_nearest_of_our_languages(tag: str | None, language: str) -> None:
    assert language_of(tag, "zh-CN") == language


def test_a_file_that_is_wrong_stops_the_start_and_is_named(tmp_path: Path) -> None:
    (tmp_path / "wrong.yaml").write_text("templates: {a: {audience: person}}", encoding="utf-8")
    with pytest.raises(PolicyError, match=r"wrong\.yaml"):
        load_texts(tmp_path)


def test_one_key_in_two_files_stops_the_start(tmp_path: Path) -> None:
    common = (POLICIES / "templates" / "common.yaml").read_text(encoding="utf-8")
    (tmp_path / "a.yaml").write_text(common, encoding="utf-8")
    (tmp_path / "b.yaml").write_text(common, encoding="utf-8")
    with pytest.raises(PolicyError, match="fallback"):
        load_texts(tmp_path)


def test_the_figures_can_be_read_and_a_missing_file_is_named(tmp_path: Path) -> None:
    assert all(figures.channels for figures in load_figures(POLICIES / "notify"))
    with pytest.raises(PolicyError, match=tmp_path.name):
        load_figures(tmp_path)


def test_the_version_of_the_hospitals_day_counts_whatever_its_file_is_called(
    tmp_path: Path,
) -> None:
    shutil.copytree(POLICIES / "templates", tmp_path / "templates")
    figures = (POLICIES / "notify" / "2026-01-01.yaml").read_text(encoding="utf-8")
    later = figures.replace("2026-01-01", "2026-06-01").replace("zh-CN", "en")
    (tmp_path / "notify").mkdir()
    (tmp_path / "notify" / "b-first.yaml").write_text(figures, encoding="utf-8")
    (tmp_path / "notify" / "a-later.yaml").write_text(later, encoding="utf-8")
    policies = load_policy(Settings(policies_dir=tmp_path))
    midnight = datetime(2026, 5, 31, 16, 0, tzinfo=UTC)  # 1 June in Shanghai
    assert policies.at(midnight).default_language == "en"
    assert policies.at(midnight - timedelta(seconds=1)).default_language == "zh-CN"
    assert policies.at(datetime(2025, 1, 1, tzinfo=UTC)).default_language == "zh-CN"

    (tmp_path / "notify" / "c-again.yaml").write_text(figures, encoding="utf-8")
    with pytest.raises(PolicyError, match="a day of its own"):
        load_policy(Settings(policies_dir=tmp_path))
