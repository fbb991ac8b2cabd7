"""What does AsyncAPI's own parser say of ``contracts/asyncapi.yaml``?

It is a package of npm, locked in ``contracts/lint``.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from scripts.bootstrap import ROOT, Failed
from scripts.npm_packages import UNREACHABLE, node, packages

LINT = ROOT / "contracts" / "lint"


def lint(document: Path) -> int:
    """The exit code: 0 if the parser has nothing to report."""
    program, npm = node()
    home = packages(npm, LINT, "the parser of AsyncAPI (55 MB)")
    return subprocess.run([*program, LINT / "lint.mjs", home, document], check=False).returncode


def main() -> int:
    try:
        return lint(ROOT / "contracts" / "asyncapi.yaml")
    except Failed as failed:
        if os.environ.get("CI") != "true" and UNREACHABLE.search(str(failed)):
            print("asyncapi: not checked, since the registry of npm can't be reached")
            return 0
        print(f"asyncapi: {failed}", file=sys.stderr)
        return 1


if __name__ == "__main__":
    sys.exit(main())
