"""Is what is signed the same bytes for the same prescription, and other bytes for another?"""

from __future__ import annotations

import json
from datetime import date
from typing import Any

import pytest
import rfc8785
from hypothesis import given
from hypothesis import strategies as st

from libs.common.events import Gender
from services.prescriptions.domain.documents import Refill
from services.prescriptions.domain.form import (
    FormPatient,
    PrescriptionForm,
    canonical,
    decimal,
    digest,
    made_out,
)
from tests.unit.prescriptions.given import NOW, hospital

TEXTS = st.text(st.characters(exclude_categories=["Cs"]), max_size=40)
CONTENTS = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53) + 1, 2**53 - 1) | TEXTS,
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(st.text("abcdefghijklmnopqrstuvwxyz_", max_size=8), inner, max_size=5)
    ),
    max_leaves=20,
)


@given(CONTENTS)
def test_the_canonical_text_is_that_of_rfc_8785(content: Any) -> None:
    assert canonical(content).encode() == rfc8785.dumps(content)


@pytest.mark.parametrize("number", [float("nan"), float("inf")])
def test_what_is_no_json_is_not_made_canonical(number: float) -> None:
    with pytest.raises(ValueError, match="not JSON compliant"):
        canonical({"value": number})


@pytest.mark.parametrize(
    ("value", "text"),
    [(28.0, "28"), (0.5, "0.5"), (1e-7, "0.0000001"), (1e21, "1" + "0" * 21), (100.0, "100"),
     (0.1 + 0.2, "0.30000000000000004")],
)  # fmt: skip
def test_a_quantity_is_written_in_full(value: float, text: str) -> None:
    assert decimal(value) == text


@given(st.floats(min_value=1e-300, max_value=1e300))
def test_a_quantity_reads_back_as_it_was(value: float) -> None:
    assert float(decimal(value)) == value
    assert set(decimal(value)) <= set("0123456789.")


def refill() -> Refill:
    case = hospital()
    return case.refill(case.asked())


REFILL = refill()


def form(refill: Refill = REFILL, **more: Any) -> PrescriptionForm:
    patient = FormPatient(id="p1", name="李一", gender=Gender.FEMALE, birth_date=date(1970, 5, 1))
    fields: dict[str, Any] = {
        "doctor_id": "dr1",
        "doctor_name": None,
        "at": NOW,
        "valid_on": date(2026, 3, 2),
        "days_supply": 28,
        "policy": "v1",
        "nonce": "n",
        **more,
    }
    return made_out(refill, patient, **fields)


def test_a_form_is_this_text() -> None:
    # Kept here byte by byte: pharmacies and courts verify texts of years ago.
    made = form(REFILL.but(id="r1"))
    assert made.text() == (
        '{"based_on":"rx1","days_supply":28,"department":{"code":"cardiology"},"diagnoses":[],'
        '"doctor_id":"dr1","dosage":"one tablet in the morning","form":"lianxin.prescription.v1",'
        '"hospital":"h1","issued_at":"2026-03-02T02:00:00.000Z","medication":{"code":"C08CA01",'
        '"ingredient_code":"amlodipine","name":"Amlodipine"},"nonce":"n",'
        '"patient":{"birth_date":"1970-05-01","gender":"female","id":"p1","name":"李一"},'
        f'"policy":"v1","prescription_id":"{made.prescription_id}",'
        '"quantity":{"unit":"tablet","value":"7"},"refill_id":"r1","valid_on":"2026-03-02",'
        '"version":1}'
    )
    assert digest(made.text()) == digest(form(REFILL.but(id="r1")).text())
    assert len(digest(made.text())) == 43


def leaves(value: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    if isinstance(value, dict):
        return [p for k, v in value.items() for p in leaves(v, (*path, k))]
    return [path]


@pytest.mark.parametrize("path", leaves(json.loads(form().text())))
def test_every_field_that_differs_makes_another_text(path: tuple[Any, ...]) -> None:
    content = json.loads(form().text())
    at = content
    for step in path[:-1]:
        at = at[step]
    at[path[-1]] = f"{at[path[-1]]}x"
    assert digest(canonical(content)) != digest(form().text())


@given(TEXTS.filter(bool))
def test_a_text_is_signed_as_it_was_told(dosage: str) -> None:
    # Not normalized: U+212B and U+00C5 look alike, and are two texts.
    order = REFILL.order.model_copy(update={"dosage": dosage})
    assert json.loads(form(REFILL.but(order=order)).text())["dosage"] == dosage


def test_a_text_reads_back_as_its_form() -> None:
    assert PrescriptionForm.model_validate_json(form().text()) == form()
