"""Which roles may call which route, and does the service count what it decides?"""

from __future__ import annotations

import re
from pathlib import Path

from libs.common.auth import Role
from libs.common.clock import Ports
from libs.common.http.access import PUBLIC
from libs.common.http.app import create_app
from services.prescriptions.api import copies
from services.prescriptions.domain.assigning import Claim
from services.prescriptions.domain.transitions import TABLE, Status
from services.prescriptions.handlers import CANCEL, CLAIM, DOCTOR_DECISION, PHARMACIST_REVIEW
from services.prescriptions.main import SPEC, count
from tests.support.access import Callers, assert_access
from tests.support.counted import counted, since, stage
from tests.unit.prescriptions import given
from tests.unit.prescriptions.given import HOUR, hospital

PATIENT_SIDE = frozenset({Role.PATIENT, Role.GUARDIAN})
DOCTOR = frozenset({Role.DOCTOR})
PHARMACIST = frozenset({Role.PHARMACIST})
PHARMACY = frozenset({Role.INTEGRATION})


async def test_every_route_is_open_to_its_roles_only() -> None:
    callers = Callers()
    app = create_app(
        title="prescriptions",
        routers=SPEC.routers,
        access=SPEC.access,
        verifier=callers.verifier,
        ports=Ports(),
        texts=SPEC.texts,
    )
    await assert_access(
        app,
        callers,
        {
            ("POST", "/v1/refills"): PATIENT_SIDE,
            ("POST", "/v1/refills/{id}/cancel"): PATIENT_SIDE,
            ("POST", "/v1/refills/{id}/consent"): PATIENT_SIDE,
            ("POST", "/v1/refills/{id}/doctor-decision"): DOCTOR,
            ("POST", "/v1/refills/{id}/pharmacist-review"): PHARMACIST,
            ("GET", "/v1/refills"): PATIENT_SIDE | DOCTOR | PHARMACIST,
            ("GET", "/v1/refills/{id}"): PATIENT_SIDE | DOCTOR | PHARMACIST,
            ("GET", "/v1/my-patients"): PATIENT_SIDE,
            ("GET", "/v1/renewable"): PATIENT_SIDE,
            ("GET", "/v1/declaration"): PATIENT_SIDE | DOCTOR | PHARMACIST,
            ("GET", "/v1/answer-reasons"): DOCTOR | PHARMACIST,
            ("POST", "/v1/refills/{id}/claim"): DOCTOR | PHARMACIST,
            ("POST", "/v1/refills/{id}/release"): DOCTOR | PHARMACIST,
            ("POST", "/v1/refills/{id}/hand-over"): DOCTOR | PHARMACIST,
            ("GET", "/v1/me/out-of-office"): DOCTOR | PHARMACIST,
            ("PUT", "/v1/me/out-of-office"): DOCTOR | PHARMACIST,
            ("GET", "/v1/work-lists/doctor"): DOCTOR,
            ("GET", "/v1/work-lists/pharmacist"): PHARMACIST,
            ("GET", "/v1/work-lists/counts"): DOCTOR | PHARMACIST,
            ("GET", "/v1/work-lists/doctor/live"): DOCTOR,
            ("GET", "/v1/work-lists/pharmacist/live"): PHARMACIST,
            ("GET", "/v1/refills/live"): PATIENT_SIDE,
            ("GET", "/v1/prescriptions/{id}/verification"): PUBLIC,
            ("POST", "/v1/prescriptions/verification"): PUBLIC,
            ("GET", "/v1/signing-keys"): PUBLIC,
            ("GET", "/v1/refills/{id}/prescription"): (
                PATIENT_SIDE | DOCTOR | PHARMACIST | PHARMACY
            ),
            ("POST", "/v1/pharmacies/search"): PATIENT_SIDE | DOCTOR | PHARMACIST,
            ("PUT", "/v1/refills/{id}/fulfilment"): PATIENT_SIDE,
            ("GET", "/v1/refills/{id}/fulfilment"): PATIENT_SIDE | PHARMACIST | PHARMACY,
            ("GET", "/v1/refills/{id}/prescription.pdf"): PATIENT_SIDE | DOCTOR | PHARMACIST,
            ("GET", "/verify"): PUBLIC,
            ("GET", "/verify.js"): PUBLIC,
            ("GET", "/verify.css"): PUBLIC,
        },
    )


def renewals(status: Status) -> float:
    return counted("refills_total", status=status, department="cardiology")


def waited() -> tuple[float, float]:
    name = "refill_decision_seconds"
    return counted(f"{name}_count"), counted(f"{name}_sum")


def test_renewals_are_counted_by_status_and_the_doctors_first_decision_is_timed() -> None:
    case = hospital()
    before = {s: renewals(s) for s in Status}
    stages = ("doctor", "pharmacist", "effective")
    taken = {s: stage("refill", s) for s in stages}
    decisions, seconds = waited()
    id = case.asked()
    claimed = case.command_input(CLAIM, Claim(), actor=given.DOCTOR, subject=id)
    count(claimed, case.send(claimed))  # no step: nothing is counted
    case.advance(HOUR)
    doctor = case.doctor(id, "approve")
    count(case.command_input(DOCTOR_DECISION, case.handlers[CANCEL].data()), doctor)
    case.advance(HOUR)
    returned = case.pharmacist(id, "return")
    count(case.command_input(PHARMACIST_REVIEW, case.handlers[CANCEL].data()), returned)
    again = case.doctor(id, "approve")  # the second decision is not the first
    count(case.command_input(DOCTOR_DECISION, case.handlers[CANCEL].data()), again)
    case.advance(HOUR)
    passed = case.pharmacist(id, "pass")
    count(case.command_input(PHARMACIST_REVIEW, case.handlers[CANCEL].data()), passed)
    assert {s: renewals(s) - before[s] for s in Status if renewals(s) != before[s]} == {
        Status.WAITING_PHARMACIST: 2,
        Status.RETURNED: 1,
        Status.EFFECTIVE: 1,
    }
    assert waited() == (decisions + 1, seconds + 3600)
    took = {s: since(taken[s], stage("refill", s)) for s in stages}
    assert took == {"doctor": (1, 3600), "pharmacist": (2, 7200), "effective": (1, 3 * 3600)}


def test_the_page_that_verifies_has_words_for_every_status_that_a_prescription_may_have() -> None:
    reached = {Status.EFFECTIVE}
    while more := {to for (at, _), to in TABLE.items() if at in reached} - reached:
        reached |= more
    script = (Path(copies.__file__).parents[1] / "pages" / "verify.js").read_text(encoding="utf-8")
    said = set(re.findall(r"^  (\w+): \".+ · .+\",$", script, re.M))
    assert {*reached, "superseded", "stopped"} <= said
    assert re.search(r"if \(now\.in_part\) add\(\".+ · .+\"\);", script)
