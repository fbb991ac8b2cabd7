"""What does the local rule set find, at the edge of each entry?"""

from __future__ import annotations

from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from pydantic import ValidationError

from libs.common import yaml_files
from libs.common.events import Quantity
from services.prescriptions.domain.checks import (
    Current,
    KnownAllergy,
    Medicine,
    NotChecked,
    Question,
    complete,
)
from services.prescriptions.domain.local_checks import daily_mg, findings
from services.prescriptions.domain.rule_set import RuleSets

FILE = Path("policies/clinical/2026-01-01.yaml")
ZONE = ZoneInfo("Asia/Shanghai")
SET = RuleSets([yaml_files.read(FILE)], ZONE).versions[0]
NAMES = {
    "C08CA01": "amlodipine", "C08CA05": "nifedipine", "C09AA02": "enalapril",
    "C09AA05": "ramipril", "C09CA01": "losartan", "C10AA01": "simvastatin",
    "C10AA05": "atorvastatin", "J01FA09": "clarithromycin", "C03DA01": "spironolactone",
    "A10BA02": "metformin", "A10BB01": "glibenclamide", "C02CA04": "doxazosin",
    "C07AB02": "metoprolol", "C09DB01": "valsartan and amlodipine", "C09CA03": "valsartan",
    "C09DA03": "valsartan and hydrochlorothiazide", "C10BX03": "atorvastatin and amlodipine",
    "C10AA07": "rosuvastatin", "C10AB04": "gemfibrozil", "L04AD01": "ciclosporin",
    "C02LA51": "reserpine and diuretics", "C09DX04": "sacubitril and valsartan",
}  # fmt: skip


def medicine(code: str = "C08CA01", mg_a_day: float | None = None, **more: Any) -> dict[str, Any]:
    name = NAMES.get(code, code)
    if mg_a_day is not None:
        quantity = Quantity(value=28, unit="片")
        more = {"strength": f"{mg_a_day} mg", "quantity": quantity, "days_supply": 28, **more}
    # Where a sender's table names no ingredient, it is the code: of a combination, too.
    ingredient = code if " and " in name else name
    fields = {"code": code, "name": name, "ingredient_code": ingredient, "dosage": "once a day"}
    return {**fields, **more}


def taking(code: str, mg_a_day: float | None = None, **more: Any) -> Current:
    since = datetime(2026, 2, 1, tzinfo=UTC)
    return Current(**medicine(code, mg_a_day), since=since, supply_known=True, **more)


def question(code: str = "C08CA01", mg: float | None = None, **more: Any) -> Question:
    order = Medicine(**{**medicine(code, mg), **more.pop("order", {})})
    told = {
        "sex": "male",
        "age": 60,
        "conditions": ("I10",),
        "allergies": (),
        "current": (),
        **more,
    }
    return Question(patient_id="p1", order=order, **told)


def said(asked: Question) -> dict[str, str]:
    """Of each kind of check, what it says: alerts with their severity, or why not."""
    found: dict[str, list[str]] = {}
    for c in complete(findings(SET, asked)):
        what = f"{c.severity} {c.id}" if c.severity else f"{c.verdict} {c.why or ''}".strip()
        found.setdefault(c.check, []).append(what)
    return {check: ", ".join(whats) for check, whats in found.items()}


@pytest.mark.parametrize(
    ("order", "other", "expected"),
    [
        (("C09AA02",), ("C09CA01",), "major raas-dual:C09CA01:losartan"),
        (("C09CA01",), ("C09AA02",), "major raas-dual:C09AA02:enalapril"),
        (("C09AA02",), ("C08CA01",), "passed"),
        (
            ("C09AA02",),
            ("C09DX04",),
            "contraindicated sacubitril-ace-inhibitor:C09DX04:C09DX04,"
            " major raas-dual:C09DX04:C09DX04",
        ),
        (("C09CA01",), ("C03DA01",), "moderate potassium-sparing-raas:C03DA01:spironolactone"),
        (("C10AA01",), ("J01FA09",), "contraindicated simvastatin-cyp3a4:J01FA09:clarithromycin"),
        (("C10AA05", 20), ("J01FA09",), "passed"),
        (("C10AA05", 21), ("J01FA09",), "major atorvastatin-clarithromycin:J01FA09:clarithromycin"),
        # The limit is simvastatin's, whichever of the two is renewed.
        (("C10AA01", 20), ("C08CA01", 10), "passed"),
        (("C10AA01", 20.5), ("C08CA01",), "major simvastatin-amlodipine:C08CA01:amlodipine"),
        (("C08CA01", 5), ("C10AA01", 40), "major simvastatin-amlodipine:C10AA01:simvastatin"),
        (("C08CA01", 40), ("C10AA01", 20), "passed"),
        (("C10AA01",), ("C08CA01",), "not_checked unknown"),  # its dose can't be read
        (("C07AB02",), ("C10AA01",), "not_checked not_covered"),
        (("C09AA02",), ("H-4711",), "not_checked unknown"),  # a code of the hospital's own
        # Labels of the statins.
        (
            ("C10AA01",),
            ("C10AB04",),
            "contraindicated simvastatin-contraindicated:C10AB04:gemfibrozil",
        ),
        (
            ("C10AB04",),
            ("C10AA01",),
            "contraindicated simvastatin-contraindicated:C10AA01:simvastatin",
        ),
        (
            ("C10AA01",),
            ("L04AD01",),
            "contraindicated simvastatin-contraindicated:L04AD01:ciclosporin",
        ),
        (
            ("C10AA07",),
            ("L04AD01",),
            "contraindicated statin-ciclosporin-contraindicated:L04AD01:ciclosporin",
        ),
        (("C10AA05",), ("L04AD01",), "major statin-ciclosporin:L04AD01:ciclosporin"),
        (("C10AA05",), ("C10AB04",), "major statin-gemfibrozil:C10AB04:gemfibrozil"),
        # Some entry of each is none of the two together.
        (("C10AA01",), ("C10AB05",), "not_checked not_covered"),
        (("C10AA01",), ("C09AA02",), "not_checked not_covered"),
        (("C10AA05",), ("C08CA01",), "passed"),  # its source says so of this pair
        (("C10AA05",), ("C08CA05",), "not_checked not_covered"),
        (("A10BA02",), ("A10BH01",), "passed"),
        (("A10BA02",), ("C03DA01",), "not_checked not_covered"),
        # Combinations, by what they hold.
        (("C09DB01",), ("C09AA02",), "major raas-dual:C09AA02:enalapril"),
        (
            ("C10BX03",),
            ("C10AB04",),
            "major statin-gemfibrozil:C10AB04:gemfibrozil, not_checked not_covered",
        ),  # of amlodipine with it nothing is said
        (("C10AA01", 20), ("C09DB01",), "not_checked not_covered"),  # valsartan with it
        (
            ("C10AA01", 40),
            ("C09DB01",),
            "major simvastatin-amlodipine:C09DB01:C09DB01, not_checked not_covered",
        ),
        # How much of 80 mg is the statin was not told.
        (("C10BX03", 80), ("J01FA09",), "not_checked unknown, not_checked not_covered"),
        (("C09AA02",), ("C07FB07",), "not_checked not_covered"),  # bisoprolol and amlodipine
        (("C08CA01",), ("C09DA03",), "passed"),
        (("C08CA01",), ("C09DA09",), "not_checked not_covered"),  # which diuretic is not listed
        (
            ("C09AA02",),
            ("C03EA01",),
            "moderate potassium-sparing-raas:C03EA01:C03EA01, not_checked not_covered",
        ),
    ],
)
def test_interactions(order: tuple[Any, ...], other: tuple[Any, ...], expected: str) -> None:
    asked = question(*order, current=(taking(*other),))
    assert said(asked)["interaction"] == expected


def test_of_several_others_each_counts_and_what_was_not_compared_is_named() -> None:
    others = (taking("C03AA03"), taking("C07AB02"), taking("C10AB05"), taking("C09AA05"))
    [alert, open_] = [
        c for c in findings(SET, question("C09CA01", current=others)) if c.check == "interaction"
    ]
    assert alert.id == "raas-dual:C09AA05:ramipril"
    assert (open_.why, open_.figures) == (
        NotChecked.NOT_COVERED,
        {"not_covered": ["metoprolol", "C10AB05"]},
    )
    assert said(question("C09CA01"))["interaction"] == "passed"


def test_an_alert_says_with_what_in_both_languages_and_where_it_stands() -> None:
    asked = question("C10AA01", 40, current=(taking("C08CA01"),))
    [alert] = [c for c in findings(SET, asked) if c.id.startswith("simvastatin-amlodipine")]
    assert alert.text["en"].startswith("Of simvastatin with amlodipine, simvastatin is 20 mg a day")
    assert "（现为 40 mg）" in alert.text["zh-CN"]
    assert alert.source and alert.figures["daily"] == 40 and alert.figures["supply_known"]


@pytest.mark.parametrize(
    ("code", "mg", "more", "expected"),
    [
        ("A10BA02", 2550, {"order": {"form": "片"}}, "passed"),
        ("A10BA02", 2551, {"order": {"form": "片"}}, "major metformin-adult"),
        ("A10BA02", 2000, {"order": {"form": "缓释片"}}, "passed"),
        ("A10BA02", 2001, {"order": {"form": "缓释片"}}, "major metformin-prolonged-release"),
        ("A10BA02", 2001, {"order": {"form": "Extended release tablet"}},
         "major metformin-prolonged-release"),
        ("A10BA02", 2001, {}, "not_checked unknown"),  # which form it is was not told
        ("A10BA02", 2000, {}, "passed"),
        ("A10BA02", 2000, {"age": 16, "order": {"form": "tablet"}}, "passed"),
        ("A10BA02", 2001, {"age": 16, "order": {"form": "tablet"}}, "major metformin-child"),
        ("A10BA02", 2001, {"age": 17, "order": {"form": "tablet"}}, "passed"),
        ("A10BA02", 2001, {"age": None, "order": {"form": "tablet"}}, "not_checked unknown"),
        ("A10BA02", 500, {"age": 9, "order": {"form": "tablet"}}, "not_checked unknown"),
        ("C08CA01", 10, {}, "passed"),
        ("C08CA01", 10.5, {}, "major amlodipine"),
        ("C08CA01", None, {}, "not_checked unknown"),
        ("C07AB02", 50, {}, "not_checked not_covered"),
        ("C10AA01", 40, {}, "passed"),
        ("C10AA01", 80, {}, "major simvastatin"),
        ("C10AA05", 80, {}, "passed"),
        ("C10AA05", 81, {}, "major atorvastatin"),
        ("C09AA02", 41, {}, "major enalapril"),
        ("C09CA01", 101, {}, "major losartan"),
        ("C09CA03", 321, {}, "major valsartan"),
        # What is right for an adult is not said of a child; what is too much, is.
        ("C08CA01", 10, {"age": 18}, "passed"),
        ("C08CA01", 10, {"age": 17}, "not_checked unknown"),
        ("C08CA01", 10, {"age": None}, "not_checked unknown"),
        ("C08CA01", 10.5, {"age": 17}, "major amlodipine"),
        ("C08CA01", 10.5, {"age": None}, "major amlodipine"),
        ("A10BA02", 2000, {"age": None, "order": {"form": "tablet"}}, "not_checked unknown"),
        ("A10BD07", 1000, {}, "not_checked not_covered"),
    ],
)  # fmt: skip
def test_doses(code: str, mg: float | None, more: dict[str, Any], expected: str) -> None:
    assert said(question(code, mg, **more))["dose"] == expected


@pytest.mark.parametrize(
    ("strength", "quantity", "unit", "days", "expected"),
    [
        ("850 mg", 84, "tablet", 28, 2550),
        ("850 mg", 85, "tablet", 28, 2580.357),
        ("0.5g", 56, "片", 28, 1000),
        ("０．５ｇ", 56, "粒", 28, 1000),
        ("5mg/片", 28, "Tablets", 28, 5),
        ("50 µg", 28, "tablet", 28, 0.05),
        ("50 微克", 28, "片", 28, 0.05),
        ("5 mg/160 mg", 28, "tablet", 28, None),  # two ingredients
        ("20 mg/5 ml", 1, "bottle", 28, None),
        ("5 mg", 2, "盒", 28, None),  # how many are in a box was not told
        ("5 mg", 28, "tablet", None, None),
        ("5 IU", 28, "tablet", 28, None),
        (None, 28, "tablet", 28, None),
    ],
)
def test_a_daily_dose_is_read_or_it_is_not_known(
    strength: str | None, quantity: float, unit: str, days: int | None, expected: float | None
) -> None:
    told = medicine(
        strength=strength, quantity=Quantity(value=quantity, unit=unit), days_supply=days
    )
    assert daily_mg(Medicine(**told)) == expected
    assert daily_mg(Medicine(**{**told, "quantity": None})) is None


@pytest.mark.parametrize(
    ("code", "more", "expected"),
    [
        ("C09AA02", {"conditions": ("O10.000",)}, "contraindicated pregnancy-raas"),
        ("C09CA01", {"conditions": ("Z34.9",)}, "contraindicated pregnancy-raas"),
        ("C10AA01", {"conditions": ("Z33",)}, "major pregnancy-statin"),
        ("C09AA02", {"conditions": ("Z36",)}, "not_checked unknown"),  # nobody told, either way
        ("C09AA02", {}, "not_checked unknown"),
        ("C09AA02", {"age": 11}, "passed"),
        ("C09AA02", {"age": 12}, "not_checked unknown"),
        ("C09AA02", {"age": 55}, "not_checked unknown"),
        ("C09AA02", {"age": 56}, "passed"),
        ("C09AA02", {"age": 57, "conditions": ("O80",)}, "contraindicated pregnancy-raas"),
        ("C09AA02", {"age": None}, "not_checked unknown"),
        ("C09AA02", {"sex": None}, "not_checked unknown"),
        ("C09AA02", {"sex": "unknown"}, "not_checked unknown"),
        ("C09AA02", {"sex": "male", "age": 30}, "passed"),
        ("C08CA01", {"conditions": ("O10",)}, "not_checked not_covered"),
        ("C10BX03", {"conditions": ("O10",)}, "major pregnancy-statin"),
        ("C09DX99", {"conditions": ("O10",)}, "contraindicated pregnancy-raas"),
        ("C09AA02", {"sex": "male", "conditions": ("O10",)}, "contraindicated pregnancy-raas"),
    ],
)
def test_pregnancy(code: str, more: dict[str, Any], expected: str) -> None:
    assert said(question(code, **{"sex": "female", "age": 30, **more}))["pregnancy"] == expected


@pytest.mark.parametrize(
    ("code", "age", "expected"),
    [
        ("A10BB01", 64, "passed"),
        ("A10BB01", 65, "major beers-glibenclamide"),
        ("C02CA04", 65, "moderate beers-alpha-blocker"),
        ("A10BA02", 9, "major metformin-too-young"),
        ("A10BA02", 10, "passed"),
        ("A10BB01", None, "not_checked unknown"),
        ("C08CA01", 65, "not_checked not_covered"),
        # What is said of children says nothing of adults, and of the old nothing of children.
        ("A10BA02", 17, "passed"),
        ("A10BA02", 18, "not_checked not_covered"),
        ("A10BB01", 18, "passed"),
        ("A10BB01", 17, "not_checked not_covered"),
        ("A10BD07", 9, "major metformin-too-young, not_checked not_covered"),
        ("A10BD07", 10, "not_checked not_covered"),  # of sitagliptin nothing is said
        ("A10BD02", 65, "not_checked not_covered"),  # which sulfonylurea is not told
    ],
)
def test_age(code: str, age: int | None, expected: str) -> None:
    assert said(question(code, age=age))["age"] == expected


@pytest.mark.parametrize(
    ("other", "expected"),
    [
        (taking("C08CA05"), "moderate same-class:C08CA05:nifedipine"),
        (taking("C09AA02"), "passed"),
        (taking("C09DB01"), "major same-ingredient:C09DB01:C09DB01"),
        (taking("C09BB02"), "moderate same-class:C09BB02:C09BB02"),  # lercanidipine
        (taking("C09DA03"), "passed"),
        (taking("C02LA51"), "not_checked not_covered"),
        (taking("H-4711"), "not_checked unknown"),
    ],
)
def test_duplicates(other: Current, expected: str) -> None:
    assert said(question(current=(other,)))["duplicate"] == expected


@pytest.mark.parametrize(
    ("order", "other", "expected"),
    [
        ("C09CA03", "C09DA03", "major same-ingredient:C09DA03:C09DA03"),
        ("C09DB01", "C09DA03", "major same-ingredient:C09DA03:C09DA03"),
        ("C09DB01", "C09CA01", "moderate same-class:C09CA01:losartan"),
        ("C09DB01", "C09AA02", "passed"),
        ("C09CA03", "C09DX04", "major same-ingredient:C09DX04:C09DX04"),
        ("C02LA51", "C09AA02", "not_checked not_covered"),
        ("C02LA51", "C02LA01", "moderate same-class:C02LA01:C02LA01"),
        ("A10BA02", "A10BD02", "not_checked not_covered"),
    ],
)
def test_a_combination_is_compared_by_what_it_holds(order: str, other: str, expected: str) -> None:
    assert said(question(order, current=(taking(other),)))["duplicate"] == expected


@pytest.mark.parametrize(
    ("allergies", "expected"),
    [
        ((("C09AA05", "ATC"),), "major allergy-in-class:C09AA05"),
        ((("C09CA01", "ATC"),), "passed"),
        # The rule of the policy refuses these; they are not said twice.
        ((("C09AA02", "ATC"),), "passed"),
        ((("C09A", "atc"),), "passed"),
        (((None, None),), "not_checked unknown"),
        ((("C09AA05", "ATC"), (None, None)),
         "major allergy-in-class:C09AA05, not_checked unknown"),
        ((("91936005", "SNOMED"),), "not_checked unknown"),
        ((), "passed"),
        (None, "not_checked unknown"),
    ],
)  # fmt: skip
def test_allergies(allergies: tuple[tuple[str, str], ...] | None, expected: str) -> None:
    told = None if allergies is None else tuple(
        KnownAllergy(code=c, system=s, text="the substance") for c, s in allergies
    )  # fmt: skip
    assert said(question("C09AA02", allergies=told))["allergy"] == expected


@pytest.mark.parametrize(
    ("code", "allergy", "expected"),
    [
        # The rule of the policy refuses the first three.
        ("C09DB01", "C08CA01", "passed"),
        ("C09DB01", "C08", "passed"),
        ("C09DX01", "C09DB01", "passed"),
        ("C09DB01", "C09CA01", "major allergy-in-class:C09CA01"),
        ("C08CA01", "C09DB01", "major allergy-in-class:C09DB01"),  # or it was the valsartan
        ("C09AA02", "C09DB01", "passed"),
        ("C09AA02", "C02LA51", "not_checked not_covered"),
        ("C02LA51", "J01CA04", "not_checked not_covered"),
        ("C02LA51", "C02LA01", "major allergy-in-class:C02LA01"),
        ("C09AA02", "penicillin", "not_checked not_covered"),  # no ATC code at all
    ],
)
def test_an_allergy_is_compared_with_what_the_medicine_holds(
    code: str, allergy: str, expected: str
) -> None:
    told = (KnownAllergy(code=allergy, system="ATC", text="the substance"),)
    asked = question(code, allergies=told)
    assert said(asked)["allergy"] == expected
    named = [c.figures for c in findings(SET, asked) if c.check == "allergy" and c.why]
    assert named in ([], [{"not_covered": ["the substance"]}])


def test_of_a_medicine_without_an_atc_code_nothing_passes() -> None:
    asked = question("H-4711", sex="female", age=30)
    assert {v.split()[0] for v in said(asked).values()} == {"not_checked"}


def test_every_kind_is_answered_and_no_alert_id_stands_twice() -> None:
    everything = tuple(taking(code) for code in NAMES)
    for code in NAMES:
        found = complete(
            findings(SET, question(code, 3000, current=everything, sex="female", age=70))
        )
        assert NotChecked.NOT_ANSWERED not in [c.why for c in found]
        ids = [c.id for c in found if c.severity is not None]
        assert len(set(ids)) == len(ids)


@pytest.mark.parametrize(
    ("where", "change"),
    [
        (("interactions", 0), {"source": []}),
        (("interactions", 0), {"severity": "grave"}),
        (("interactions", 0), {"text": {"en": "x"}}),
        (("interactions", 0), {"text": {"en": "{who}", "zh-CN": "x"}}),
        (("interactions", 0), {"id": "sacubitril-ace-inhibitor"}),
        (("interactions", 0), {"surprise": 1}),
        (("doses", 0), {"mg_a_day": 0}),
        (("doses", 0), {"id": "raas-dual"}),
        (("complete", 0), {"source": []}),
        (("combinations", "holds"), {"C09DB01": ["C09CA03"]}),  # one is no combination
        (("combinations", "holds"), {"C08CA01": ["C09CA03", "C08CA05"]}),  # below no class
        (("combinations", "holds"), {"C09DB01": ["C09CA03", "C08"]}),
        (("combinations", "holds"), {"C09DB01": ["C09CA03", "C09DA03"]}),
    ],
)
def test_a_set_that_can_not_work_fails_at_the_start(
    where: tuple[str, int | str], change: dict[str, Any]
) -> None:
    broken = yaml_files.read(FILE)
    broken[where[0]][where[1]] |= change
    with pytest.raises((ValidationError, KeyError)):
        RuleSets([broken], ZONE)


def test_the_version_of_the_day_checks() -> None:
    first, second = yaml_files.read(FILE), yaml_files.read(FILE)
    second |= {"version": "next", "in_force_from": date(2026, 7, 1)}
    both = RuleSets([second, first], ZONE)
    assert both.at(datetime(2026, 6, 30, 15, 59, tzinfo=UTC)).version == "clinical-2026-01-01"
    assert both.at(datetime(2026, 6, 30, 16, 0, tzinfo=UTC)).version == "next"
