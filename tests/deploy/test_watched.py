"""Does what dashboards ask have an answer while the platform works, and do the ways lead on?

One short day with its faults: mail and webhooks that fail, records that are rubbish, patients
who can't be invited, results that wait for a doctor. Everything in here is invented.
"""

from __future__ import annotations

import asyncio
import json
import re
import time
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from libs.common.devstack.mllp import Sender
from libs.common.devstack.stack import Stack
from libs.common.events import Hold, ReportKind
from scripts import lint_traceql
from tests.failure.conftest import require_our_own
from tests.failure.journeys import (
    DOCTOR,
    Discharges,
    Joining,
    Refills,
    Reports,
    discharge,
    registered,
    report,
)
from tests.failure.test_interfaces import discharge as hl7_discharge
from tests.simulators.smtp import mail_server
from tests.simulators.webhooks import webhook_receiver
from tests.support import promql
from tests.support.dashboards import Asked, traceql
from tests.support.dashboards import promql as asked_of_prometheus
from tests.support.otlp import Collector
from tests.support.platform import Hospital, Platform, Raw, eventually
from tests.support.watched import Prometheus, prometheus

#: The day is played before the first test.
pytestmark = pytest.mark.timeout(400)

#: What a day without such a fault does not have; the panels show 0 then.
RARE = {
    "lianxin-consumers: Rebalances and rebuilds": "consumer_rebuilds_total",
    "lianxin-consumers: Timers": "timers_fired_total",
    "lianxin-providers: Deliveries to partners": "webhook_deliveries_total",
    "lianxin-service: Errors": 'status=~"5.."',
    "lianxin-service: Failed commands": 'outcome="failed"',
}


@dataclass(frozen=True)
class Watched:
    platform: Platform
    collector: Collector
    prometheus: Prometheus
    begun: float


@pytest.fixture(scope="module")
def watched(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Watched]:
    """The platform after a day."""
    require_our_own()
    folder = tmp_path_factory.mktemp("watched")
    begun, collector = time.time(), Collector()
    with collector.running(), Stack(folder) as stack:
        stack.environment["OTEL_EXPORTER_OTLP_ENDPOINT"] = collector.url
        platform = Platform.over(stack)
        with prometheus(folder, platform) as watching:
            asyncio.run(_day(platform, watching))
            yield Watched(platform, collector, watching, begun)


async def _day(platform: Platform, watching: Prometheus) -> None:
    async with (
        Hospital(platform) as h,
        mail_server(platform.smtp) as mails,
        webhook_receiver(platform.webhook) as hooks,
    ):
        await watching.scraped()  # what is counted from now on is seen to be more than it was
        mails.script.extend(["busy", "lose", "refuse"])
        hooks.script.extend(["500", "lose"])
        joining, refills = Joining(h, 16, 4), Refills(h, range(100, 102))
        await h.publish(*Reports(h, 8).events(0, 4), *Discharges(h, 16).events(0, 4))
        await h.settled()
        await watching.scraped()  # the first of a department is not seen to be one more
        await h.publish(
            *refills.events(),
            *Reports(h, 8).events(4, 8),
            *Discharges(h, 16).events(4, 16),
            h.event(discharge(h, 50, "SURGERY", "Z99.900")),
            *(h.event(registered(h, n)) for n in (51, 52, 53)),
            *_kept_back(h),
            *(Raw("hospital.encounters", f"{h.id}/p0".encode(), b"rubbish") for _ in range(3)),
        )
        async with Sender(platform.stack.ports.mllp) as his:
            assert (await his.send(hl7_discharge(1, h.ports.clock.now()))).code == "AA"
        await asyncio.gather(joining.run(), refills.run())
        await _people(h, joining)
        await h.settled()
        await watching.scraped(16)  # what waits is looked at every 15 s


def _kept_back(h: Hospital) -> Iterator[Any]:
    told = {"ordering_practitioner_id": DOCTOR, "department_code": "CARDIO"}
    yield h.event(report(h, 51, critical=True, **told))
    yield h.event(report(h, 52, kind=ReportKind.PATHOLOGY, **told))
    yield h.event(report(h, 53, hold=Hold(on=True), **told))
    yield h.event(report(h, 51, report_id="waits", critical=True, **told))


async def _people(h: Hospital, joining: Joining) -> None:
    doctor = h.headers(DOCTOR, "doctor", departments=("CARDIO",))
    await _done(h, "POST", "reports", "/v1/reports/r51/release", headers=doctor)
    for n in (0, 51):
        await _done(h, "GET", "reports", f"/v1/reports/r{n}", headers=h.headers(f"p{n}", "patient"))

    patient, nurse = h.headers("p3", "patient"), h.headers("n1", "nurse", departments=("GI-SURG",))
    messages = f"/v1/groups/{joining.groups['p3']}/messages"
    asked = []
    for n in range(2):  # the second is never answered
        more = {"headers": patient, "body": {"text": "May I fly?"}, "key": f"q{n}"}
        asked.append((await _done(h, "POST", "messaging", messages, **more)).json()["id"])
    body = {"text": "After six weeks.", "reply_to": asked[0]}
    await _done(h, "POST", "messaging", messages, headers=nurse, body=body, key="a")

    surgery = h.headers("n2", "nurse", departments=("SURGERY",))
    tasks = (await _done(h, "GET", "enrollment", "/v1/staff-tasks", headers=surgery)).json()
    close = f"/v1/staff-tasks/{tasks['items'][0]['id']}/close"
    await _done(h, "POST", "enrollment", close, headers=surgery)


async def _done(h: Hospital, *what: str, **more: Any) -> Any:
    async def taken() -> Any:
        answer = await h.insist(*what, **more)
        return answer if answer.status_code in (200, 201) else None

    return await eventually(taken, 30)


@pytest.fixture
async def spans(watched: Watched) -> AsyncIterator[list[dict[str, Any]]]:
    """What TraceQL may ask of each span."""
    yield [
        {
            "resource.service.name": span.service,
            "name": span.name,
            "kind": span.kind,
            "status": "error" if span.error else "ok",
            "duration": span.end - span.start,
            **{f"span.{name}": value for name, value in span.attributes.items()},
        }
        for span in watched.collector.spans
    ]


def test_every_query_has_an_answer(watched: Watched) -> None:
    empty = []
    for asked in asked_of_prometheus():
        expr = promql.filled(asked.query)
        # That a line shows 0 where there is nothing must not hide that there is never anything.
        for default in (" or on() vector(0)", " or on() vector(1)"):
            expr = expr.replace(default, "")
        if _rare(asked):
            assert watched.prometheus.series(promql.filled(asked.query)), asked
        elif not watched.prometheus.series(expr):
            empty.append((asked.where, expr))
    assert empty == []


def _rare(asked: Asked) -> bool:
    return any(
        asked.where.startswith(where) and named in asked.query for where, named in RARE.items()
    )


def test_what_is_rare_is_still_asked_for() -> None:
    rare = {w for w in RARE for asked in asked_of_prometheus() if _rare(asked) and w in asked.where}
    assert rare == set(RARE)


def test_figures_of_the_day_are_those_of_the_day(watched: Watched) -> None:
    def sum_of(selector: str) -> float:
        (series,) = watched.prometheus.series(f"sum({selector})")
        return float(series["value"][1])

    # Two replicas of enrollment: each counts what it decided.
    assert sum_of('invitations_outcome_total{outcome="accepted"}') == 4
    assert sum_of('refills_total{status="effective", department="CARDIO"}') == 6
    assert sum_of('staff_tasks_total{reason="no_programme", department="SURGERY"}') == 1
    assert sum_of('provider_calls_total{outcome="lost"}') >= 2
    for stage in ("critical", "talk_first", "held", "question"):
        assert sum_of(f'waiting_for_person{{stage="{stage}"}}') == 1, stage


def test_prometheus_takes_all_rules(watched: Watched) -> None:
    groups = watched.prometheus.get("rules")["groups"]
    rules = [rule for group in groups for rule in group["rules"]]
    assert len(rules) == len(promql.rules())
    assert [r["name"] for r in rules if r["health"] == "err"] == []


def test_an_exemplar_leads_to_a_trace(watched: Watched) -> None:
    known = {span.trace_id for span in watched.collector.spans}
    for histogram in ("http_request_seconds", "consumer_batch_seconds", "provider_seconds",
                      "journey_stage_seconds"):  # fmt: skip
        found = watched.prometheus.get(
            "query_exemplars",
            query=f"{histogram}_bucket",
            start=str(watched.begun),
            end=str(time.time()),
        )
        ids = {e["labels"]["trace_id"] for series in found for e in series["exemplars"]}
        assert ids, histogram
        assert ids <= known, histogram


def test_a_trace_leads_to_its_lines_in_the_log(watched: Watched) -> None:
    known = {span.trace_id for span in watched.collector.spans}
    for service in ("enrollment", "messaging", "reports", "prescriptions"):
        log = watched.platform.stack.folder / "logs" / f"{service}.log"
        lines = [json.loads(x) for x in _lines(log) if '"http_answered"' in x]
        assert lines, service
        assert {line["trace_id"] for line in lines} <= known, service


def _lines(log: Path) -> list[str]:
    return [x for x in log.read_text(encoding="utf-8").splitlines() if x.startswith("{")]


def test_every_traceql_names_only_what_spans_carry_and_finds_what_it_looks_for(
    spans: list[dict[str, Any]],
) -> None:
    carried = {name for span in spans for name in span}
    wrong = []
    asked = traceql()
    for one, parsed in zip(asked, lint_traceql.parse([a.query for a in asked]), strict=True):
        wrong += [(one.where, f"no span carries {f}") for f in set(parsed.fields) - carried]
        for field, op, text in parsed.comparisons:
            if not any(_holds(span[field], op, text) for span in spans if field in span):
                wrong.append((one.where, f"no span has {field} {op} {text}"))
    assert wrong == []


#: What a click puts in, and what a day without a fault of ours does not have.
NEVER_MIND = ('"200"', "200", "500", "error")


def _holds(value: Any, op: str, text: str) -> bool:
    if text in NEVER_MIND or (text.endswith(("ms", "s")) and text[0].isdigit()):
        return True
    wanted = text.strip('"')
    if op == "=~":
        return re.fullmatch(wanted, str(value)) is not None
    if op == ">":
        return float(value) > float(wanted)
    return op == "=" and str(value) == wanted
