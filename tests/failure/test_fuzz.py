"""Does any input at all break what reads from a hospital's systems? (atheris, libFuzzer)"""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.fuzz.run import TARGETS, fuzz

pytest.importorskip("atheris", reason="atheris is built for Linux on x86-64, Python up to 3.13")

#: Enough to meet each kind of change many times, in some ten seconds together.
RUNS = {"frames": 30_000, "headers": 10_000, "texts": 20_000, "messages": 4_000}


@pytest.mark.parametrize("target", TARGETS)
def test_a_short_search_finds_nothing(target: str, tmp_path: Path) -> None:
    assert fuzz(target, tmp_path, seconds=30, runs=RUNS[target], seed=1) >= RUNS[target] / 4


@pytest.mark.soak
@pytest.mark.timeout(4_000)
@pytest.mark.parametrize("target", TARGETS)
def test_a_long_search_finds_nothing(target: str, tmp_path: Path) -> None:
    assert fuzz(target, tmp_path, seconds=1_200) > 100_000
