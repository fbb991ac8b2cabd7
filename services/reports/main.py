"""How is reports put together? ``python -m services.reports.main``"""

from __future__ import annotations

from zoneinfo import ZoneInfo

import structlog

from libs.common import adult_age, metrics, service, yaml_files
from libs.common.decision import Answer, Decision, Input
from libs.common.events import ResultReleased
from libs.common.service import ServiceSpec
from services.reports.api.routes import ACCESS, TEXTS, router
from services.reports.domain.arrival import UNTOLD
from services.reports.domain.policy import ReportPolicies
from services.reports.domain.report import Why
from services.reports.handlers import HANDLERS
from services.reports.settings import Settings
from services.reports.store import COLLECTIONS

log = structlog.get_logger()

#: Notes of decisions that kept a report back.
WITHHELD = frozenset({Why.PRELIMINARY, Why.HELD, Why.CRITICAL, Why.TALK_FIRST, UNTOLD})


def load_policy(settings: Settings) -> ReportPolicies:
    files = sorted((settings.policies_dir / "reports").glob("*.yaml"))
    read = [yaml_files.read(f) for f in files]
    zone = ZoneInfo(settings.hospital_time_zone)
    return ReportPolicies(read, zone, adult_age.load(settings.policies_dir))


def count(input: Input, answer: Answer) -> None:
    """What was decided, as the figures that a hospital looks at."""
    for emit in answer.events:
        if isinstance(emit.data, ResultReleased):
            metrics.REPORTS_RELEASED.labels(kind=emit.data.kind).inc()
    if isinstance(answer, Decision) and answer.note in WITHHELD:
        metrics.REPORTS_HELD.labels(reason=answer.note).inc()
        if answer.note == UNTOLD:
            log.warning(UNTOLD, hospital=input.hospital, report_id=input.subject)


SPEC = ServiceSpec(
    name="reports",
    settings=Settings,
    topics=("hospital.reports", "hospital.patients", "enrollment.events"),
    handlers=HANDLERS,
    collections=COLLECTIONS,
    routers=(router,),
    access=ACCESS,
    texts=TEXTS,
    policy=load_policy,
    observe=count,
)

if __name__ == "__main__":
    service.main(SPEC)
