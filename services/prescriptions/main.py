"""How is prescriptions put together? ``python -m services.prescriptions.main``"""

from __future__ import annotations

from zoneinfo import ZoneInfo

from libs.common import adult_age, metrics, service, yaml_files
from libs.common.decision import Answer, Input
from libs.common.service import ServiceSpec
from services.prescriptions.api import acting, copies, reading, verification
from services.prescriptions.domain.documents import Refill, Status
from services.prescriptions.domain.policy import RenewalPolicies
from services.prescriptions.handlers import DOCTOR_DECISION, HANDLERS
from services.prescriptions.senders import signer_of
from services.prescriptions.settings import Settings
from services.prescriptions.store import COLLECTIONS


def load_policy(settings: Settings) -> RenewalPolicies:
    files = sorted((settings.policies_dir / "renewal").glob("*.yaml"))
    read = [yaml_files.read(f) for f in files]
    zone = ZoneInfo(settings.hospital_time_zone)
    return RenewalPolicies(read, zone, adult_age.load(settings.policies_dir))


def count(input: Input, answer: Answer) -> None:
    """What was decided, as the figures that a hospital looks at."""
    for refill in answer.changes:
        if not isinstance(refill, Refill):
            continue
        metrics.REFILLS.labels(status=refill.status).inc()
        step = refill.history[-1]
        if input.type == DOCTOR_DECISION and step.from_status is Status.WAITING_DOCTOR:
            waited = step.at - refill.requested_at
            metrics.REFILL_DECISION_SECONDS.observe(waited.total_seconds())


SPEC = ServiceSpec(
    name="prescriptions",
    settings=Settings,
    topics=(
        "hospital.prescriptions",
        "hospital.patients",
        "hospital.clinical",
        "hospital.encounters",
        "hospital.staff",
        "enrollment.events",
    ),
    handlers=HANDLERS,
    collections=COLLECTIONS,
    routers=(acting.router, reading.router, verification.router, copies.router, copies.pages),
    access={**acting.ACCESS, **reading.ACCESS, **verification.ACCESS, **copies.ACCESS},
    texts=acting.TEXTS,
    policy=load_policy,
    adapters=signer_of,
    observe=count,
)

if __name__ == "__main__":
    service.main(SPEC)
