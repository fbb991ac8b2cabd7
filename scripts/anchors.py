"""Do the links of the documents lead to the lines where the names stand that they mention?

``[`name`](../path.py#L12)`` leads to the line of ``class name``, ``def name`` or ``name =``.
``python -m scripts.anchors`` (part of ``make fmt``) puts the numbers right; the tests say
when one is wrong, or when the name is gone.
"""

from __future__ import annotations

import re
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
_LINK = re.compile(r"(\[`(\w+)`\]\(([^)#\s]+\.py)#L)\d+\)")


class Gone(Exception):
    """A document mentions a name that its file no longer has."""


def line_of(name: str, file: Path) -> int:
    """Where ``name`` is defined in ``file``, counted from 1."""
    defined = re.compile(rf"\s*(?:class|def|async def) {name}\b|{name}\b(?:\s*:[^=]+)?\s*=")
    for number, line in enumerate(file.read_text(encoding="utf-8").splitlines(), 1):
        if defined.match(line):
            return number
    raise Gone(f"{file.relative_to(ROOT)} has no {name}")


def corrected(document: Path) -> str:
    """The text of ``document`` with every line number as it is now."""

    def link(match: re.Match[str]) -> str:
        return f"{match[1]}{line_of(match[2], (document.parent / match[3]).resolve())})"

    return _LINK.sub(link, document.read_text(encoding="utf-8"))


def documents() -> list[Path]:
    return sorted([*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md"), *ROOT.glob("*/README.md")])


def main() -> int:
    for document in documents():
        try:
            text = corrected(document)
        except Gone as gone:
            print(f"{document.relative_to(ROOT)}: {gone}", file=sys.stderr)
            return 1
        if text != document.read_text(encoding="utf-8"):
            document.write_text(text, encoding="utf-8")
            print(f"{document.relative_to(ROOT)}: anchors put right")
    return 0


if __name__ == "__main__":
    sys.exit(main())
