"""What are all dashboards made of?

A panel is a title, what it means and what to do (``about``), and queries. Where traces lie
behind it, a click on it leads to them (``traces``), and with ``exemplars`` single points do.
From a trace its own page leads on to the log, by ``provisioning/datasources.yaml``.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Final, Literal
from urllib.parse import quote

from grafana_foundation_sdk.builders import common, prometheus, stat, table, tempo, timeseries
from grafana_foundation_sdk.builders import dashboard as grafana
from grafana_foundation_sdk.models import dashboard as models
from grafana_foundation_sdk.models.common import (
    BigValueGraphMode,
    GraphDrawStyle,
    GraphTresholdsStyleMode,
    LegendDisplayMode,
    LegendPlacement,
    SortOrder,
    StackingMode,
    TooltipDisplayMode,
    VisibilityMode,
)

#: Every series of ours, as Prometheus is told in deploy/.
JOB: Final = 'job="lianxin"'
#: The same of the services that are chosen above the dashboard.
CHOSEN: Final = 'job="lianxin", service=~"$service"'

PROMETHEUS: Final = models.DataSourceRef(type_val="prometheus", uid="${prometheus}")
TEMPO: Final = models.DataSourceRef(type_val="tempo", uid="${tempo}")

GREEN, AMBER, RED = "green", "orange", "red"


@dataclass(frozen=True, slots=True)
class Query:
    expr: str
    legend: str = ""
    exemplars: bool = False


@dataclass(frozen=True, slots=True)
class Panel:
    """``limits``: from which values on it is worth a look, and bad."""

    title: str
    about: str
    queries: Sequence[Query]
    kind: Literal["line", "bars", "number"] = "line"
    unit: str = "short"
    width: int = 8
    limits: tuple[float, float] | None = None
    #: A share: bad when it is small.
    more_is_better: bool = False
    #: TraceQL, with the words of the link; ``${__field.labels.…}`` is what was clicked on.
    traces: tuple[str, str] | None = None


@dataclass(frozen=True, slots=True)
class Traces:
    """A table of the newest traces that TraceQL finds."""

    title: str
    about: str
    query: str
    width: int = 24


@dataclass(frozen=True, slots=True)
class Board:
    uid: str
    title: str
    chinese: str
    about: str
    rows: Sequence[tuple[str, Sequence[Panel | Traces]]]
    #: Variables besides the data sources: name, and the query for its values.
    variables: Sequence[tuple[str, str]] = field(default=())


def quantile(q: float, metric: str, by: str, where: str = JOB) -> Query:
    """A quantile of a histogram of ours over what the panel's steps hold, for each of ``by``."""
    groups = f"le, {by}" if by else "le"
    rate = f"sum by ({groups}) (rate({metric}_bucket{{{where}}}[$__rate_interval]))"
    legend = f"{{{{{by}}}}} p{q * 100:g}" if by else f"p{q * 100:g}"
    return Query(f"histogram_quantile({q:g}, {rate})", legend, exemplars=True)


def worst(metric: str, by: str, where: str = JOB) -> Query:
    """The largest value of a gauge, for each of ``by``."""
    return Query(f"max by ({by}) ({metric}{{{where}}})", _legend(by))


#: 0 where nothing of the kind has ever happened: a series begins with what it counts first.
ELSE_ZERO: Final = "or on() vector(0)"


def rate(metric: str, by: str, where: str = JOB, *, times: int = 1) -> Query:
    """Per second, for each of ``by``."""
    expr = f"sum by ({by}) (rate({metric}{{{where}}}[$__rate_interval]))"
    return Query(f"{expr if times == 1 else f'{times} * {expr}'} {ELSE_ZERO}", _legend(by))


def _legend(by: str) -> str:
    return " ".join(f"{{{{{label.strip()}}}}}" for label in by.split(","))


def hourly(metric: str, by: str, where: str = JOB) -> Query:
    """Per hour: what happens to people is too rare to be read per second."""
    return rate(metric, by, where, times=3600)


def total(metric: str, where: str = JOB) -> str:
    """How often within the time that is shown; 0 if never."""
    return f"(sum(increase({metric}{{{where}}}[$__range])) {ELSE_ZERO})"


def service_variable() -> tuple[str, str]:
    return "service", f"label_values(up{{{JOB}}}, service)"


def explore(query: str) -> str:
    """Where Grafana shows the traces that ``query`` finds, for the time that is shown."""
    pane = {
        "datasource": "${tempo}",
        "queries": [
            {
                "refId": "A",
                "datasource": {"type": "tempo", "uid": "${tempo}"},
                "queryType": "traceql",
                "query": query,
                "limit": 50,
            }
        ],
        "range": {"from": "${__from}", "to": "${__to}"},
    }
    text = quote(json.dumps({"a": pane}, separators=(",", ":")), safe="")
    for name in _variables(query) | {"${tempo}", "${__from}", "${__to}"}:
        text = text.replace(quote(name, safe=""), _encoded(name))
    return f"/explore?schemaVersion=1&orgId=1&panes={text}"


def _variables(query: str) -> set[str]:
    found, rest = set(), query
    while "${" in rest:
        rest = rest[rest.index("${") :]
        found.add(rest[: rest.index("}") + 1])
        rest = rest[2:]
    return found


def _encoded(name: str) -> str:
    """A variable whose value may hold what has a meaning in an address."""
    if name.startswith("${__field.labels."):
        return name[:-1] + ":percentencode}"
    return name


def build(board: Board) -> dict[str, Any]:
    """The dashboard as the JSON that Grafana reads."""
    built = (
        grafana.Dashboard(board.title)
        .uid(board.uid)
        .description(f"{board.about} · {board.chinese}")
        .tags(["lianxin"])
        .timezone("browser")
        .time("now-6h", "now")
        .refresh("30s")
        .tooltip(models.DashboardCursorSync.CROSSHAIR)
        .readonly()
        .link(
            grafana.DashboardLink("Lianxin")
            .type(models.DashboardLinkType.DASHBOARDS)
            .tags(["lianxin"])
            .as_dropdown(True)
            .keep_time(True)
            .include_vars(True)
        )
    )
    for type in ("prometheus", "tempo", "loki"):
        current = models.VariableOption(text=type.title(), value=type)
        built.with_variable(
            grafana.DatasourceVariable(type).label(type.title()).type(type).current(current)
        )
    for name, values in board.variables:
        everything = models.VariableOption(selected=True, text=["All"], value=["$__all"])
        built.with_variable(
            grafana.QueryVariable(name)
            .label(name.capitalize())
            .datasource(PROMETHEUS)
            .query(values)
            .refresh(models.VariableRefresh.ON_TIME_RANGE_CHANGED)
            .sort(models.VariableSort.ALPHABETICAL_ASC)
            .multi(True)
            .include_all(True)
            .all_value(".*")
            .current(everything)
        )
    for title, panels in board.rows:
        built.with_row(grafana.Row(title))
        for panel in panels:
            built.with_panel(_panel(panel))
    model: dict[str, Any] = json.loads(json.dumps(built.build(), default=lambda o: o.to_json()))
    for number, placed in enumerate(model["panels"], 1):
        placed["id"] = number
    return model


def _panel(panel: Panel | Traces) -> Any:
    if isinstance(panel, Traces):
        return _traces(panel)
    made: Any = _number().height(4) if panel.kind == "number" else _curves(panel).height(8)
    made = (
        made.title(panel.title)
        .description(panel.about)
        .span(panel.width)
        .datasource(PROMETHEUS)
        .unit(panel.unit)
        .min(0)
    )
    if panel.limits is not None:
        made.thresholds(_thresholds(panel.limits, panel.more_is_better))
    if panel.traces is not None:
        words, query = panel.traces
        link = grafana.DashboardLink(words).url(explore(query)).target_blank(True)
        made.data_links([link])
    for letter, asked in zip("ABCDEFGH", panel.queries, strict=False):
        made.with_target(
            prometheus.Dataquery()
            .ref_id(letter)
            .datasource(PROMETHEUS)
            .expr(asked.expr)
            .legend_format(asked.legend or "__auto")
            .exemplar(asked.exemplars)
        )
    return made


def _number() -> stat.Panel:
    newest = common.ReduceDataOptions().calcs(["lastNotNull"])
    return stat.Panel().graph_mode(BigValueGraphMode.NONE).reduce_options(newest)


def _curves(panel: Panel) -> timeseries.Panel:
    made = (
        timeseries.Panel()
        .line_width(1)
        .fill_opacity(10)
        .show_points(VisibilityMode.NEVER)
        .legend(
            common.VizLegendOptions()
            .display_mode(LegendDisplayMode.LIST)
            .placement(LegendPlacement.BOTTOM)
            .show_legend(True)
        )
        .tooltip(
            common.VizTooltipOptions().mode(TooltipDisplayMode.MULTI).sort(SortOrder.DESCENDING)
        )
    )
    if panel.kind == "bars":
        made.draw_style(GraphDrawStyle.BARS).fill_opacity(80)
        made.stacking(common.StackingConfig().mode(StackingMode.NORMAL).group("A"))
    if panel.limits is not None:
        line = common.GraphThresholdsStyleConfig().mode(GraphTresholdsStyleMode.DASHED)
        made.thresholds_style(line)
    return made


def _thresholds(limits: tuple[float, float], more_is_better: bool) -> grafana.ThresholdsConfig:
    colours = (RED, AMBER, GREEN) if more_is_better else (GREEN, AMBER, RED)
    steps = [
        models.Threshold(value=value, color=colour)
        for value, colour in zip((None, *limits), colours, strict=True)
    ]
    return grafana.ThresholdsConfig().mode(models.ThresholdsMode.ABSOLUTE).steps(steps)


def _traces(panel: Traces) -> Any:
    return (
        table.Panel()
        .title(panel.title)
        .description(panel.about)
        .span(panel.width)
        .height(8)
        .datasource(TEMPO)
        .show_header(True)
        .with_target(
            tempo.TempoQuery()
            .ref_id("A")
            .datasource(TEMPO)
            .query_type("traceql")
            .query(panel.query)
            .limit(20)
        )
    )
