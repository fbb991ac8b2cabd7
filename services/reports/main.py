"""How is reports put together? ``python -m services.reports.main``"""

from __future__ import annotations

from datetime import timedelta
from zoneinfo import ZoneInfo

import structlog

from libs.common import adult_age, exemplars, metrics, service, yaml_files
from libs.common.decision import Answer, Decision, Input
from libs.common.events import ResultReleased, ResultViewed
from libs.common.runtime import ServiceSpec
from services.reports.api.routes import ACCESS, TEXTS, router
from services.reports.domain.arrival import UNTOLD
from services.reports.domain.policy import ReportPolicies
from services.reports.domain.report import Report, Why
from services.reports.handlers import HANDLERS, RELEASE
from services.reports.settings import Settings
from services.reports.store import COLLECTIONS, WAITS

log = structlog.get_logger()

#: Notes of decisions that kept a report back.
WITHHELD = frozenset({Why.PRELIMINARY, Why.HELD, Why.CRITICAL, Why.TALK_FIRST, UNTOLD})


def load_policy(settings: Settings) -> ReportPolicies:
    zone, adult = ZoneInfo(settings.hospital_time_zone), adult_age.load(settings.policies_dir)
    read = yaml_files.checked(
        settings.policies_dir / "reports", lambda one: ReportPolicies([one], zone, adult)
    )
    return ReportPolicies(read, zone, adult)


def count(input: Input, answer: Answer) -> None:
    """What was decided, as the figures that a hospital looks at."""
    for emit in answer.events:
        fact, report = emit.data, emit.about
        if not isinstance(report, Report):
            continue
        if isinstance(fact, ResultReleased):
            department = metrics.department(report.department_code)
            metrics.REPORTS_RELEASED.labels(kind=fact.kind, department=department).inc()
            if report.issued_at is not None and not report.backfill:
                stage = "doctor" if input.type == RELEASE else "released"
                _took(stage, fact.released_at - report.issued_at, input)
        elif isinstance(fact, ResultViewed) and report.releases:
            _took("viewed", fact.viewed_at - report.releases[-1].at, input)
    if isinstance(answer, Decision) and answer.note in WITHHELD:
        code = next((d.department_code for d in answer.changes if isinstance(d, Report)), None)
        department = metrics.department(code)
        metrics.REPORTS_HELD.labels(reason=answer.note, department=department).inc()
        if answer.note == UNTOLD:
            log.warning(UNTOLD, hospital=input.hospital, report_id=input.subject)


def _took(stage: str, time: timedelta, input: Input) -> None:
    metrics.JOURNEY_STAGE_SECONDS.labels(journey="report", stage=stage).observe(
        time.total_seconds(), exemplars.of(input.traceparent)
    )


metrics.begin("report", "released", "doctor", "viewed")


SPEC = ServiceSpec(
    name="reports",
    settings=Settings,
    topics=("hospital.reports", "hospital.patients", "enrollment.events"),
    handlers=HANDLERS,
    collections=COLLECTIONS,
    waits=WAITS,
    routers=(router,),
    access=ACCESS,
    texts=TEXTS,
    policy=load_policy,
    observe=count,
)

if __name__ == "__main__":
    service.main(SPEC)
