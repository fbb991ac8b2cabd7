"""Which dashboards are there? ``python -m deploy.grafana`` writes them to ``dashboards/``.

What is committed there is what Grafana gets, by kustomize and by compose; a test keeps it
equal to the code.
"""

from __future__ import annotations

import json
from pathlib import Path

from deploy.grafana.consumers import CONSUMERS
from deploy.grafana.parts import Board, build
from deploy.grafana.patients import PATIENTS
from deploy.grafana.people import PEOPLE
from deploy.grafana.providers import PROVIDERS
from deploy.grafana.service import SERVICE

BOARDS = (PATIENTS, PEOPLE, CONSUMERS, PROVIDERS, SERVICE)
FOLDER = Path(__file__).parent / "dashboards"


def text(board: Board) -> str:
    return json.dumps(build(board), ensure_ascii=False, indent=2) + "\n"


def main() -> None:
    FOLDER.mkdir(exist_ok=True)
    for old in FOLDER.glob("*.json"):
        old.unlink()
    for board in BOARDS:
        (FOLDER / f"{board.uid}.json").write_text(text(board), encoding="utf-8")


if __name__ == "__main__":
    main()
