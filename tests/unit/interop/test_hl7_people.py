"""Who is the patient, and who may act for them, by the sender's profile?"""

from __future__ import annotations

from datetime import UTC, date, datetime

import pytest

from libs.common.events import GuardianLinked, GuardianUnlinked, Relationship
from services.interop.edge.hl7.mapping import map_message
from tests.unit.interop.hl7_given import (
    EVN,
    NOW,
    ZONE,
    codes,
    discharge,
    mapped,
    message,
    pid,
    profile,
    pv1,
    refusal,
    segment,
)

MOTHER = segment("NK1", f2="样例^乙", f3="MTH", f5="13800000002")
BORN_2020 = pid(f7="20200305")


def test_a_childs_guardians_come_with_the_discharge_and_an_adults_kin_does_not() -> None:
    child = discharge(BORN_2020, pv1(), MOTHER)
    assert [g.relationship for g in child.guardians] == [Relationship.MOTHER]
    assert child.guardians[0].name == "样例乙" and child.guardians[0].phone == "13800000002"
    assert discharge(pid(), pv1(), MOTHER).guardians == ()


def test_who_is_a_child_is_asked_for_the_day_that_the_message_is_about_and_for_today() -> None:
    left, today = date(2026, 11, 20), date(2026, 11, 26)
    assert len(discharge(pid(f7="20081127"), pv1(), MOTHER).guardians) == 1
    assert discharge(pid(f7="20081126"), pv1(), MOTHER).guardians == (), "came of age today"
    child = message("ADT^A03", pid(f7="20081127"), pv1(), MOTHER)
    for day in (left, today):
        ages = {left: 18, today: 18, day: 14}
        found = map_message(child, profile(), ZONE, NOW, ages.__getitem__)
        assert found.events[0].guardians == ()  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    ("born", "relationship", "ends", "until"),
    [
        ("20200305", "MTH", "", datetime(2038, 3, 4, 16, tzinfo=UTC)),
        ("20200229", "MTH", "", datetime(2038, 2, 28, 16, tzinfo=UTC)),  # 1 March
        ("20200305", "MTH", "20301231", datetime(2030, 12, 30, 16, tzinfo=UTC)),
        ("20200305", "MTH", "20501231", datetime(2038, 3, 4, 16, tzinfo=UTC)),
        ("20200305", "GRD", "", None),
        ("19680412", "GRD", "20301231", datetime(2030, 12, 30, 16, tzinfo=UTC)),
    ],
)
def test_a_link_ends_with_its_date_and_at_the_latest_when_the_child_comes_of_age(
    born: str, relationship: str, ends: str, until: datetime | None
) -> None:
    guardian = segment("NK1", f2="样例^乙", f3=relationship, f9=ends)
    link = mapped("ADT^A28", EVN, pid(f7=born), guardian).events[1]
    assert isinstance(link, GuardianLinked) and link.valid_until == until


@pytest.mark.parametrize("ends", ["20251231", "20261119", "20261125", "20261126"])
def test_a_link_that_is_over_ends_whatever_was_told_of_it_before(ends: str) -> None:
    mother = segment("NK1", f2="样例^乙", f3="MTH", f9=ends)
    before = mapped("ADT^A28", EVN, BORN_2020, MOTHER).events[1]
    found = mapped("ADT^A28", EVN, BORN_2020, mother)
    _, end = found.events
    assert isinstance(before, GuardianLinked) and isinstance(end, GuardianUnlinked)
    assert end.person_id == before.person_id and before.linked_at <= end.unlinked_at <= NOW
    assert "guardian_left_out" in codes(found)
    assert discharge(BORN_2020, pv1(), mother).guardians == ()
    again = mapped("ADT^A28", EVN, BORN_2020, mother, MOTHER)
    assert [type(e) for e in again.events[1:]] == [GuardianLinked], "the same person, linked anew"


def test_only_an_end_that_the_sender_names_ends_a_link_and_only_of_who_could_have_had_one() -> None:
    of_age = mapped("ADT^A08", EVN, pid(f7="20080101"), MOTHER)
    assert len(of_age.events) == 1, "told with that end when it was told"
    friend = segment("NK1", f2="样例^乙", f3="FND", f9="20251231")
    assert len(mapped("ADT^A08", EVN, BORN_2020, friend).events) == 1


def test_grandparents_are_guardians_only_where_a_profile_says_so() -> None:
    grandmother = segment("NK1", f2="样例^己", f3="GRP")
    assert discharge(BORN_2020, pv1(), grandmother).guardians == ()
    by = profile(guardians={"of_child": ["mother", "father", "grandparent"]})
    assert len(discharge(BORN_2020, pv1(), grandmother, by=by).guardians) == 1


def test_a_guardian_keeps_the_id_that_was_derived_for_them() -> None:
    first = mapped("ADT^A28", EVN, BORN_2020, MOTHER)
    again = mapped("ADT^A31", EVN, BORN_2020, MOTHER)
    sibling = mapped("ADT^A31", EVN, pid(f3="200^^^^MR", f7="20200305"), MOTHER)
    ids = [m.events[1].person_id for m in (first, again, sibling)]  # type: ignore[attr-defined]
    assert ids[0] == ids[1] != ids[2]
    assert "guardian_id_derived" in codes(first)
    without = profile(guardians={"derive_id": False})
    assert len(mapped("ADT^A28", EVN, BORN_2020, MOTHER, by=without).events) == 1


def test_an_identity_card_is_no_guardians_id() -> None:
    mother = segment("NK1", f2="样例^乙", f3="MTH", f33="110101199001010000^^^^NI~77^^^^PI")
    linked = mapped("ADT^A28", EVN, BORN_2020, mother).events[1]
    assert isinstance(linked, GuardianLinked) and linked.person_id == "77"


@pytest.mark.parametrize(
    ("authorities", "patient"), [(["EMPI"], "100"), (["LX"], "7"), (["ELSEWHERE"], None)]
)
def test_the_patients_identifier_is_the_profiles_choice(
    authorities: list[str], patient: str | None
) -> None:
    by = profile(patient={"authorities": authorities, "otherwise_first": False})
    segments = (EVN, pid(f3="100^^^EMPI^MR~7^^^LX&1.2.3&ISO^MR"))
    if patient is None:
        assert refusal("ADT^A08", *segments, by=by) == ("PID", 3, 204)
    else:
        assert mapped("ADT^A08", *segments, by=by).patient_id == patient


@pytest.mark.parametrize("repetition", ["7^^^LAB", "7", "7^^^LAB^VN", "7^^^LAB^LR~8^^^X^XX"])
def test_by_default_a_number_of_another_kind_is_no_patients(repetition: str) -> None:
    assert refusal("ADT^A08", EVN, pid(f3=repetition)) == ("PID", 3, 204)
    guessing = profile(patient={"otherwise_first": True})
    assert mapped("ADT^A08", EVN, pid(f3=repetition), by=guessing).patient_id == "7"


@pytest.mark.parametrize(
    "number",
    [
        "11010519491231002X",  # GB 11643's own example
        "11010519491231002x",
        "110105 19491231 002X",
        "110105194912310021",  # a wrong check digit, a day of birth
        "110105194913310021",  # no such day, the right check digit
    ],
)
def test_an_identity_cards_number_is_no_id_by_whatever_type_it_comes(number: str) -> None:
    for by in (profile(), profile(patient={"otherwise_first": True})):
        for kind in ("MR", "PI"):
            written = f"{number}^^^EMPI^{kind}"
            assert refusal("ADT^A08", EVN, pid(f3=written), by=by) == ("PID", 3, 204)
    found = mapped("ADT^A08", EVN, pid(f3=f"{number}^^^EMPI^MR~77^^^EMPI^PI"))
    assert (found.patient_id, codes(found)) == ("77", {"identity_number"})
    mother = segment("NK1", f2="样例^乙", f3="MTH", f33=f"{number}^^^^PI")
    linked = mapped("ADT^A28", EVN, BORN_2020, mother)
    assert "guardian_id_derived" in codes(linked)


def test_a_long_number_that_is_no_identity_cards_is_an_id() -> None:
    for number in ("110105194913310020", "2026112000000012345", "1101051949123100A"):
        assert mapped("ADT^A08", EVN, pid(f3=f"{number}^^^^MR")).patient_id == number


def test_two_identifiers_never_become_one() -> None:
    written = ("a b", "a\\R\\20b", "a_b", "#1")
    ids = [mapped("ADT^A08", EVN, pid(f3=f"{i}^^^^MR")).patient_id for i in written]
    assert ids == ["a~20b", "a~7e20b", "a_b", "0~~~231"]
