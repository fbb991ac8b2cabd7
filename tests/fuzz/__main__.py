"""Which bytes break a reader of ours? ``python -m tests.fuzz TARGET [libFuzzer's options]``

``make fuzz`` runs every target for some seconds (``tests/fuzz/run.py``). What breaks one is
written to a file: ``python -m tests.fuzz TARGET FILE`` shows it again.
"""

from __future__ import annotations

import sys
from random import Random

import atheris

with atheris.instrument_imports(include=["services.interop"]):
    from tests.fuzz.mutate import mutated
    from tests.fuzz.targets import POOL, TARGETS


def mutator(data: bytes, max_size: int, seed: int) -> bytes:
    random = Random(seed)
    if not data or random.random() < 0.2:
        return bytes(atheris.Mutate(data, max_size))
    return mutated(data, random, POOL)[:max_size]


def crossover(data: bytes, other: bytes, max_size: int, seed: int) -> bytes:
    """The first segments of one and the last of the other."""
    random = Random(seed)
    ours, theirs = data.split(b"\r"), other.split(b"\r")
    first = ours[: random.randrange(len(ours) + 1)]
    return b"\r".join([*first, *theirs[random.randrange(len(theirs) + 1) :]])[:max_size]


def main() -> None:
    name, *options = sys.argv[1:] or [""]
    if name not in TARGETS:
        raise SystemExit(f"a target is one of {', '.join(TARGETS)}")
    own = {"custom_mutator": mutator, "custom_crossover": crossover} if name != "frames" else {}
    atheris.Setup([sys.argv[0], *options], TARGETS[name], **own)
    atheris.Fuzz()


if __name__ == "__main__":
    main()
