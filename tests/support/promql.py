"""What do queries for Prometheus name, and is there such a thing?"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import promql_parser
import yaml

from libs.common import metrics

ROOT = Path(__file__).parents[2]
RULES = sorted((ROOT / "deploy" / "prometheus" / "rules").glob("*.yaml"))
#: What the scraping Prometheus adds to every series of ours, and its own word on each target.
ADDED = frozenset({"job", "service", "instance"})
OTHERS: Mapping[str, frozenset[str]] = {
    "up": frozenset(),
    # of kube-state-metrics
    "kube_cronjob_created": frozenset({"namespace", "cronjob"}),
    "kube_cronjob_status_last_successful_time": frozenset({"namespace", "cronjob"}),
    "kubelet_volume_stats_available_bytes": frozenset({"namespace", "persistentvolumeclaim"}),
    "kubelet_volume_stats_capacity_bytes": frozenset({"namespace", "persistentvolumeclaim"}),
}
#: What Grafana puts in place of its variables.
VARIABLES = {"$__rate_interval": "30s", "$__range": "5m", "$service": ".*", "$department": ".*"}


def filled(expr: str) -> str:
    """``expr`` as Grafana would send it, with everything chosen."""
    for name, value in VARIABLES.items():
        expr = expr.replace(name, value)
    return expr


def _ours() -> Iterator[tuple[str, frozenset[str]]]:
    for metric in metrics.TABLE.values():
        labels = frozenset(metric.labels)
        if metric.kind == "histogram":
            yield f"{metric.name}_bucket", labels | {"le"}
            yield from ((f"{metric.name}_{part}", labels) for part in ("count", "sum"))
        else:
            yield metric.name, labels
    for family in metrics.REGISTRY.collect():  # the process's own, too
        for sample in family.samples:
            if re.match("process_|python_", sample.name):
                yield sample.name, frozenset(sample.labels)


def rules() -> list[dict[str, Any]]:
    files = [yaml.safe_load(path.read_bytes()) for path in RULES]
    return [rule for file in files for group in file["groups"] for rule in group["rules"]]


#: Every series that a service of ours shows, with its labels.
OURS: Mapping[str, frozenset[str]] = dict(_ours())
#: Every series that a query may name, with its labels; ``None``: whatever its rule gives.
SERIES: Mapping[str, frozenset[str] | None] = {
    **OURS,
    **OTHERS,
    **{rule["record"]: None for rule in rules() if "record" in rule},
}


def nodes(expr: str) -> list[Any]:
    """Raises ``ValueError`` if it does not parse."""
    found: list[Any] = []
    promql_parser.walk(promql_parser.parse(expr), found.append)
    return found


def selectors(expr: str) -> list[promql_parser.VectorSelector]:
    return [node for node in nodes(expr) if isinstance(node, promql_parser.VectorSelector)]


def _bounds(series: str) -> set[float]:
    """The buckets of a histogram of ours."""
    histogram: Any = metrics.REGISTRY._names_to_collectors[series]
    return {*map(float, histogram._kwargs["buckets"]), float("inf")}


def unknown(expr: str) -> list[str]:
    """The series, labels and buckets of ``expr`` that nobody has."""
    wrong: list[str] = []
    known: set[str] = {*ADDED}
    anything = False
    for node in selectors(expr):
        if node.name is None or node.name not in SERIES:
            wrong.append(f"no series {node.name}")
            continue
        labels = SERIES[node.name]
        if labels is None:
            anything = True
            continue
        known |= labels
        named = {m.name: m.value for m in node.matchers.matchers}
        wrong += [f"{node.name} has no label {x}" for x in sorted(named.keys() - labels - ADDED)]
        if "le" in named and "le" in labels and float(named["le"]) not in _bounds(node.name):
            wrong.append(f"{node.name} has no bucket {named['le']}")
    for node in nodes(expr):
        if (
            isinstance(node, promql_parser.AggregateExpr)
            and node.modifier is not None
            and not anything
        ):
            by = set(node.modifier.labels)
            wrong += [f"nothing has a label {x}" for x in sorted(by - known)]
    return wrong
