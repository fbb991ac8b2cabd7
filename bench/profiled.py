"""How many function calls does an event take, and in whose code?

A number without noise: on the same Python minor and in the same batches it is the same on
any machine, however loaded. ``python -m bench.profiled ours`` prints it, and where the
time goes, for docs/performance.md. It sees the event loop's thread: not the database
driver's, whose work is a handful of calls for each command.
"""

from __future__ import annotations

import argparse
import asyncio
import cProfile
import logging
import pstats
import tempfile
from collections import Counter
from pathlib import Path

import uvloop

from bench.cases import CASES
from bench.world import Meter, World, prefill
from libs.common import logs
from libs.common.devstack.stack import Stack


class CallMeter(Meter):
    """Profiles from the first batch to the last acknowledgement."""

    profile: cProfile.Profile | None = None

    def begin(self) -> None:
        super().begin()
        if self.profile is None:
            self.profile = cProfile.Profile()
            self.profile.enable()

    def acked(self, count: int) -> None:
        super().acked(count)
        if self.profile is not None and self.acknowledged >= self.events:
            self.profile.disable()

    @property
    def stats(self) -> pstats.Stats:
        assert self.profile is not None, "nothing was read"
        return pstats.Stats(self.profile)

    @property
    def calls(self) -> float:
        """Function calls for each event, C functions included."""
        total: int = self.stats.total_calls  # type: ignore[attr-defined]
        return total / self.events


#: Where a function's own time is counted, by the path of its file; the first match counts.
PARTS = {
    "the event format (cloudevents.py, partition.py)": ("common/cloudevents", "common/partition"),
    "deriving ids, copying documents (decision.py)": ("common/decision",),
    "deciding (planning.py, working_set.py)": ("common/planning", "common/working_set"),
    "saving (engine.py, rows.py, mongo)": ("common/engine", "common/rows", "common/mongo"),
    "consuming (consumer.py, kafka)": ("common/consumer", "common/intake", "common/kafka"),
    "sending (relay.py)": ("common/relay",),
    "tracing (spans.py, otlp.py)": ("common/spans", "common/otlp"),
    "the rule itself (toy.py)": ("support/toy",),
    "aiokafka": ("aiokafka",),
    "pydantic": ("pydantic",),
    "motor and pymongo": ("motor", "pymongo", "bson"),
}


def by_part(stats: pstats.Stats) -> Counter[str]:
    """Own seconds of each part; what built-in functions take counts for their callers."""
    found: Counter[str] = Counter()
    table = stats.stats  # type: ignore[attr-defined]
    for (file, _, name), (_, _, own, _, callers) in table.items():
        if file == "~" and callers:
            for (caller, _, _), (_, _, part, _) in callers.items():
                found[_part(caller, name)] += part
        else:
            found[_part(file, name)] += own
    return found


def _part(file: str, name: str) -> str:
    for part, paths in PARTS.items():
        if any(path in file for path in paths) or (file == "~" and part in name):
            return part
    return "the event loop and the rest"


async def _profile(name: str, stack: Stack) -> CallMeter:
    case = CASES[name]
    await prefill(stack.bootstrap, case.topic, 0)
    meter = CallMeter(case.events)
    world = World(
        bootstrap=stack.bootstrap, mongo_url=stack.mongo_url, topic=case.topic, meter=meter
    )
    await world.prepare()
    await case.run(world)
    await world.toy.remove()
    return meter


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m bench.profiled")
    parser.add_argument("case", nargs="?", default="ours", choices=sorted(CASES))
    parser.add_argument("--lines", type=int, default=0, help="also the first lines of cProfile")
    arguments = parser.parse_args()
    logs.configure("bench", level="ERROR")
    logging.disable(logging.WARNING)
    with (
        tempfile.TemporaryDirectory() as folder,
        Stack(Path(folder)) as stack,
        asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner,
    ):
        meter = runner.run(_profile(arguments.case, stack))
    print(f"{meter.calls:.1f} function calls for each event\n")
    parts = by_part(meter.stats)
    for part, seconds in parts.most_common():
        print(f"| {part} | {100 * seconds / parts.total():.0f} % |")
    if arguments.lines:
        meter.stats.sort_stats("tottime").print_stats(arguments.lines)


if __name__ == "__main__":
    main()
