"""Do the targets hold for so many seconds? ``python -m tests.fuzz.run [--seconds 60]``

Each runs in a process of its own with bounds on memory and on the time of one input, and
begins with the corpus of messages and with what earlier runs have found worth keeping.
"""

from __future__ import annotations

import argparse
import re
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]
SEEDS = ROOT / "tests" / "data" / "hl7"
TARGETS = ("frames", "headers", "texts", "messages")
#: Megabytes of the process; it has 110 when it begins. Seconds for one input; it takes 1 ms.
MOST_MEMORY, MOST_SECONDS = 512, 5
#: Bytes of one input, a few times a real message.
LONGEST = 16_384


def fuzz(target: str, folder: Path, *, seconds: int, runs: int = -1, seed: int = 0) -> int:
    """The number of inputs that were tried. Raises ``RuntimeError`` if one broke ``target``.

    With ``runs`` and ``seed`` it tries the same inputs each time, as long as the code is the
    same. ``folder`` keeps the corpus and what broke.
    """
    corpus = folder / target
    corpus.mkdir(parents=True, exist_ok=True)
    options = {
        "max_total_time": seconds,
        "runs": runs,
        "seed": seed,
        "max_len": LONGEST,
        "timeout": MOST_SECONDS,
        "rss_limit_mb": MOST_MEMORY,
        "artifact_prefix": f"{folder}/{target}-",
        "print_final_stats": 1,
    }
    done = subprocess.run(
        [
            # Forked by a shell: a process's peak of memory is, at first, that of who forked it,
            # and the tests before this one may have taken more than the limit.
            *("/bin/sh", "-c", '"$@"; exit $?', "sh"),
            *(sys.executable, "-m", "tests.fuzz", target),
            *(f"-{name}={value}" for name, value in options.items()),
            *(str(corpus), str(SEEDS)),
        ],
        cwd=ROOT,
        env={"PYTHONHASHSEED": "0"},
        capture_output=True,
        text=True,
        errors="replace",
        timeout=2 * seconds + 60,
        check=False,
    )
    tried = re.search(r"number_of_executed_units: (\d+)", done.stderr)
    if done.returncode or tried is None:
        raise RuntimeError(f"{target} ended with {done.returncode}:\n{done.stderr[-4000:]}")
    return int(tried[1])


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--seconds", type=int, default=60, help="for each target")
    parser.add_argument("--folder", type=Path, default=ROOT / ".data" / "fuzz")
    arguments = parser.parse_args()
    for target in TARGETS:
        tried = fuzz(target, arguments.folder.resolve(), seconds=arguments.seconds)
        print(f"{target}: {tried} inputs", flush=True)


if __name__ == "__main__":
    main()
