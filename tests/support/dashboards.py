"""What do the committed dashboards ask Prometheus and Tempo?"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

FOLDER = Path(__file__).parents[2] / "deploy" / "grafana" / "dashboards"
BOARDS: dict[str, Any] = {
    path.stem: json.loads(path.read_bytes()) for path in sorted(FOLDER.glob("*.json"))
}


@dataclass(frozen=True, slots=True)
class Asked:
    """A query of a panel; ``where`` names it for who has to mend it."""

    where: str
    query: str


def panels() -> Iterator[tuple[str, Any]]:
    for uid, board in BOARDS.items():
        for panel in board["panels"]:
            if panel["type"] != "row":
                yield f"{uid}: {panel['title']} ({panel['id']})", panel


def _targets(type: str, text: str) -> list[Asked]:
    return [
        Asked(where, target[text])
        for where, panel in panels()
        for target in panel["targets"]
        if target["datasource"]["type"] == type
    ]


def promql() -> list[Asked]:
    return _targets("prometheus", "expr")


def links() -> list[tuple[str, Any]]:
    """The panes of Explore to which panels lead."""
    return [
        (where, json.loads(parse_qs(urlsplit(link["url"]).query)["panes"][0])["a"])
        for where, panel in panels()
        for link in panel.get("fieldConfig", {}).get("defaults", {}).get("links", [])
    ]


def traceql() -> list[Asked]:
    """Also of the links. Whatever a click puts in is a number, which fits in quotes, too."""
    led_to = [Asked(where, query["query"]) for where, pane in links() for query in pane["queries"]]
    return [
        Asked(asked.where, re.sub(r"\$\{__field\.labels\.\w+:percentencode\}", "200", asked.query))
        for asked in (*_targets("tempo", "query"), *led_to)
    ]
