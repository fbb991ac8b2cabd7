"""What do pharmacy orders tell, by the sender's profile?"""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from libs.common.events import (
    Department,
    Medication,
    PrescriptionIssued,
    PrescriptionStopped,
    Quantity,
)
from services.interop.edge.hl7.mapping import Mapped
from services.interop.edge.profile import Profile
from tests.unit.interop.hl7_given import codes, mapped, pid, profile, pv1, refusal, segment


def orc(control: str = "NW", **fields: str) -> str:
    usual = {"f2": "RX1", "f9": "20261120092000", "f12": "d-1^样例^医生"}
    return segment("ORC", **{"f1": control, **usual, **fields})


def rxe(**fields: str) -> str:
    usual = {"f2": "C08CA01^苯磺酸氨氯地平片^ATC", "f3": "5", "f5": "mg", "f7": "^每日一次"}
    return segment("RXE", **{**usual, "f10": "28", "f11": "TAB^片", **fields})


def tq1(**fields: str) -> str:
    return segment("TQ1", **{"f1": "1", "f3": "QD", "f6": "28^D", **fields})


def read(*segments: str, by: Profile | None = None) -> Mapped:
    return mapped("RDE^O11", pid(), pv1(), *segments, by=by)


def issued(*segments: str, by: Profile | None = None) -> PrescriptionIssued:
    (event,) = read(*segments, by=by).events
    assert isinstance(event, PrescriptionIssued)
    return event


def refused(*segments: str, by: Profile | None = None) -> tuple[str, int, int]:
    return refusal("RDE^O11", pid(), pv1(), *segments, by=by)


def test_a_prescription_says_what_how_much_how_long_by_whom() -> None:
    diagnosis = segment("DG1", f3="I10^高血压^I10")
    found = issued(diagnosis, orc(), rxe(f6="TAB^片", f25="5", f26="mg"), tq1())
    assert (found.prescription_id, found.patient_id) == ("RX1:C08CA01", "100")
    assert found.medication == Medication(
        code="C08CA01",
        name="苯磺酸氨氯地平片",
        ingredient_code="C08CA01",
        form="片",
        strength="5mg",
    )
    assert (found.dosage, found.days_supply) == ("每日一次", 28)
    assert found.quantity == Quantity(value=28, unit="片")
    assert (found.prescriber_id, found.department) == ("d-1", Department(code="NEURO"))
    assert found.diagnoses == ("I10",)
    assert found.issued_at == datetime(2026, 11, 20, 1, 20, tzinfo=UTC)
    assert found.updated_at == datetime(2026, 11, 20, 2, 15, tzinfo=UTC)  # the message's own time


@pytest.mark.parametrize(
    ("segments", "place"),
    [
        ((orc(f2="", f3=""), rxe(), tq1()), ("ORC", 2, 101)),
        ((orc(""), rxe(), tq1()), ("ORC", 1, 101)),
        ((orc("??"), rxe(), tq1()), ("ORC", 1, 103)),
        ((orc(), tq1()), ("RXE", 0, 100)),
        ((orc(), rxe(f2=""), tq1()), ("RXE", 2, 101)),
        ((orc(), rxe(f10=""), tq1()), ("RXE", 10, 101)),
        ((orc(), rxe(f10="many"), tq1()), ("RXE", 10, 102)),
        ((orc(), rxe(f10="0"), tq1()), ("RXE", 10, 102)),
        ((orc(), rxe(f5="", f11=""), tq1()), ("RXE", 11, 101)),
        ((orc(), rxe(f3="", f7=""), tq1(f3="")), ("RXE", 7, 101)),
        ((orc(), rxe()), ("RXE", 1, 101)),
        ((orc(), rxe(), tq1(f6="900^D")), ("TQ1", 6, 102)),
        ((orc(f12=""), rxe(), tq1()), ("ORC", 12, 101)),
        ((), ("ORC", 0, 100)),
    ],
)
def test_a_prescription_without_what_it_needs_is_refused_at_the_place(
    segments: tuple[str, ...], place: tuple[str, int, int]
) -> None:
    assert refused(*segments) == place


def test_a_drug_is_known_by_its_atc_code_or_by_the_profiles_table() -> None:
    local = rxe(f2="8690^丙戊酸钠缓释片^LOCAL")
    by = profile(tables={"drug": {"codes": {"LOCAL|8690": {"atc": "N03AG01", "name": "丙戊酸钠"}}}})
    found = issued(orc(), local, tq1(), by=by).medication
    assert (found.code, found.ingredient_code, found.name) == ("N03AG01", "N03AG01", "丙戊酸钠")
    both = rxe(f2="8690^片^LOCAL^C08CA01^氨氯地平^WC")
    assert issued(orc(), both, tq1()).medication.code == "C08CA01"


def test_an_unknown_drug_is_on_no_list_and_seen() -> None:
    local = rxe(f2="8690^某院内制剂^LOCAL")
    found = read(orc(), local, tq1())
    assert found.events[0].medication.code == "LOCAL:8690"  # type: ignore[attr-defined]
    assert codes(found) == {"unknown_code"}
    strict = profile(tables={"drug": {"unknown": "refuse"}})
    assert refused(orc(), local, tq1(), by=strict) == ("RXE", 2, 103)


@pytest.mark.parametrize(
    ("segments", "days"),
    [
        ((rxe(), tq1(f6="4^W")), 4 * 7),
        ((rxe(), tq1(f6="1^月")), 30),
        ((rxe(), tq1(f6="36^HR")), 2),
        ((rxe(), tq1(f6="10")), 10),
        ((rxe(), tq1(f6="", f7="20261120", f8="20261127")), 7),
        ((rxe(f1="1^TID^D7"),), 7),
        ((rxe(f1="1^TID^W2"),), 14),
        ((tq1(f6="3^D"), rxe(), tq1(f6="28^D")), 28),
        ((tq1(f6="3^D"), rxe()), 3),
        ((rxe(), tq1(f6="7^D", f12="S"), tq1(f6="7^D", f12="S"), tq1(f6="14^D")), 28),
        ((rxe(), tq1(f6="7^D"), tq1(f6="14^D"), tq1(f6="10^D")), 14),
        ((rxe(), tq1(f6="7^D", f12="A"), tq1(f6="14^D", f12="S"), tq1(f6="10^D")), 24),
        ((rxe(), tq1(f6="7^D", f12="S"), tq1(f6="")), 7),
        ((rxe(f1="1^QD^D7^^^^^^S~2^QD^D21"),), 28),
    ],
)
def test_the_supply_lasts_as_long_as_the_encoded_order_says(
    segments: tuple[str, ...], days: int
) -> None:
    told = issued(orc(), *segments)
    assert (told.days_supply, told.assumed) == (days, ())


def test_what_the_sender_never_says_can_have_a_default_that_is_seen() -> None:
    by = profile(defaults={"days_supply": 30, "prescriber_id": "d-0", "quantity_unit": "份"})
    found = read(orc(f12=""), rxe(f5="", f11=""), by=by)
    (event,) = found.events
    assert isinstance(event, PrescriptionIssued)
    assert (event.days_supply, event.prescriber_id, event.quantity.unit) == (30, "d-0", "份")
    assert event.assumed == ("days_supply",)
    assert codes(found) == {"defaulted"}


def test_the_visits_physician_stands_in_for_a_prescriber() -> None:
    found = mapped("RDE^O11", pid(), pv1(f7="d-7"), orc(f12=""), rxe(), tq1())
    assert found.events[0].prescriber_id == "d-7"  # type: ignore[attr-defined]
    assert codes(found) == {"defaulted"}


def test_without_instructions_amount_and_frequency_are_put_in_words() -> None:
    assert issued(orc(), rxe(f7=""), tq1(f3="BID")).dosage == "每日两次，每次5mg"
    assert issued(orc(), rxe(f7=""), tq1(f3="Q8H")).dosage == "Q8H，每次5mg"


@pytest.mark.parametrize(
    ("segments", "told"),
    [
        ((rxe(f7=""), tq1(f2="5", f3="BID")), "每日两次，每次5mg"),
        ((rxe(f7=""), tq1(f2="5.0^mg", f3="BID")), "每日两次，每次5mg"),
        ((rxe(f7=""), tq1(f2="2^TAB&片", f3="BID")), "每日两次，每次2片"),
        ((rxe(f7=""), tq1(f2="10", f3="BID")), "每日两次，每次10mg"),
        ((rxe(f3="", f7=""), tq1(f2="2^片", f3="BID")), "每日两次，每次2片"),
        ((rxe(f7="^饭后"), tq1(f2="5", f3="BID")), "饭后"),
        ((rxe(f7="^饭后"), tq1(f2="10", f3="BID")), "饭后；每日两次，每次10mg"),
        (
            (rxe(f7=""), tq1(f2="10", f3="QAM"), tq1(f2="5", f3="QN")),
            "QAM，每次10mg；每晚一次，每次5mg",
        ),
        (
            (rxe(f7="^饭后"), tq1(f3="QD", f6="7^D"), tq1(f2="10", f3="BID", f6="2^W")),
            "饭后；每日一次，每次5mg，共7天；每日两次，每次10mg，共14天",
        ),
        (
            (rxe(f7=""), tq1(f2="10", f11="早餐前"), tq1(f2="5", f11="睡前")),
            "每日一次，每次10mg，早餐前；每日一次，每次5mg，睡前",
        ),
        ((rxe(f7=""), tq1(f3="QD~QN")), "每日一次、每晚一次，每次5mg"),
        ((rxe(f1="10^QD^D7~5^BID^D7", f7=""),), "每日一次，每次10mg；每日两次，每次5mg"),
        ((rxe(f1="5^BID^D7", f7=""),), "每日两次，每次5mg"),
    ],
)
def test_each_line_of_the_timing_with_its_amount_is_told(
    segments: tuple[str, ...], told: str
) -> None:
    assert issued(orc(), *segments).dosage == told


def test_a_dosage_too_long_is_refused_and_not_cut() -> None:
    assert refused(orc(), rxe(f7=f"^{'长' * 8_001}"), tq1()) == ("RXE", 7, 102)


def test_each_medicine_is_a_prescription_of_its_own() -> None:
    other = rxe(f2="N03AG01^丙戊酸钠^ATC")
    found = read(orc(), rxe(), tq1(), orc(), other, tq1(), orc(f2="RX1^PHA"), other, tq1())
    assert ids(found) == ["RX1:C08CA01", "RX1:N03AG01", "RX1@PHA:N03AG01"]
    by_prescription = issued(orc(f2=""), rxe(f15="CF1"), tq1())
    assert by_prescription.prescription_id == "CF1:C08CA01"


def ids(found: Mapped) -> list[str]:
    return [event.prescription_id for event in found.events]  # type: ignore[attr-defined]


def test_a_medicine_is_stopped_by_the_id_that_it_was_issued_by() -> None:
    other = rxe(f2="N03AG01^丙戊酸钠^ATC")
    both = ids(read(orc(), rxe(), tq1(), orc(), other, tq1()))
    assert ids(read(orc("DC"), other)) == both[1:]
    assert ids(read(orc("DC"), "RXO|C08CA01^^ATC")) == both[:1]
    assert refused(orc("DC")) == ("RXE", 0, 100), "which of the two?"
    assert refused(orc("DC"), rxe(f2="")) == ("RXE", 2, 101)


def test_two_medicines_that_nothing_tells_apart_are_refused() -> None:
    assert refused(orc(), rxe(), tq1(), orc(), rxe(), tq1()) == ("ORC", 2, 102)


def test_where_an_orders_number_is_one_medicines_it_is_enough() -> None:
    by = profile(prescriptions={"number_is_enough": True})
    assert ids(read(orc(), rxe(), tq1(), by=by)) == ids(read(orc("DC"), by=by)) == ["RX1"]
    other = rxe(f2="N03AG01^丙戊酸钠^ATC")
    assert refused(orc(), rxe(), tq1(), orc(), other, tq1(), by=by) == ("ORC", 2, 102)
    assert ids(read(orc(f2=""), rxe(f15="CF1"), tq1(), by=by)) == ["CF1:C08CA01"]


@pytest.mark.parametrize(
    ("control", "outcome"),
    [
        ("NW", PrescriptionIssued),
        ("RE", PrescriptionIssued),
        ("RF", PrescriptionIssued),
        ("XO", PrescriptionIssued),
        ("DC", PrescriptionStopped),
        ("CA", PrescriptionStopped),
        ("RP", PrescriptionStopped),
        ("HD", PrescriptionStopped),
        ("RL", None),
        ("SC", None),
    ],
)
def test_the_order_control_settles_what_has_happened(control: str, outcome: type | None) -> None:
    found = read(orc(control), rxe(), tq1())
    assert [type(event) for event in found.events] == ([outcome] if outcome else [])


def stop(*segments: str) -> PrescriptionStopped:
    (event,) = read(*segments).events
    assert isinstance(event, PrescriptionStopped)
    return event


@pytest.mark.parametrize(
    "held", [orc("HD"), orc("OH"), orc("HR"), orc("SC", f5="HD"), orc("XO", f5="HD")]
)
def test_what_is_put_on_hold_is_stopped_for_that_reason(held: str) -> None:
    issued_before = issued(orc(), rxe(), tq1())
    told = stop(held, rxe(), tq1())
    assert told.prescription_id == issued_before.prescription_id
    assert (told.reason, told.stopped_by) == ("on_hold", "d-1")
    assert told.stopped_at == datetime(2026, 11, 20, 1, 20, tzinfo=UTC)


@pytest.mark.parametrize(
    "ended", [orc("DC"), orc("DR"), orc("CR"), orc("SC", f5="DC"), orc(f5="DC")]
)
def test_what_is_stopped_for_good_is_not_on_hold(ended: str) -> None:
    assert stop(ended, rxe(), tq1()).reason is None


@pytest.mark.parametrize("control", ["RL", "OE", "OR"])
def test_a_release_lifts_no_stop_and_the_note_says_so(control: str) -> None:
    found = read(orc(control), rxe(), tq1())
    assert (found.events, codes(found)) == ((), {"stop_stands"})


@pytest.mark.parametrize("status", ["IP", "CM", "SC", "已审核"])
def test_a_status_by_which_it_goes_on_takes_nothing_from_an_order(status: str) -> None:
    found = read(orc(f5=status), rxe(), tq1())
    assert isinstance(found.events[0], PrescriptionIssued) and found.notes == ()


def test_a_status_that_says_nothing_or_nothing_known_gives_no_event() -> None:
    for status in ("", "IP", "CM", "??"):
        found = read(orc("SC", f5=status), rxe(), tq1())
        assert found.events == () and "not_used" in codes(found)


def test_what_is_replaced_under_its_number_goes_on_and_under_another_is_stopped() -> None:
    more = rxe(f3="10", f7="^每日一次，每次10毫克")
    (on,) = read(orc("RP"), rxe(), tq1(), orc("RO"), more, tq1()).events
    assert isinstance(on, PrescriptionIssued) and on.dosage == "每日一次，每次10毫克"
    former, new = read(orc("RP"), rxe(), tq1(), orc("RO", f2="RX2"), more, tq1()).events
    assert isinstance(former, PrescriptionStopped) and isinstance(new, PrescriptionIssued)
    assert (former.prescription_id, new.prescription_id) == ("RX1:C08CA01", "RX2:C08CA01")
    assert refused(orc("HD"), rxe(), orc("NW"), rxe(), tq1()) == ("ORC", 2, 102), "on hold or not?"


def test_without_a_visit_the_entering_organisation_is_the_department() -> None:
    found = mapped("RDE^O25", pid(), orc(f17="0301^神经内科"), rxe(), tq1())
    assert found.events[0].department == Department(code="0301", name="神经内科")  # type: ignore[attr-defined]
    assert refusal("RDE^O25", pid(), orc(), rxe(), tq1()) == ("PV1", 0, 100)
