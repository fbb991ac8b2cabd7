"""Can an operator read every number that we show?"""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from prometheus_client.openmetrics.parser import text_string_to_metric_families as openmetrics
from prometheus_client.parser import text_string_to_metric_families

from libs.common import exemplars, metrics

PAGE = Path(__file__).parents[3] / "docs" / "metrics.md"
ALL = list(metrics.TABLE.values())


@pytest.mark.parametrize("metric", ALL, ids=lambda m: m.name)
def test_every_metric_has_a_unit_and_a_meaning(metric: metrics.Metric) -> None:
    assert metric.unit
    assert metric.meaning.endswith(".") and len(metric.meaning) > 15
    assert re.fullmatch(r"[a-z][a-z0-9_]*", metric.name)
    assert metric.name.endswith("_total") == (metric.kind == "counter")
    if metric.kind == "histogram" and metric.unit == "seconds":
        assert metric.name.endswith("_seconds")


@pytest.mark.parametrize("metric", ALL, ids=lambda m: m.name)
def test_every_label_is_of_the_closed_list_and_the_series_are_bounded(
    metric: metrics.Metric,
) -> None:
    series = 1
    for label in metric.labels:
        series *= metrics.LABELS[label].at_most
    assert series <= 25_000, "this many series would drown Prometheus"


def test_no_label_names_a_person_a_hospital_or_an_aggregate() -> None:
    forbidden = re.compile(r"hospital|person|patient|subject|user|name|phone|(^|_)id$|path|url")
    assert [label for label in metrics.LABELS if forbidden.search(label)] == []


def test_every_label_of_the_list_is_used() -> None:
    assert set(metrics.LABELS) == {label for m in ALL for label in m.labels}


def test_what_is_shown_is_what_the_table_says() -> None:
    body, content_type = metrics.render()
    assert content_type.startswith("text/plain")
    shown = {f.name: f for f in text_string_to_metric_families(body.decode())}
    for metric in ALL:
        family = shown[metric.name.removesuffix("_total")]
        assert family.type == metric.kind
        assert family.documentation == metric.meaning


OPENMETRICS = "application/openmetrics-text;version=1.0.0;q=0.5,text/plain;version=0.0.4;q=0.3"
TRACE = "0af7651916cd43dd8448eb211c80319c"


def test_prometheus_gets_exemplars_and_whoever_does_not_ask_gets_plain_text() -> None:
    seconds = metrics.PROVIDER_SECONDS.labels(channel="exemplary")
    seconds.observe(0.2, exemplars.of(f"00-{TRACE}-b7ad6b7169203331-01"))
    body, content_type = metrics.render(OPENMETRICS)
    assert content_type.startswith("application/openmetrics-text; version=1.0.0")
    assert body.endswith(b"# EOF\n")
    shown = {
        (sample.name, sample.labels["le"]): sample.exemplar.labels
        for family in openmetrics(body.decode())  # type: ignore[no-untyped-call]
        for sample in family.samples
        if sample.labels.get("channel") == "exemplary" and sample.exemplar
    }
    assert shown == {("provider_seconds_bucket", "0.25"): {"trace_id": TRACE}}
    assert b"_created" not in body
    assert TRACE.encode() not in metrics.render("text/html, */*")[0]


@pytest.mark.parametrize(
    "accept", ["", "application/openmetrics-text; version=x", "application/openmetrics-text"]
)
def test_an_odd_wish_for_a_form_is_answered_in_plain_text(accept: str) -> None:
    assert metrics.render(accept)[1].startswith("text/plain")


@pytest.mark.parametrize(
    "traceparent",
    [
        None,
        "",
        f"00-{TRACE}-b7ad6b7169203331-00",
        f"00-{'name-13800138000':<32}-b7ad6b7169203331-01",
    ],
)
def test_what_is_not_sampled_or_no_trace_is_no_exemplar(traceparent: str | None) -> None:
    assert exemplars.of(traceparent) is None


def test_values_from_outside_make_only_so_many_series() -> None:
    capped = metrics.Capped(2)
    assert [capped(v) for v in ("NEURO", "张伟", "GI-SURG", "CARDIO", "NEURO", "", None)] == [
        "NEURO", "other", "GI-SURG", "other", "NEURO", "none", "none",
    ]  # fmt: skip


def test_the_caps_are_those_of_the_table() -> None:
    # Besides them there are "none" and "other".
    assert metrics.department.most + 2 == metrics.LABELS["department"].at_most
    assert metrics.code.most + 2 == metrics.LABELS["code"].at_most


def test_a_metric_cannot_be_declared_twice() -> None:
    with pytest.raises(ValueError, match="twice"):
        metrics._declare("outbox_rows", "gauge", "rows", "Again.", ())


def test_the_page_of_metrics_is_the_table() -> None:
    assert PAGE.read_text(encoding="utf-8") == metrics.markdown(), (
        "run: python -m libs.common.metrics > docs/metrics.md"
    )
