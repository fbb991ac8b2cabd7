"""Is all of the signed prescription on paper, legible, with a code that a phone reads?"""

from __future__ import annotations

import json
import time
from dataclasses import replace
from typing import Any

import pypdfium2
import pytest
import zxingcpp

from services.prescriptions.api.printing import LABELS, Page, printed
from services.prescriptions.domain.documents import SignedForm
from services.prescriptions.domain.form import canonical
from services.prescriptions.domain.transitions import Status
from tests.unit.prescriptions.given import hospital, policies

LINK = "http://127.0.0.1:8004/verify#h=h1&p=p&c=c"


def form(**changes: Any) -> SignedForm:
    case = hospital()
    [made] = case.renewed().forms
    text = canonical({**json.loads(made.text), **changes})
    return made.model_copy(update={"text": text})


def page(form: SignedForm, language: Any = "zh-CN") -> Page:
    policy = policies().versions[0]
    return Page(form, policy, LINK, language)


@pytest.mark.parametrize("status", [Status.WITHHELD, Status.LAPSED])
@pytest.mark.parametrize(("language", "void"), [("zh-CN", "作废"), ("en", "VOID")])
def test_what_must_not_be_dispensed_says_so_on_every_page(
    status: Status, language: Any, void: str
) -> None:
    made = form(dosage="口服。" * 2000)
    crossed = printed(replace(page(made, language), status=status))
    document = pypdfium2.PdfDocument(crossed)
    pages = [p.get_textpage().get_text_range().replace("　", "") for p in document]
    document.close()
    assert len(pages) > 1 and all(void in text for text in pages)
    assert LABELS[status][language] in words(crossed)
    assert void not in words(printed(page(made, language)))


def words(pdf: bytes) -> str:
    document = pypdfium2.PdfDocument(pdf)
    text = "".join(p.get_textpage().get_text_range() for p in document)
    document.close()
    return text.replace("\r", "").replace("\n", "")


def test_everything_that_was_signed_stands_on_paper() -> None:
    made = form(
        department={"code": "cardiology", "name": "心血管内科"},
        diagnoses=["I10", "E11.900"],
        dosage="口服，每日一次，每次一片，早餐后",
        patient={"id": "p1", "name": "李一", "gender": "female", "birth_date": "1970-05-01"},
        medication={
            "code": "C08CA01", "name": "苯磺酸氨氯地平片", "ingredient_code": "amlodipine",
            "form": "片剂", "strength": "5 mg",
        },
    )  # fmt: skip
    text = words(printed(page(made)))
    content = json.loads(made.text)
    for part in (
        "处 方 笺", "医疗机构：h1", "心血管内科", "姓名：李一", "性别：女", "55 岁", "1970-05-01",
        "病历号：p1", "I10、E11.900", "2026-03-02", "苯磺酸氨氯地平片 片剂 5 mg", "7 tablet",
        "C08CA01", "口服，每日一次，每次一片，早餐后", "供 7 天", "dr1", "ph1", "10:00", "rx1",
        content["prescription_id"], content["policy"], made.digest,
    ):  # fmt: skip
        assert part in text, part
    assert "Prescription" in words(printed(page(made, "en")))


@pytest.mark.parametrize("language", ["zh-CN", "en"])
def test_a_phone_reads_the_link_from_the_code(language: str) -> None:
    made = form()
    link = (
        f"https://renewals.hospital.example:8443/verify#h={'h' * 64}&p={'p' * 36}&c={made.digest}"
    )
    pdf = printed(Page(made, policies().versions[0], link, language))  # type: ignore[arg-type]
    # As a cheap printer leaves it: 150 dots an inch.
    with pypdfium2.PdfDocument(pdf) as document:
        paper = document[0].render(scale=150 / 72).to_pil()
    assert [code.text for code in zxingcpp.read_barcodes(paper)] == [link]


def test_the_same_prescription_is_the_same_file() -> None:
    made = form()
    first = printed(page(made))
    time.sleep(1.1)  # a second is the grain of a PDF's dates
    assert printed(page(made)) == first


@pytest.mark.parametrize(
    "markup", ["<b>x</b>", "a & b", "<para>", "</para><img src='x'/>", "5 < 6"]
)
def test_what_looks_like_markup_is_text(markup: str) -> None:
    assert markup.replace(" ", "") in words(printed(page(form(dosage=markup)))).replace(" ", "")


def test_a_character_that_the_font_lacks_is_named_and_not_left_out() -> None:
    patient = {"id": "p1", "name": "李𬭎é", "gender": "male", "birth_date": "1970-05-01"}
    assert "李〔U+2CB4E〕é" in words(printed(page(form(patient=patient))))


def test_a_long_dosage_goes_on_over_pages_to_its_end() -> None:
    made = form(dosage="每日一次。" * 1590 + "完")
    pdf = printed(page(made))
    assert len(pypdfium2.PdfDocument(pdf)) > 1
    assert "完" in words(pdf) and made.digest in words(pdf)


def test_a_quantity_that_nobody_told_is_said_to_be_unknown() -> None:
    made = form()
    content = {k: v for k, v in json.loads(made.text).items() if k != "quantity"}
    text = words(printed(page(made.model_copy(update={"text": canonical(content)}))))
    assert "（数量未注明）" in text


def test_a_changed_dosing_stands_beside_the_old_one_and_says_what_it_replaces() -> None:
    made = form(
        dosage="每日两次，每次一片",
        replaces="rx1",
        refills_allowed=1,
        doctor_name="王一",
        before={
            "dosage": "每日一次，每次一片",
            "strength": "5 mg",
            "quantity": {"value": "28", "unit": "片"},
            "days_supply": 28,
        },
    )
    signatures = [
        s.model_copy(update={"name": name})
        for s, name in zip(made.signatures, ("other", "赵一"), strict=True)
    ]
    text = words(printed(page(made.model_copy(update={"signatures": tuple(signatures)}))))
    for part in (
        "用法用量（已更改）：每日两次，每次一片",
        "原处方为：5 mg；× 28 片；每日一次，每次一片；供 28 天",
        "代替原处方：rx1",
        "可续方：1",
        "王一（dr1）",  # as it was signed
        "赵一（ph1）",
    ):
        assert part in text, part
    assert "续方自" not in text
