"""Which of the cases is how many times dearer, and is that what we aimed at?

What counts are ratios within a round: the machine's speed drifts, and a ratio of two runs
that follow on one another drifts little.
"""

from __future__ import annotations

import statistics
from collections.abc import Iterator, Mapping, Sequence
from typing import Literal, NamedTuple


class Goal(NamedTuple):
    """``case`` costs at most (or at least) ``aim`` times ``base``; beyond ``line`` it failed."""

    case: str
    base: str
    sign: Literal["<=", ">="]
    aim: float
    line: float

    def word(self, ratio: float) -> str:
        ahead = 1 if self.sign == "<=" else -1
        if ahead * ratio <= ahead * self.aim:
            return "met"
        return "within the line" if ahead * ratio <= ahead * self.line else "FAILED"


def rotated(cases: Sequence[str], round: int) -> list[str]:
    """Every case comes first in turn, so that none always follows the same one."""
    first = round % len(cases)
    return [*cases[first:], *cases[:first]]


def spread(values: Sequence[float], digits: int) -> str:
    low, high = min(values), max(values)
    return f"{statistics.median(values):.{digits}f} ({low:.{digits}f}-{high:.{digits}f})"


def table(results: Mapping[str, Sequence[float]], goals: Sequence[Goal]) -> Iterator[str]:
    """Both tables as Markdown; ``results`` has one number for each round."""
    yield "| case | µs CPU an event: median (min-max) |"
    yield "|---|---|"
    for case, values in results.items():
        yield f"| {case} | {spread(values, 0)} |"
    yield ""
    yield "| ratio | median (min-max) | aim | line | |"
    yield "|---|---|---|---|---|"
    for goal in goals:
        if goal.case in results and goal.base in results:
            pairs = zip(results[goal.case], results[goal.base], strict=True)
            ratios = [case / base for case, base in pairs]
            yield (
                f"| {goal.case} / {goal.base} | {spread(ratios, 2)} "
                f"| {goal.sign} {goal.aim:g} | {goal.line:g} "
                f"| {goal.word(statistics.median(ratios))} |"
            )
