"""Can an operator read every number that we show?"""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from prometheus_client.parser import text_string_to_metric_families

from libs.common import metrics

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


def test_a_metric_cannot_be_declared_twice() -> None:
    with pytest.raises(ValueError, match="twice"):
        metrics._declare("outbox_rows", "gauge", "rows", "Again.", ())


def test_the_page_of_metrics_is_the_table() -> None:
    assert PAGE.read_text(encoding="utf-8") == metrics.markdown(), (
        "run: python -m libs.common.metrics > docs/metrics.md"
    )
