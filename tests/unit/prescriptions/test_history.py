"""Does the checker of histories find every kind of fault, and nothing where there is none?"""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest

from services.prescriptions.domain.documents import Changes, Refill
from services.prescriptions.domain.facts import Outcome, Verdict
from services.prescriptions.domain.form import digest
from services.prescriptions.domain.history import BY, LATE, SKEW, Fault, Wrong, faults
from services.prescriptions.domain.transitions import Action, Status
from tests.unit.prescriptions.given import DAUGHTER, DAY, HOUR, NOW, hospital, linked, policies
from tests.unit.prescriptions.test_deciding import REACHED


def found(refill: Refill, **more: Any) -> list[Fault]:
    return list(faults(refill, policies(), **more))


def renewed() -> Refill:
    """Returned once, so it has two forms: asked, approved, returned, approved, passed."""
    case = hospital()
    case.event(linked())
    id = case.asked(by=DAUGHTER)
    for review in ("return", "pass"):
        case.advance(HOUR)
        case.doctor(id, "approve")
        case.advance(HOUR)
        case.pharmacist(id, review)
    refill = case.refill(id)
    assert refill.status is Status.EFFECTIVE
    return refill


@pytest.mark.parametrize("status", Status)
def test_what_the_rules_have_made_has_no_fault(status: Status) -> None:
    case = hospital()
    refill = case.refill(REACHED[status](case))
    assert found(refill, now=case.now) == []


def test_a_renewal_that_a_rule_refused_at_once_has_no_fault() -> None:
    case = hospital()
    case.asked()
    assert case.ask()
    for refill in case.docs(Refill):
        assert found(refill) == []


def test_it_is_said_whose_each_step_is() -> None:
    assert set(BY) == set(Action)


def test_one_renewal_with_all_of_its_steps_has_no_fault() -> None:
    assert found(renewed()) == []


def test_what_a_doctor_changed_has_no_fault_and_no_more_is_left_than_was_allowed() -> None:
    case = hospital()
    id = case.asked()
    case.doctor(id, "change", quantity={"value": 14, "unit": "tablet"}, refills_allowed=1,
                comment="for longer")  # fmt: skip
    assert found(case.refill(id)) == []
    case.pharmacist(id, "pass")
    refill = case.refill(id)
    assert found(refill) == []
    assert found(refill.but(remaining=2)) == [Fault(Wrong.FIELD, field="remaining")]


# -- planted ------------------------------------------------------------------------------


def at(n: int, refill: Refill, **changes: Any) -> Refill:
    """``refill`` with another step ``n``."""
    steps = list(refill.history)
    steps[n - 1] = steps[n - 1].model_copy(update=changes)
    changed: Refill = refill.but(history=tuple(steps))
    return changed


def without(n: int, refill: Refill) -> Refill:
    changed: Refill = refill.but(history=(*refill.history[: n - 1], *refill.history[n:]))
    return changed


def form(refill: Refill, **changes: Any) -> Refill:
    *before, last = refill.forms
    changed: Refill = refill.but(forms=(*before, last.model_copy(update=changes)))
    return changed


def signed(refill: Refill, *order: int, **changes: Any) -> Refill:
    """The last form with these of its signatures, the last of them changed."""
    chosen = [refill.forms[-1].signatures[n] for n in order]
    chosen[-1] = chosen[-1].model_copy(update=changes)
    return form(refill, signatures=tuple(chosen))


def reworded(refill: Refill, old: str, new: str) -> Refill:
    """The last form, whole but with another word in it."""
    text = refill.forms[-1].text.replace(old, new)
    assert text != refill.forms[-1].text
    return form(refill, text=text, digest=digest(text))


REFUSED = Outcome(rule="limit", verdict=Verdict.REFUSED)

PLANTED: list[tuple[str, Callable[[Refill], Refill], Fault]] = [
    ("no history", lambda r: r.but(history=()), Fault(Wrong.NO_HISTORY)),
    ("a step is missing", lambda r: without(3, r), Fault(Wrong.GAP, 3)),
    ("the first is missing", lambda r: without(1, r), Fault(Wrong.GAP, 1)),
    (
        "a way that there is not",
        lambda r: at(3, r, action=Action.REJECT),
        Fault(Wrong.NOT_IN_TABLE, 3),
    ),
    (
        "another end of a way",
        lambda r: at(5, r, to_status=Status.RETURNED),
        Fault(Wrong.NOT_IN_TABLE, 5),
    ),
    (
        "time goes back",
        lambda r: at(3, r, at=r.history[1].at - 2 * SKEW),
        Fault(Wrong.TIME_GOES_BACK, 3),
    ),
    ("another status", lambda r: r.but(status=Status.CANCELLED), Fault(Wrong.STATUS_DIFFERS)),
    ("the last step is missing", lambda r: without(5, r), Fault(Wrong.STATUS_DIFFERS)),
    ("approved by nobody", lambda r: at(2, r, person_id=None), Fault(Wrong.NO_PERSON, 2)),
    ("passed by nobody", lambda r: at(5, r, person_id=None), Fault(Wrong.NO_PERSON, 5)),
    ("passed by a program", lambda r: at(5, r, role="system"), Fault(Wrong.ROLE, 5)),
    ("approved by a pharmacist", lambda r: at(4, r, role="pharmacist"), Fault(Wrong.ROLE, 4)),
    ("asked for by a doctor", lambda r: at(1, r, role="doctor"), Fault(Wrong.ROLE, 1)),
    ("approved by who asked", lambda r: at(4, r, person_id="p5"), Fault(Wrong.OWN_REQUEST, 4)),
    ("passed by who asked", lambda r: at(5, r, person_id="p5"), Fault(Wrong.OWN_REQUEST, 5)),
    ("one approved and passed", lambda r: at(5, r, person_id="dr1"), Fault(Wrong.ONE_PERSON, 5)),
    ("passed when returned", lambda r: without(4, r), Fault(Wrong.NOT_APPROVED, 4)),
    ("a rule said no", lambda r: at(2, r, outcomes=(REFUSED,)), Fault(Wrong.RULE_SAID_NO, 2)),
    (
        "passed too late",
        lambda r: at(5, r, at=r.history[3].at + DAY),
        Fault(Wrong.AFTER_DEADLINE, 5),
    ),
    (
        "approved too late",
        lambda r: at(2, r, at=r.history[0].at + 2 * DAY),
        Fault(Wrong.AFTER_DEADLINE, 2),
    ),
    (
        "by rules that are gone",
        lambda r: at(2, r, policy="renewal-1999"),
        Fault(Wrong.POLICY_UNKNOWN, 2),
    ),
    ("no forms", lambda r: r.but(forms=()), Fault(Wrong.FORM, field="forms.1")),
    ("a form is missing", lambda r: r.but(forms=r.forms[:1]), Fault(Wrong.FORM, field="forms.2")),
    (
        "a form too many",
        lambda r: r.but(forms=(*r.forms, r.forms[-1])),
        Fault(Wrong.FORM, field="forms.3"),
    ),
    ("no form at all", lambda r: form(r, text="{}"), Fault(Wrong.FORM, field="forms.2")),
    (
        "a byte of the form",
        lambda r: form(r, text=r.forms[-1].text.replace("one tablet", "two tablets")),
        Fault(Wrong.FORM, field="forms.2"),
    ),
    (
        "a form of another renewal",
        lambda r: reworded(r, r.id, "r9"),
        Fault(Wrong.FORM, field="forms.2"),
    ),
    (
        "a form of another doctor",
        lambda r: reworded(r, '"dr1"', '"dr9"'),
        Fault(Wrong.FORM, field="forms.2"),
    ),
    (
        "the form of before the return",
        lambda r: r.but(forms=(r.forms[1], r.forms[1])),
        Fault(Wrong.FORM, field="forms.1"),
    ),
    (
        "the pharmacist's signature is missing",
        lambda r: signed(r, 0),
        Fault(Wrong.SIGNATURES, field="forms.2"),
    ),
    (
        "the doctor's signature is missing",
        lambda r: signed(r, 1),
        Fault(Wrong.SIGNATURES, field="forms.2"),
    ),
    (
        "the doctor signed twice",
        lambda r: signed(r, 0, 0),
        Fault(Wrong.SIGNATURES, field="forms.2"),
    ),
    (
        "another pharmacist signed",
        lambda r: signed(r, 0, 1, person_id="ph9"),
        Fault(Wrong.SIGNATURES, field="forms.2"),
    ),
    (
        "the form before was signed, too",
        lambda r: r.but(
            forms=(r.forms[0].model_copy(update={"signatures": r.forms[1].signatures}), r.forms[1])
        ),
        Fault(Wrong.SIGNATURES, field="forms.1"),
    ),
]


@pytest.mark.parametrize(("plant", "fault"), [p[1:] for p in PLANTED], ids=[p[0] for p in PLANTED])
def test_a_planted_fault_is_found(plant: Callable[[Refill], Refill], fault: Fault) -> None:
    assert fault in found(plant(renewed()))


@pytest.mark.parametrize(
    ("field", "value"),
    [
        *((name, None) for name in ("effective_at", "new_prescription_id", "doctor_id")),
        *((name, None) for name in ("pharmacist_id", "valid_on", "days_supply")),
        *((name, None) for name in ("number", "remaining")),
        ("number", 4),
        ("remaining", 3),
        ("remaining", -1),
        ("changes", Changes(days_supply=14)),
        ("stage", "doctor"),
        ("deadline", NOW),
        ("waiting_since", NOW),
        ("effective_at", NOW),
        ("reason", "x"),
        ("doctor_id", "dr9"),
    ],
)
def test_a_field_that_its_steps_have_not_left_is_found(field: str, value: Any) -> None:
    assert Fault(Wrong.FIELD, field=field) in found(renewed().but(**{field: value}))


@pytest.mark.parametrize("field", ["effective_at", "new_prescription_id", "pharmacist_id"])
def test_what_is_not_effective_has_nothing_of_what_is(field: str) -> None:
    case = hospital()
    refill = case.refill(REACHED[Status.WAITING_PHARMACIST](case))
    value = NOW if field == "effective_at" else "x1"
    assert found(refill.but(**{field: value})) == [Fault(Wrong.FIELD, field=field)]


def test_what_nobody_did_names_nobody() -> None:
    case = hospital()
    refill = case.refill(REACHED[Status.EXPIRED](case))
    assert found(at(3, refill, person_id="dr1")) == [Fault(Wrong.PERSON_OF_NO_STEP, 3)]


def test_what_expires_has_had_its_time() -> None:
    case = hospital()
    refill = case.refill(REACHED[Status.EXPIRED](case))
    due = refill.history[-1].at
    assert found(at(3, refill, at=due - SKEW)) == []
    early = at(3, refill, at=due - SKEW - timedelta(milliseconds=1))
    assert found(early) == [Fault(Wrong.BEFORE_DEADLINE, 3)]


def test_clocks_of_replicas_may_differ_a_little() -> None:
    refill = renewed()
    earlier = at(3, refill, at=refill.history[1].at - SKEW)
    assert found(earlier) == []


def test_what_no_timer_has_ended_is_overdue() -> None:
    case = hospital()
    refill = case.refill(case.asked())
    assert refill.deadline is not None
    assert found(refill, now=refill.deadline + LATE) == []
    later = refill.deadline + LATE + timedelta(milliseconds=1)
    assert found(refill, now=later) == [Fault(Wrong.OVERDUE)]


def test_a_fault_is_told_in_words_that_name_nobody() -> None:
    assert str(Fault(Wrong.GAP, 2)) == "gap at step 2"
    assert str(Fault(Wrong.FIELD, field="number")) == "field: number"
