"""Does docs/settings.md name every variable, each with its meaning?"""

from __future__ import annotations

import re

from scripts.anchors import ROOT
from scripts.settings import markdown


def test_the_page_is_what_the_services_read() -> None:
    page = (ROOT / "docs" / "settings.md").read_text(encoding="utf-8")
    assert page == markdown(), "run: python -m scripts.settings > docs/settings.md"


def test_every_variable_has_a_meaning() -> None:
    assert re.findall(r"^\| `(\w+)` \|[^|]*\|\s*\|$", markdown(), re.M) == []
