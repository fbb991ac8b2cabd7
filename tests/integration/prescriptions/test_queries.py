"""Does a command of a renewal have the database read a whole collection?

What it asks, from the request to both signatures, is recorded and then explained by the
database itself. Time would not show it here: a test's collections are small.
"""

from __future__ import annotations

import uuid
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from bson import json_util
from pymongo import monitoring

from libs.common.devstack.stack import Stack
from tests.integration.prescriptions.given import Hospital
from tests.integration.prescriptions.replicas import replicas


class Queries(monitoring.CommandListener):
    """The ``find`` commands of a database, each once for its form."""

    def __init__(self) -> None:
        self.found: dict[str, dict[str, Any]] = {}

    def started(self, event: monitoring.CommandStartedEvent) -> None:
        if event.command_name == "find" and event.command["find"] not in _OWN:
            asked = {k: event.command[k] for k in ("find", "filter", "sort") if k in event.command}
            if _of_several_hospitals(asked):
                return
            self.found.setdefault(f"{asked['find']} {_form(asked)}", asked)

    def succeeded(self, event: monitoring.CommandSucceededEvent) -> None: ...

    def failed(self, event: monitoring.CommandFailedEvent) -> None: ...


#: The runtime's, a few documents each, or by ``_id``.
_OWN = frozenset({"leases", "streams", "outbox", "timers", "migrations"})


def _of_several_hospitals(asked: Mapping[str, Any]) -> bool:
    """Then other tests' records, still being read, were in its batch. By two lists the embedded
    server reads all; MongoDB does not."""
    hospital = asked["filter"].get("hospital")
    return isinstance(hospital, Mapping) and len(hospital["$in"]) > 1


def _form(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {k: _form(v) for k, v in value.items()}
    if isinstance(value, list):
        return ["several" if len(value) > 1 else "one", *(_form(v) for v in value[:1])]
    return type(value).__name__


def stages(plan: Any) -> set[str]:
    """All stages of a plan."""
    if isinstance(plan, Mapping):
        own = {plan["stage"]} if isinstance(plan.get("stage"), str) else set()
        return own.union(*map(stages, plan.values()))
    return set().union(*map(stages, plan)) if isinstance(plan, list) else set()


async def test_no_command_of_a_renewal_reads_a_whole_collection(
    stack: Stack, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    queries = Queries()
    # As ``monitoring.register``, but for this test's clients alone.
    listening = monitoring._LISTENERS._replace(command_listeners=[queries])
    monkeypatch.setattr(monitoring, "_LISTENERS", listening)
    async with replicas(stack, tmp_path, 1) as service:
        hospital = Hospital(service, f"h{uuid.uuid4().hex[:10]}")
        await hospital.prescribe("rx1", "rx2")
        queries.found.clear()
        await hospital.renewed("rx1")
        await hospital.asked("rx2")
        assert len(queries.found) > 8
        database = service.database.raw("refills").database
        whole = []
        for asked in list(queries.found.values()):
            plan = await database.command("explain", asked, verbosity="queryPlanner")
            if "COLLSCAN" in stages(plan["queryPlanner"]["winningPlan"]):
                whole.append(json_util.dumps(asked))
        assert whole == []
