"""What does Grafana's own grammar say of queries in TraceQL?

It is a package of npm, locked in ``deploy/grafana/lint``.
"""

from __future__ import annotations

import json
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass

from scripts.bootstrap import ROOT
from scripts.npm_packages import node, packages

LINT = ROOT / "deploy" / "grafana" / "lint"


@dataclass(frozen=True, slots=True)
class Parsed:
    """Where a query does not parse; the fields that it names; what it compares with what."""

    errors: Sequence[str]
    fields: Sequence[str]
    comparisons: Sequence[tuple[str, str, str]]


def parse(queries: Sequence[str]) -> list[Parsed]:
    """Raises ``bootstrap.Failed`` if the grammar can't be installed."""
    program, npm = node()
    home = packages(npm, LINT, "the grammar of TraceQL (1 MB)")
    done = subprocess.run(
        [*program, LINT / "lint.mjs", home],
        input=json.dumps(queries),
        capture_output=True,
        text=True,
        check=True,
    )
    return [
        Parsed(
            p["errors"], p["fields"], [(left, op, right) for left, op, right in p["comparisons"]]
        )
        for p in json.loads(done.stdout)
    ]
