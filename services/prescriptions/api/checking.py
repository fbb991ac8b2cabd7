"""How does a step get its clinical checks?

The rule is asked first what there is to check; that is put to the engine, once, outside any
transaction; then the step is decided, which stores what was found. An engine that is away holds
nobody up for longer than its time, and what it did not answer is stored as *not checked*.
"""

from __future__ import annotations

import structlog
from fastapi import Request

from libs.common import exemplars, metrics
from libs.common.decision import Input
from services.prescriptions.domain.checking import ToCheck
from services.prescriptions.domain.checks import (
    Checked,
    Checks,
    ClinicalChecks,
    complete,
    nothing_checked,
)
from services.prescriptions.ports import CheckFailed, CheckRequest, ClinicalChecker

log = structlog.get_logger()

ANSWERED = "answered"


async def with_checks(request: Request, input: Input) -> Input:
    """``input`` with its clinical checks, if it needs them and nothing else forbids it."""
    runtime = request.app.state.runtime
    assert isinstance(input.data, Checks)
    answer = await runtime.engine.rehearse(input)
    if not isinstance(answer, ToCheck) or answer.question is None:
        return input
    asked = CheckRequest(
        id=runtime.ports.ids.new(),
        hospital=input.hospital,
        at=input.time,
        question=answer.question,
    )
    checker: ClinicalChecker = request.app.state.adapters.checker
    with runtime.tracer.span(
        "clinical check", input.traceparent, "client", {"lianxin.engine": checker.name}
    ):
        checks = await _checks(request, checker, asked)
    checked = Checked(question=asked.question, checks=checks)
    return input._replace(data=input.data.model_copy(update={"checked": checked}))


async def _checks(
    request: Request, checker: ClinicalChecker, asked: CheckRequest
) -> ClinicalChecks:
    clock = request.app.state.ports.clock
    begun, outcome = clock.monotonic(), ANSWERED
    try:
        found = await checker.check(asked)
        checks = found.model_copy(update={"checks": complete(found.checks)})
    except CheckFailed as error:
        log.warning("not_checked", reason=error.reason, why=error.why)
        outcome = error.reason
        checks = nothing_checked(asked.id, checker.name, asked.at, error.reason)
    seconds = clock.monotonic() - begun
    metrics.CLINICAL_CHECK_SECONDS.labels(engine=checker.name, outcome=outcome).observe(
        seconds, exemplars.current()
    )
    for check in checks.checks:
        metrics.CLINICAL_CHECKS.labels(engine=checker.name, verdict=check.verdict).inc()
    return checks
