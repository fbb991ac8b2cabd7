"""Are the dashboards those of the code, can they be understood, and can what they ask be had?"""

from __future__ import annotations

import re
from collections import Counter
from typing import Any

import pytest

from deploy.grafana.__main__ import BOARDS as MADE
from deploy.grafana.__main__ import FOLDER, text
from libs.common import metrics
from scripts import lint_traceql
from tests.support import promql
from tests.support.dashboards import BOARDS, Asked, links, panels
from tests.support.dashboards import promql as asked_of_prometheus
from tests.support.dashboards import traceql as asked_of_tempo

PANELS = list(panels())
PROMQL = asked_of_prometheus()


def test_what_is_committed_is_what_the_code_makes() -> None:
    made = {f"{board.uid}.json": text(board) for board in MADE}
    committed = {p.name: p.read_text(encoding="utf-8") for p in FOLDER.glob("*.json")}
    assert committed == made, "run: python -m deploy.grafana"


def test_each_question_of_the_hospitals_it_has_its_dashboard() -> None:
    assert {board["title"] for board in BOARDS.values()} == {
        "Are patients reached?",
        "Consumers and outbox",
        "Providers",
        "Response times of people",
        "Service",
    }


@pytest.mark.parametrize(("where", "panel"), PANELS, ids=[where for where, _ in PANELS])
def test_each_panel_says_what_it_means_and_asks_a_data_source_that_can_be_chosen(
    where: str, panel: Any
) -> None:
    assert len(panel["description"]) > 40 and panel["description"].endswith(".")
    assert panel["targets"]
    for target in (panel, *panel["targets"]):
        source = target["datasource"]
        assert source["uid"] == f"${{{source['type']}}}"


@pytest.mark.parametrize("uid", BOARDS)
def test_a_dashboard_offers_its_data_sources_and_has_no_two_panels_in_one_place(uid: str) -> None:
    board = BOARDS[uid]
    assert board["uid"] == uid
    variables = {v["name"]: v["type"] for v in board["templating"]["list"]}
    assert variables.items() >= {(n, "datasource") for n in ("prometheus", "tempo", "loki")}
    used = set(re.findall(r"\$(service|department)\b", str(board["panels"])))
    assert used == variables.keys() - {"prometheus", "tempo", "loki"}
    cells = Counter(
        (x, y)
        for p in board["panels"]
        for x in range(p["gridPos"]["x"], p["gridPos"]["x"] + p["gridPos"]["w"])
        for y in range(p["gridPos"]["y"], p["gridPos"]["y"] + p["gridPos"]["h"])
    )
    assert max(cells.values()) == 1
    assert max(x for x, _ in cells) < 24
    ids = [p["id"] for p in board["panels"]]
    assert len(set(ids)) == len(ids)


def test_every_dashboard_leads_to_traces_by_a_click_on_what_is_shown() -> None:
    leading = Counter(where.partition(":")[0] for where, _ in links())
    assert leading.keys() == BOARDS.keys() and min(leading.values()) >= 5, leading
    for where, pane in links():
        assert pane["range"] == {"from": "${__from}", "to": "${__to}"}, where
        assert pane["datasource"] == "${tempo}", where


def test_points_that_lead_to_traces_are_of_what_has_any() -> None:
    for where, panel in PANELS:
        for target in panel["targets"]:
            assert bool(target.get("exemplar")) == (
                "_bucket{" in target.get("expr", "") and ("histogram_quantile" in target["expr"])
            ), where


@pytest.mark.parametrize("asked", PROMQL, ids=[a.where for a in PROMQL])
def test_every_query_for_prometheus_parses_and_names_what_there_is(asked: Asked) -> None:
    assert promql.unknown(promql.filled(asked.query)) == []


@pytest.mark.parametrize(
    ("expr", "wrong"),
    [
        ("sum(rate(invitations_isued_total[5m]))", "no series invitations_isued_total"),
        ('sum(refills_total{state="x"})', "refills_total has no label state"),
        ("sum by (patient) (refills_total)", "nothing has a label patient"),
        ("http_request_seconds", "no series http_request_seconds"),
        ('{route="x"}', "no series None"),
        ('provider_seconds_bucket{le="7.0"}', "provider_seconds_bucket has no bucket 7.0"),
    ],
)
def test_a_misspelt_name_is_found(expr: str, wrong: str) -> None:
    assert promql.unknown(expr) == [wrong]


def test_what_does_not_parse_is_found() -> None:
    with pytest.raises(ValueError):
        promql.unknown("sum(rate(x[5m])")


def test_each_query_looks_at_our_job_alone() -> None:
    for asked in PROMQL:
        for node in promql.selectors(promql.filled(asked.query)):
            matched = {(m.name, m.value) for m in node.matchers.matchers}
            assert ("job", "lianxin") in matched, asked.where


def test_each_metric_that_says_what_to_do_about_is_on_a_dashboard() -> None:
    asked = " ".join(a.query for a in PROMQL)
    #: Counted for who tunes the platform or connects a system, not for who watches over it.
    unshown = {
        "groups_opened_total", "refills_irregular_total", "clinical_checks_total",
        "interop_events_published_total", "interop_fhir_unused_total", "refill_decision_seconds",
    }  # fmt: skip
    assert {name for name in metrics.TABLE if name not in asked} == unshown


def test_every_query_for_tempo_parses() -> None:
    asked = asked_of_tempo()
    parsed = lint_traceql.parse([a.query for a in asked])
    wrong = [(a.where, a.query, p.errors) for a, p in zip(asked, parsed, strict=True) if p.errors]
    assert wrong == []


@pytest.mark.parametrize(
    "query", ["{ span.http.route = }", "{ spam.http.route = 1 }", "{ duration > 1 parsec }", "{"]
)
def test_traceql_that_does_not_parse_is_found(query: str) -> None:
    (parsed,) = lint_traceql.parse([query])
    assert parsed.errors
