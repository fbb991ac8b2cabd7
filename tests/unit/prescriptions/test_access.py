"""Which roles may call which route, and does the service count what it decides?"""

from __future__ import annotations

from libs.common import metrics
from libs.common.auth import Role
from libs.common.clock import Ports
from libs.common.http.access import PUBLIC
from libs.common.http.app import create_app
from services.prescriptions.domain.documents import Status
from services.prescriptions.handlers import CANCEL, DOCTOR_DECISION
from services.prescriptions.main import SPEC, count
from tests.support.access import Callers, assert_access
from tests.unit.prescriptions.given import HOUR, hospital

PATIENT_SIDE = frozenset({Role.PATIENT, Role.GUARDIAN})
DOCTOR = frozenset({Role.DOCTOR})
PHARMACIST = frozenset({Role.PHARMACIST})


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
            ("POST", "/v1/refills/{id}/doctor-decision"): DOCTOR,
            ("POST", "/v1/refills/{id}/pharmacist-review"): PHARMACIST,
            ("GET", "/v1/refills"): PATIENT_SIDE | DOCTOR | PHARMACIST,
            ("GET", "/v1/refills/{id}"): PATIENT_SIDE | DOCTOR | PHARMACIST,
            ("GET", "/v1/renewable"): PATIENT_SIDE,
            ("GET", "/v1/declaration"): PATIENT_SIDE | DOCTOR | PHARMACIST,
            ("GET", "/v1/work-lists/doctor"): DOCTOR,
            ("GET", "/v1/work-lists/pharmacist"): PHARMACIST,
            ("GET", "/v1/prescriptions/{id}/verification"): PUBLIC,
            ("POST", "/v1/prescriptions/verification"): PUBLIC,
            ("GET", "/v1/signing-keys"): PUBLIC,
            ("GET", "/v1/refills/{id}/prescription"): PATIENT_SIDE | DOCTOR | PHARMACIST,
            ("GET", "/v1/refills/{id}/prescription.pdf"): PATIENT_SIDE | DOCTOR | PHARMACIST,
            ("GET", "/verify"): PUBLIC,
            ("GET", "/verify.js"): PUBLIC,
            ("GET", "/verify.css"): PUBLIC,
        },
    )


def counted(status: Status) -> float:
    value: float = metrics.REFILLS.labels(status=status)._value.get()
    return value


def waited() -> tuple[float, float]:
    samples = {
        s.name: s.value for m in metrics.REFILL_DECISION_SECONDS.collect() for s in m.samples
    }
    name = "refill_decision_seconds"
    return samples[f"{name}_count"], samples[f"{name}_sum"]


def test_renewals_are_counted_by_status_and_the_doctors_first_decision_is_timed() -> None:
    case = hospital()
    before = {s: counted(s) for s in Status}
    decisions, seconds = waited()
    id = case.asked()
    case.advance(HOUR)
    doctor = case.doctor(id, "approve")
    count(case.command_input(DOCTOR_DECISION, case.handlers[CANCEL].data()), doctor)
    case.pharmacist(id, "return")
    again = case.doctor(id, "approve")  # the second decision is not the first
    count(case.command_input(DOCTOR_DECISION, case.handlers[CANCEL].data()), again)
    passed = case.pharmacist(id, "pass")
    count(case.command_input(CANCEL, case.handlers[CANCEL].data()), passed)
    assert {s: counted(s) - before[s] for s in Status if counted(s) != before[s]} == {
        Status.WAITING_PHARMACIST: 2,
        Status.EFFECTIVE: 1,
    }
    assert waited() == (decisions + 1, seconds + 3600)
