"""Is it true what the documents say: do the files, commands and names exist?"""

from __future__ import annotations

import re
from pathlib import Path
from urllib.parse import unquote

import pytest

from scripts.anchors import ROOT, Gone, corrected, documents, line_of

DOCUMENTS = documents()
IDS = [str(d.relative_to(ROOT)) for d in DOCUMENTS]
MAKEFILE = (ROOT / "Makefile").read_text(encoding="utf-8")
TARGETS = set(re.findall(r"^([a-z0-9-]+):", MAKEFILE, re.M))
#: What exists only once something has run.
MADE = (".data", ".stack", ".venv", "docs/performance.md")


def without_code(text: str) -> str:
    return re.sub(r"^```.*?^```", "", text, flags=re.M | re.S)


def slug(heading: str) -> str:
    """GitHub's anchor of a heading."""
    plain = re.sub(r"\[([^]]*)\]\([^)]*\)", r"\1", heading.strip()).lower()
    return re.sub(r"[^\w\- ]", "", plain).replace(" ", "-")


def test_there_are_documents_to_look_at() -> None:
    assert {"README.md", "README.zh-CN.md", "CONTRIBUTING.md", "docs/tour.md"} <= set(IDS)


@pytest.mark.parametrize("document", DOCUMENTS, ids=IDS)
def test_every_link_leads_somewhere(document: Path) -> None:
    text = document.read_text(encoding="utf-8")
    for target in re.findall(r"\]\(([^)\s]+)\)", without_code(text)):
        if re.match(r"[a-z]+:", target):
            continue  # another site
        path, _, anchor = unquote(target).partition("#")
        file = (document.parent / path).resolve() if path else document
        assert file.exists(), target
        if anchor and file.suffix == ".md":
            headings = re.findall(r"^#+ (.*)$", without_code(file.read_text("utf-8")), re.M)
            assert anchor in [slug(h) for h in headings], target


@pytest.mark.parametrize("document", DOCUMENTS, ids=IDS)
def test_every_make_target_that_is_mentioned_exists(document: Path) -> None:
    text = document.read_text(encoding="utf-8")
    code = re.findall(r"`[^`\n]+`", text) + re.findall(r"^```.*?^```", text, re.M | re.S)
    mentioned = {t for c in code for t in re.findall(r"\bmake (?:-s )?([a-z][a-z0-9-]*)", c)}
    assert mentioned <= TARGETS


@pytest.mark.parametrize("document", DOCUMENTS, ids=IDS)
def test_every_path_and_module_that_is_mentioned_exists(document: Path) -> None:
    text = without_code(document.read_text(encoding="utf-8"))
    tops = "|".join(re.escape(p.name) for p in ROOT.iterdir() if p.is_dir())
    for path in re.findall(rf"`((?:{tops})/[\w./-]+)`", text):
        if not path.startswith(MADE):
            assert (ROOT / path).exists(), path
    for module in re.findall(r"python -m ((?:libs|services|scripts|bench)[\w.]*)", text):
        base = ROOT / module.replace(".", "/")
        assert base.with_suffix(".py").exists() or (base / "__main__.py").exists(), module


@pytest.mark.parametrize("document", DOCUMENTS, ids=IDS)
def test_the_line_numbers_of_the_documents_are_right(document: Path) -> None:
    """``make fmt`` puts them right."""
    assert corrected(document) == document.read_text(encoding="utf-8")


def test_a_name_that_is_gone_is_said(tmp_path: Path) -> None:
    with pytest.raises(Gone):
        line_of("no_such_name", ROOT / "scripts" / "anchors.py")


def test_the_targets_that_the_readme_promises_are_listed_by_help() -> None:
    listed = set(re.findall(r"^([a-z0-9-]+):.*## ", MAKEFILE, re.M))
    assert {
        *("setup", "run", "demo", "test", "check", "fmt", "lint", "types"),
        *("contracts", "bench", "token", "clean"),
    } <= listed


def test_the_documents_name_the_variables_that_the_stack_knows() -> None:
    sources = "\n".join(
        p.read_text(encoding="utf-8")
        for p in [*(ROOT / "libs/common/devstack").rglob("*.py"), ROOT / "scripts/bootstrap.py"]
    )
    for readme in ("README.md", "README.zh-CN.md"):
        text = (ROOT / readme).read_text(encoding="utf-8").split("## ")
        for name in set(re.findall(r"`([A-Z][A-Z_]{3,})(?:=[^`]*)?`", "".join(text))):
            ports = name.removesuffix("_PORT").lower() if name.endswith("_PORT") else "?"
            assert name in sources or f'"{ports}"' in sources, f"{readme}: {name}"
