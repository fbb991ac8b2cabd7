"""How is prescriptions put together? ``python -m services.prescriptions.main``"""

from __future__ import annotations

from collections.abc import Coroutine, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import yaml

from libs.common import adult_age, exemplars, metrics, service, yaml_files
from libs.common.decision import Answer, Decision, Input
from libs.common.events import FulfilmentUpdated
from libs.common.runtime import Runtime, ServiceSpec
from services.prescriptions.api import (
    acting,
    assigning,
    copies,
    fulfilment,
    live,
    reading,
    verification,
    work_lists,
)
from services.prescriptions.domain import choosing, dispensing
from services.prescriptions.domain.assignment import Assigned
from services.prescriptions.domain.documents import Refill
from services.prescriptions.domain.pharmacies import Pharmacies, Pharmacy
from services.prescriptions.domain.policy import RenewalPolicies
from services.prescriptions.domain.transitions import Status
from services.prescriptions.handlers import DOCTOR_DECISION, HANDLERS, PHARMACIST_REVIEW
from services.prescriptions.senders import adapters_of, local_rules
from services.prescriptions.settings import Settings
from services.prescriptions.store import COLLECTIONS, WAITS


def load_policy(settings: Settings) -> RenewalPolicies:
    zone, adult = ZoneInfo(settings.hospital_time_zone), adult_age.load(settings.policies_dir)
    read = yaml_files.checked(
        settings.policies_dir / "renewal", lambda one: RenewalPolicies([one], zone, adult)
    )
    pharmacies = load_pharmacies(settings.policies_dir / "pharmacies")
    return RenewalPolicies(read, zone, adult, pharmacies, local_rules.combinations(settings))


def load_pharmacies(folder: Path) -> Pharmacies:
    """One of each file; ``ValueError`` names the file that can't be used."""
    found: list[Pharmacy] = []
    known = Pharmacies()
    for file in sorted(folder.glob("*.yaml")):
        try:
            found.append(Pharmacy.model_validate(yaml_files.read(file)))
            known = Pharmacies(found)
        except (yaml.YAMLError, ValueError) as error:
            raise ValueError(f"{file}: {error}") from error
    return known


#: What changes a renewal and leaves it where it stands.
UNMOVED = frozenset({choosing.CHOSEN, choosing.DELETED, dispensing.KEPT, *Assigned})


def count(input: Input, answer: Answer) -> None:
    """What was decided, as the figures that a hospital looks at."""
    for refill in answer.changes:
        if not isinstance(refill, Refill):
            continue
        if isinstance(input.data, FulfilmentUpdated):
            for wrong in refill.irregular:
                metrics.REFILLS_IRREGULAR.labels(reason=wrong).inc()
        if isinstance(answer, Decision) and answer.note in UNMOVED:
            continue
        step = refill.history[-1]
        if step.from_status is step.to_status:
            continue  # somebody was told
        department = metrics.department(refill.department_code)
        metrics.REFILLS.labels(status=refill.status, department=department).inc()
        asked = (step.at - refill.requested_at).total_seconds()
        if input.type == DOCTOR_DECISION and step.from_status is Status.WAITING_DOCTOR:
            metrics.REFILL_DECISION_SECONDS.observe(asked, exemplars.of(input.traceparent))
            _took("doctor", asked, input)
        elif input.type == PHARMACIST_REVIEW and step.from_status is Status.WAITING_PHARMACIST:
            _took("pharmacist", (step.at - refill.history[-2].at).total_seconds(), input)
            if refill.status is Status.EFFECTIVE:
                _took("effective", asked, input)


def _took(stage: str, seconds: float, input: Input) -> None:
    metrics.JOURNEY_STAGE_SECONDS.labels(journey="refill", stage=stage).observe(
        seconds, exemplars.of(input.traceparent)
    )


metrics.begin("refill", "doctor", "pharmacist", "effective")


_SPEC = ServiceSpec(
    name="prescriptions",
    settings=Settings,
    topics=(
        "hospital.prescriptions",
        "hospital.patients",
        "hospital.clinical",
        "hospital.encounters",
        "hospital.staff",
        "hospital.pharmacy",
        "enrollment.events",
        "reports.events",
    ),
    handlers=HANDLERS,
    collections=COLLECTIONS,
    waits=WAITS,
    routers=(
        acting.router,
        reading.router,
        work_lists.router,
        assigning.router,
        verification.router,
        copies.router,
        copies.pages,
        fulfilment.router,
    ),
    access={
        **acting.ACCESS,
        **reading.ACCESS,
        **work_lists.ACCESS,
        **live.ACCESS,
        **assigning.ACCESS,
        **verification.ACCESS,
        **copies.ACCESS,
        **fulfilment.ACCESS,
    },
    texts={**acting.TEXTS, **assigning.TEXTS, **fulfilment.TEXTS},
    policy=load_policy,
    adapters=adapters_of,
    observe=count,
)


def new_spec() -> ServiceSpec:
    """Prescriptions with wakes of its own: two replicas in one process need two."""
    wakes = live.new_wakes()
    wake = live.waker(wakes)

    def committed(input: Input, answer: Answer) -> None:
        wake(input, answer)
        count(input, answer)

    def background(runtime: Runtime) -> Sequence[Coroutine[Any, Any, None]]:
        return [wakes.listen(runtime.database, runtime.ports)]

    # Its own first: /refills/live is no renewal's id.
    routers = (live.router(wakes), *_SPEC.routers)
    return replace(_SPEC, routers=routers, observe=committed, background=background)


SPEC = new_spec()

if __name__ == "__main__":
    service.main(SPEC)
