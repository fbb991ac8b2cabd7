"""Is a medicine compared by the substances that it holds, and never where these aren't known?"""

from __future__ import annotations

import pytest
from pydantic import ValidationError

from services.prescriptions.domain.substances import Combinations
from tests.unit.prescriptions.given import NOW, policies

LISTED = policies().at(NOW).combinations(NOW)


@pytest.mark.parametrize(
    ("code", "held"),
    [
        ("C08CA01", {"C08CA01"}),
        ("c08ca01", {"C08CA01"}),
        ("C09DB01", {"C09CA03", "C08CA01"}),
        ("C09DX04", {"C09CA03", "C09DX04"}),  # sacubitril has no code of its own
        ("C09", {"C09"}),  # a class, of combinations and others
        ("C09D", None),  # of combinations only
        ("C09DB", None),
        ("C09DX99", None),
        ("A10BD02", None),  # metformin with some sulfonylurea
        ("A10BH51", {"A10BH01", "C10AA01"}),
        ("A10BH01", {"A10BH01"}),
        ("LOCAL:1", None),
        ("C08CA0", None),
        ("", None),
    ],
)
def test_a_code_is_of_its_substances_or_it_is_not_known(code: str, held: set[str] | None) -> None:
    assert LISTED.of(code) == held


def test_where_nobody_listed_combinations_any_code_may_be_one() -> None:
    unlisted = Combinations()
    assert unlisted.of("C08CA01") is None
    assert unlisted.is_against("C08CA01", "C08CA01") is True
    assert unlisted.is_against("J01CA04", "C08CA01") is None


def test_what_combinations_hold_has_a_source() -> None:
    said = LISTED.model_dump()
    assert Combinations.model_validate(said) == LISTED
    with pytest.raises(ValidationError, match="source"):
        Combinations.model_validate({**said, "source": ()})
