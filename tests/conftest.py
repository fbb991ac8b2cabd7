"""What do all tests share? One broker and one database for a whole run, and no silence.

What a machine can't run is listed at the end; with ``CI=true`` it is a failure.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

from libs.common.devstack.errors import StackError
from libs.common.devstack.stack import Stack

IN_CI = os.environ.get("CI") == "true"
cannot_run = pytest.StashKey[list[str]]()

# A busy machine is no counterexample. New examples each time for a person, the same in CI.
settings.register_profile(
    "lianxin", deadline=None, suppress_health_check=[HealthCheck.too_slow], derandomize=IN_CI
)
settings.load_profile("lianxin")


@pytest.fixture(scope="session")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    """A broker (``.bootstrap``) and a database (``.mongo_url``) of this run's own.

    Services are started over it by the tests that need them. A test that kills the broker
    or the database takes a ``Stack`` of its own.
    """
    with Stack(tmp_path_factory.mktemp("stack")) as running:
        yield running


def pytest_configure(config: pytest.Config) -> None:
    config.stash[cannot_run] = []


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    unit = Path(__file__).parent / "unit"
    for item in items:
        if unit in item.path.parents:
            item.add_marker(pytest.mark.filterwarnings("error"))


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Iterator[None]:
    outcome = yield
    report: pytest.TestReport = outcome.get_result()  # type: ignore[attr-defined]
    if report.skipped and not hasattr(report, "wasxfail"):
        reason = report.longrepr[2] if isinstance(report.longrepr, tuple) else str(report.longrepr)
        item.config.stash[cannot_run].append(f"{item.nodeid}: {reason}")
        if IN_CI:
            report.outcome = "failed"
            report.longrepr = f"With CI=true everything must run, and this did not: {reason}"


def pytest_terminal_summary(
    terminalreporter: pytest.TerminalReporter, config: pytest.Config
) -> None:
    if missing := config.stash[cannot_run]:
        terminalreporter.section("not run on this machine", sep="-")
        for line in missing:
            terminalreporter.write_line(line)


@pytest.hookimpl(tryfirst=True)
def pytest_exception_interact(call: pytest.CallInfo[object], report: pytest.TestReport) -> None:
    """A stack that can't start says so in its own sentence, without our traceback."""
    if call.excinfo is not None and call.excinfo.errisinstance(StackError):
        report.longrepr = str(call.excinfo.value)
