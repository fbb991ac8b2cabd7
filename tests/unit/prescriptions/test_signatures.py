"""Which signatures does a rule take?"""

from __future__ import annotations

import json
from datetime import timedelta
from typing import Any

import pytest

from libs.common.decision import Actor, Answer, Common, Decision, Input
from services.prescriptions.domain.doctor import DoctorDecision, SignedDecision
from services.prescriptions.domain.documents import SigningKey
from services.prescriptions.domain.form import PrescriptionForm, digest
from services.prescriptions.domain.pharmacist import PharmacistReview, SignedReview
from services.prescriptions.domain.reasons import Reason
from services.prescriptions.domain.signatures import complete
from services.prescriptions.domain.transitions import Status
from services.prescriptions.handlers import DOCTOR_DECISION, PHARMACIST_REVIEW
from tests.unit.prescriptions.given import (
    COLLEAGUE,
    DAUGHTER,
    DAY,
    DOCTOR,
    NOW,
    PHARMACIST,
    Hospital,
    hospital,
    linked,
    merged,
    prescription,
    reason,
    registered,
    signed,
)

BOTH = Actor("dr1", frozenset({"doctor", "pharmacist"}), frozenset({"cardiology"}))


def approve(case: Hospital, id: str, by: Actor = DOCTOR) -> Input:
    data = SignedDecision(decision="approve", valid_days=3)
    [input] = case.signed(case.command_input(DOCTOR_DECISION, data, actor=by, subject=id))
    return input


def go(case: Hospital, id: str, by: Actor = PHARMACIST) -> Input:
    data = SignedReview(decision="pass")
    [input] = case.signed(case.command_input(PHARMACIST_REVIEW, data, actor=by, subject=id))
    return input


def tampered(input: Input, **changes: Any) -> Input:
    assert input.data.signed is not None
    text = changes.pop("text", input.data.signed.text)
    return input._replace(data=signed(input, text, **changes))


def waiting(case: Hospital) -> str:
    id = case.asked()
    case.doctor(id, "approve", valid_days=3)
    return id


def test_an_effective_renewal_has_two_signatures_of_one_text() -> None:
    case = hospital()
    refill = case.renewed()
    [form] = refill.forms
    assert [(s.role, s.person_id, s.kid) for s in form.signatures] == [
        ("doctor", "dr1", "key-of-dr1"),
        ("pharmacist", "ph1", "key-of-ph1"),
    ]
    content = json.loads(form.text)
    assert form.digest == digest(form.text)
    assert content["prescription_id"] == refill.new_prescription_id
    assert content["valid_on"] == str(refill.valid_on)
    assert content["patient"] == {
        "id": "p1", "name": "李一", "gender": "unknown", "birth_date": "1970-05-01",
    }  # fmt: skip
    assert {k.id: k.person_id for k in case.docs(SigningKey)} == {
        "key-of-dr1": "dr1",
        "key-of-ph1": "ph1",
    }


@pytest.mark.parametrize("actor", ["doctor", "pharmacist"])
def test_without_a_signature_nothing_moves(actor: str) -> None:
    case = hospital()
    id = case.asked() if actor == "doctor" else waiting(case)
    before = case.refill(id)
    input = approve(case, id) if actor == "doctor" else go(case, id)
    bare = input._replace(data=input.data.model_copy(update={"signed": None}))
    assert reason(case.send(bare)) == Reason.UNSIGNED
    assert case.refill(id) == before
    # The way without the fields at all is no way around it, either.
    model = DoctorDecision if actor == "doctor" else PharmacistReview
    plain = model.model_validate(
        input.data.model_dump(exclude={"signed", "checked"}, exclude_none=True)
    )
    again = input._replace(id="again", data=plain)
    assert reason(case.send(again)) == Reason.UNCHECKED
    assert case.refill(id) == before


def changed_fields(text: str) -> list[str]:
    """The text with one character changed, at every place where it stays JSON."""
    others = []
    for n, c in enumerate(text):
        if c.isalnum():
            other = text[:n] + ("1" if c != "1" else "2") + text[n + 1 :]
            try:
                PrescriptionForm.model_validate_json(other)
            except ValueError:
                continue
            others.append(other)
    return others


def test_a_signature_of_any_other_text_is_not_taken() -> None:
    case = hospital()
    id = case.asked()
    input = approve(case, id)
    others = changed_fields(input.data.signed.text)
    assert len(others) > 100
    nonce = json.loads(input.data.signed.text)["nonce"]
    for n, other in enumerate(others):
        if json.loads(other)["nonce"] != nonce:
            continue  # any nonce will do; it only has to be signed
        answer = case.send(tampered(input._replace(id=f"changed-{n}"), text=other))
        assert reason(answer) == Common.CHANGED, other
    assert case.refill(id).status is Status.WAITING_DOCTOR


@pytest.mark.parametrize(
    "changes",
    [{"person_id": "dr2"}, {"role": "pharmacist"}, {"role": "nurse"}, {"person_id": ""}],
)
def test_a_signature_of_somebody_else_or_in_another_role_is_not_taken(
    changes: dict[str, str],
) -> None:
    case = hospital()
    id = case.asked()
    assert reason(case.send(tampered(approve(case, id), **changes))) == Reason.KEY_OF_ANOTHER
    assert case.refill(id).status is Status.WAITING_DOCTOR


@pytest.mark.parametrize("changes", [{"kid": "key-of-dr1"}, {"jwk": {"kty": "EC", "x": "new"}}])
def test_a_key_is_one_persons_and_never_another_key(changes: dict[str, Any]) -> None:
    case = hospital()
    case.renewed()
    id = waiting(case)
    assert reason(case.send(tampered(go(case, id), **changes))) == Reason.KEY_OF_ANOTHER
    assert case.refill(id).status is Status.WAITING_PHARMACIST


def test_the_doctor_can_not_be_the_pharmacist_with_either_key() -> None:
    case = hospital()
    id = waiting(case)
    text = case.refill(id).forms[-1].text
    data = SignedReview(decision="pass")
    input = case.command_input(PHARMACIST_REVIEW, data, actor=BOTH, subject=id)
    for kid in ("key-of-dr1", "another"):
        answer = case.send(input._replace(id=kid, data=signed(input, text, kid=kid)))
        assert reason(answer) == Reason.SEPARATION_OF_DUTIES
    assert case.refill(id).status is Status.WAITING_PHARMACIST


def test_what_is_returned_and_approved_again_is_another_text_and_both_are_kept() -> None:
    case = hospital()
    id = waiting(case)
    old = go(case, id)
    case.pharmacist(id, "return")
    case.advance(timedelta(minutes=5))
    case.doctor(id, "approve", valid_days=3)
    assert reason(case.send(old)) == Common.CHANGED  # of the text that was returned
    case.pharmacist(id, "pass")
    first, second = case.refill(id).forms
    assert [json.loads(f.text)["version"] for f in (first, second)] == [1, 2]
    assert [len(f.signatures) for f in (first, second)] == [1, 2]
    assert first.digest != second.digest


def test_what_is_told_between_signing_and_saving_is_not_signed_over() -> None:
    case = hospital()
    id = case.asked()
    input = approve(case, id)
    renamed = registered().model_copy(update={"name": "李壹", "updated_at": NOW})
    case.event(renamed)
    assert reason(case.send(input)) == Common.CHANGED
    case.event(merged("p1", "p2"))
    assert reason(case.send(input._replace(id="again"))) == Common.CHANGED
    assert json.loads(approve(case, id).data.signed.text)["patient"]["id"] == "p2"


def test_a_signature_made_before_midnight_is_not_taken_after_it() -> None:
    case = hospital(now=NOW.replace(hour=15, minute=59, second=59))  # 23:59:59 in Shanghai
    id = case.asked()
    input = approve(case, id)
    case.advance(timedelta(seconds=2))
    assert reason(case.send(input)) == Common.CHANGED
    assert case.refill(id).status is Status.WAITING_DOCTOR


def test_without_the_patients_name_there_is_no_prescription() -> None:
    case = hospital()
    case.event(prescription("rx7", patient_id="p7"))
    case.event(linked(patient="p7"))
    id = case.asked("rx7", "p7", DAUGHTER)

    def answer() -> Answer:
        return case.doctor(id, "approve")

    assert reason(answer()) == Reason.RECORD_MISSING
    assert case.refill(id).status is Status.WAITING_DOCTOR
    case.event(registered("p7", at=NOW))
    assert isinstance(answer(), Decision)


def test_what_was_approved_before_signatures_were_kept_goes_back_to_the_doctor() -> None:
    case = hospital()
    id = waiting(case)
    case.put(case.refill(id).but(forms=()))
    assert reason(case.pharmacist(id, "pass")) == Reason.UNSIGNED_BY_DOCTOR
    case.pharmacist(id, "return")
    case.doctor(id, "approve")
    assert isinstance(case.pharmacist(id, "pass"), Decision)


def test_declining_and_refusing_need_no_signature() -> None:
    case = hospital()
    id = case.asked()
    data = SignedDecision(decision="decline", reason="not_appropriate")
    input = case.command_input(DOCTOR_DECISION, data, actor=COLLEAGUE, subject=id)
    assert isinstance(case.send(input), Decision)


def test_a_record_that_is_merged_brings_its_name() -> None:
    case = hospital()
    case.event(registered("p8", at=NOW - DAY))
    case.event(merged("p8", "p9"))
    case.event(prescription("rx9", patient_id="p9"))
    id = case.asked("rx9", "p9", Actor("p9", frozenset({"patient"})))
    case.doctor(id, "approve")
    assert json.loads(case.refill(id).forms[-1].text)["patient"]["name"] == "李一"


@pytest.mark.parametrize(
    ("signed_by", "counts"),
    [
        ([("doctor", "dr1"), ("pharmacist", "ph1")], True),
        ([("pharmacist", "ph1"), ("doctor", "dr1")], True),
        ([("doctor", "dr1")], False),
        ([("pharmacist", "ph1")], False),
        ([], False),
        ([("doctor", "dr1"), ("pharmacist", "dr1")], False),
        ([("doctor", "dr2"), ("pharmacist", "ph1")], False),  # not the doctor of the text
        ([("doctor", "dr1"), ("doctor", "dr1")], False),
        ([("doctor", "dr1"), ("nurse", "n1")], False),
        ([("doctor", "dr1"), ("pharmacist", "ph1"), ("pharmacist", "ph2")], False),
    ],
)
def test_a_prescription_is_signed_by_its_doctor_and_one_pharmacist(
    signed_by: list[tuple[str, str]], counts: bool
) -> None:
    case = hospital()
    form = PrescriptionForm.model_validate_json(case.renewed().forms[-1].text)
    assert complete(form, signed_by) is counts
