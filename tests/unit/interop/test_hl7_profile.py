"""Does a sender's profile say all that differs, and nothing by accident?"""

from __future__ import annotations

from typing import Any

import pytest
from pydantic import ValidationError

from libs.common.events import Disposition, Gender, Interpretation, ReportStatus
from services.interop.edge.profile import LineStatus, Mode, Profile, layered
from tests.unit.interop.hl7_given import DEFAULT, SAMPLE, profile, sample


def test_hl7s_own_tables_are_the_default() -> None:
    tables = profile().tables
    assert tables.sex.codes["F"] is Gender.FEMALE
    assert tables.disposition.codes["07"] is Disposition.AGAINST_ADVICE
    assert tables.disposition.codes["20"] is Disposition.DECEASED
    assert tables.result_status.codes["C"] is ReportStatus.CORRECTED
    assert tables.line_status.codes["W"] is LineStatus.VOID
    assert tables.relationship.codes["EMC"] is None, "to be called is not to act"


def test_each_interpretation_of_ours_has_its_code_in_the_default() -> None:
    codes = profile().tables.interpretation.codes
    assert {i: codes.get(i.value) for i in Interpretation} == {i: i for i in Interpretation}


def test_a_site_says_only_what_differs() -> None:
    site, tables = sample(), sample().tables
    assert (tables.sex.codes["1"], tables.sex.codes["M"]) == (Gender.MALE, Gender.MALE)
    assert tables.disposition.codes["4"] is Disposition.AGAINST_ADVICE
    assert site.defaults.disposition is None and site.mode is Mode.PRODUCTION
    assert site.senders[0].application == "HIS"


def test_laying_one_over_the_other_changes_neither() -> None:
    before = repr((DEFAULT, SAMPLE))
    layered(DEFAULT, SAMPLE)
    assert repr((DEFAULT, SAMPLE)) == before


@pytest.mark.parametrize(
    "wrong",
    [
        {"unheard_of": 1},
        {"mode": "training"},
        {"zone": "Mars/Olympus"},
        {"certificates": ["sha256:12ab"]},
        {"zone": "../etc/passwd"},
        {"visit_number": ["PV1-3"]},
        {"tables": {"sex": {"unknown": "guess"}}},
        {"tables": {"disposition": {"codes": {"01": "heaven"}}}},
        {"tables": {"disposition": {"codes": {1: "home"}}}},  # YAML's number, not a code
        {"tables": {"department": {"codes": {"1": {"code": "A B"}}}}},
        {"defaults": {"days_supply": 0}},
        {"patient": {"type": ["MR"]}},
    ],
)
def test_a_profile_that_says_something_else_is_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        Profile.model_validate(layered(DEFAULT, wrong))
