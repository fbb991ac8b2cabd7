"""Do the values that rules are written in keep what they promise?"""

from __future__ import annotations

import uuid
from typing import ClassVar

from hypothesis import given
from hypothesis import strategies as st

from libs.common.decision import NAMESPACE, Document, derived_id


class Thing(Document):
    COLLECTION: ClassVar[str] = "things"

    name: str = ""
    parts: tuple[int, ...] = ()


@given(st.lists(st.text(), min_size=1, max_size=4))
def test_a_derived_id_is_the_uuid5_of_its_parts(parts: list[str]) -> None:
    assert derived_id(*parts) == str(uuid.uuid5(NAMESPACE, "|".join(parts)))


@given(st.text(), st.lists(st.integers()).map(tuple))
def test_a_copy_equals_what_pydantic_would_copy(name: str, parts: tuple[int, ...]) -> None:
    thing = Thing(id="a", hospital="h", name="before")
    ours, theirs = (
        thing.but(name=name, parts=parts),
        thing.model_copy(update={"name": name, "parts": parts}),
    )
    assert ours == theirs
    assert ours.model_dump() == theirs.model_dump()
    assert ours.model_fields_set == theirs.model_fields_set
    assert thing.name == "before"
