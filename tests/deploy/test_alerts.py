"""Do the alerts fire when they should, keep quiet when they should, and lead somewhere?

The cases are promtool's, in ``deploy/prometheus/tests``; this looks that each alert has one of
each kind, that each case can fail, and that rules name only what the services really show.
"""

from __future__ import annotations

import json
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
import yaml

from libs.common.devstack.places import SERVICES
from libs.common.settings import Settings
from services.notify.domain.delivering import Verdict
from services.reports.domain.arrival import UNTOLD
from tests.support.promql import OURS as OURS_ALONE
from tests.support.promql import RULES, rules, selectors, unknown

ROOT = Path(__file__).parents[2]
CASES = sorted((ROOT / "deploy/prometheus/tests").glob("*.yaml"))
RUNBOOK = ROOT / "docs" / "runbook.md"
#: Where the annotations' addresses begin until a hospital puts its own there.
OURS = "https://lianxin.example/"

Rule = dict[str, Any]
Key = tuple[str, str]  # an alert's name and severity


def key_of(rule: Rule) -> Key:
    return rule["alert"], rule["labels"]["severity"]


ALERTS = [rule for rule in rules() if "alert" in rule]
KEYS = [key_of(alert) for alert in ALERTS]


def cases() -> Iterator[tuple[Path, Rule, Key, list[Rule]]]:
    """Each case: its file, itself, the alert that it asks for and what it expects to fire."""
    for path in CASES:
        for case in yaml.safe_load(path.read_bytes())["tests"]:
            (asked,) = case["promql_expr_test"]
            found = re.fullmatch(
                r'ALERTS\{alertname="(\w+)", severity="(\w+)", alertstate="firing"\}', asked["expr"]
            )
            assert found, asked["expr"]
            yield path, case, (found[1], found[2]), asked["exp_samples"]


def promtool(*args: str | Path) -> subprocess.CompletedProcess[str]:
    command = ["promtool", *map(str, args)]
    return subprocess.run(command, capture_output=True, text=True, timeout=300, check=False)


# -- promtool


def test_prometheus_takes_the_rules() -> None:
    done = promtool("check", "rules", *RULES)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.timeout(300)
@pytest.mark.parametrize("path", CASES, ids=[p.stem for p in CASES])
def test_each_alert_fires_and_keeps_quiet_as_its_cases_say(path: Path) -> None:
    done = promtool("test", "rules", path)
    assert done.returncode == 0, done.stdout + done.stderr


def test_what_is_recorded_comes_before_what_is_asked_of_it() -> None:
    """Promtool takes a file's groups in any order, unless it is told one."""
    for path in CASES:
        file = yaml.safe_load(path.read_bytes())
        (rule_file,) = file["rule_files"]
        groups = yaml.safe_load((path.parent / rule_file).read_bytes())["groups"]
        assert file["group_eval_order"] == [group["name"] for group in groups]


def test_each_alert_has_a_case_in_which_it_fires_and_one_in_which_it_does_not() -> None:
    found = list(cases())
    assert {key for _, _, key, firing in found if firing} == set(KEYS)
    assert {key for _, _, key, firing in found if not firing} == set(KEYS)


@pytest.mark.timeout(300)
@pytest.mark.parametrize(
    ("expr", "fails"),
    [
        pytest.param("vector(1) > 1", True, id="an alert that never fires"),
        pytest.param("vector(1)", False, id="an alert that always fires"),
    ],
)
def test_each_case_notices(expr: str, fails: bool, tmp_path: Path) -> None:
    """Faults planted in all alerts at once are found by exactly the cases that must find them."""
    for path in RULES:
        spoiled = yaml.safe_load(path.read_bytes())
        for group in spoiled["groups"]:
            group["rules"] = [
                {"alert": r["alert"], "expr": expr, "labels": r["labels"]}
                for r in group["rules"]
                if "alert" in r
            ]
        (tmp_path / path.name).write_text(yaml.safe_dump(spoiled), encoding="utf-8")
    noticed = set()
    for n, (path, case, key, firing) in enumerate(cases()):
        file = yaml.safe_load(path.read_bytes())
        rule_files = [str(tmp_path / Path(name).name) for name in file["rule_files"]]
        file |= {"tests": [case], "rule_files": rule_files}
        one = tmp_path / f"case-{n}.yaml"
        one.write_text(yaml.safe_dump(file), encoding="utf-8")
        if promtool("test", "rules", one).returncode:
            noticed.add((key, bool(firing)))
    assert noticed >= {(key, fails) for key in KEYS}


# -- what they say


@pytest.mark.parametrize("alert", ALERTS, ids=["-".join(k) for k in KEYS])
def test_an_alert_says_what_it_means_and_where_to_go_on(alert: Rule) -> None:
    assert alert["labels"].keys() == {"severity"}
    assert alert["labels"]["severity"] in ("page", "ticket")
    told = alert["annotations"]
    assert told.keys() == {"summary", "description", "runbook_url", "dashboard_url"}
    assert told["runbook_url"] == f"{OURS}docs/runbook.md#{alert['alert'].lower()}"
    assert told["dashboard_url"].startswith(f"{OURS}grafana/d/lianxin-")
    assert len(told["summary"]) < 100 and told["description"].endswith(".")


def test_the_dashboards_that_alerts_lead_to_exist() -> None:
    boards = (ROOT / "deploy" / "grafana" / "dashboards").glob("*.json")
    known = {board["uid"]: board for path in boards if (board := json.loads(path.read_bytes()))}
    for alert in ALERTS:
        address = urlsplit(alert["annotations"]["dashboard_url"])
        board = known[address.path.rpartition("/")[2]]
        variables = {v["name"] for v in board["templating"]["list"]}
        asked = {name.removeprefix("var-") for name in parse_qs(address.query)}
        assert asked <= variables, alert["alert"]


def test_each_alert_has_its_section_in_the_runbook_and_each_section_its_alert() -> None:
    _, _, part = RUNBOOK.read_text(encoding="utf-8").partition("\n## Alerts\n")
    headings = re.findall(r"^### (.*)$", part.partition("\n## ")[0], re.M)
    assert headings == sorted(set(headings)), "in the order of the alphabet"
    assert set(headings) == {alert["alert"] for alert in ALERTS}


def test_annotations_name_only_labels_that_the_alert_carries() -> None:
    """An unknown label would be an empty word at three in the morning."""
    carried: dict[Key, set[str]] = {}
    for _, _, key, firing in cases():
        for sample in firing:
            labels = set(re.findall(r'(\w+)="', sample["labels"]))
            carried[key] = carried.get(key, labels) & labels
    for alert in ALERTS:
        text = " ".join(alert["annotations"].values())
        assert set(re.findall(r"\$labels\.(\w+)", text)) <= carried[key_of(alert)], alert["alert"]


# -- what they ask for


@pytest.mark.parametrize("rule", rules(), ids=[r.get("alert") or r["record"] for r in rules()])
def test_a_rule_asks_only_for_what_the_services_show(rule: Rule) -> None:
    assert unknown(rule["expr"]) == []
    for selector in selectors(rule["expr"]):
        if selector.name in OURS_ALONE:
            matchers = {m.name: m.value for m in selector.matchers.matchers}
            assert matchers["job"] == "lianxin", selector.name


def test_the_words_in_the_rules_are_those_of_the_code() -> None:
    asked = {
        (selector.name, m.name, m.value)
        for rule in rules()
        for selector in selectors(rule["expr"])
        for m in selector.matchers.matchers
    }
    assert {v for n, _, v in asked if n == "reports_held_total"} == {"lianxin", UNTOLD}
    outcomes = {v for n, k, v in asked if (n, k) == ("provider_calls_total", "outcome")}
    assert outcomes == {Verdict.SENT, Verdict.LOST}
    named = {v for n, k, v in asked if (n, k) == ("up", "service")}
    assert named == set(SERVICES)


def test_the_outbox_is_nearly_full_at_four_fifths_of_its_limit() -> None:
    (alert,) = (a for a in ALERTS if a["alert"] == "OutboxNearlyFull")
    limit = Settings.model_fields["outbox_limit"].default
    assert float(alert["expr"].rpartition("> ")[2]) == 0.8 * limit
