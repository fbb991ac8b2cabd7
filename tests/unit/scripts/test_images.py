"""Is a build lent what this machine says to pip, and does a list of packages hold an image's?"""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from scripts import images, sbom

LOCK = """\
# made by a tool
colorama==0.4.6 ; sys_platform == 'win32' \\
    --hash=sha256:aa
    # via typer
typer==0.29.2 \\
    --hash=sha256:bb \\
    --hash=sha256:cc
uvloop==0.23.0 ; sys_platform != 'win32' \\
    --hash=sha256:dd
"""


def lent(told: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> dict[str, str]:
    """The secrets of a build by what they hold."""
    monkeypatch.setattr(images, "pip_settings", lambda: told)
    with images.secrets() as flags:
        found = [re.fullmatch(r"--secret=id=(\S+),src=(\S+)", flag) for flag in flags]
        return {match[1]: Path(match[2]).read_text("utf-8") for match in found if match}


def test_an_index_goes_to_pip_and_to_uv(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    bundle = tmp_path / "ca.crt"
    bundle.write_text("ours")
    told = {"index-url": "https://pypi.example/simple", "cert": str(bundle), "timeout": "9"}
    assert lent(told, monkeypatch) == {
        "pip.conf": "[global]\nindex-url = https://pypi.example/simple\n",
        "uv.toml": '[[index]]\nurl = "https://pypi.example/simple"\ndefault = true\n',
        "ca.crt": "ours",
    }


def test_where_nothing_is_set_nothing_is_said(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(images, "CA_BUNDLE", tmp_path / "absent")
    assert lent({}, monkeypatch) == {"pip.conf": "[global]\n", "uv.toml": ""}


def test_an_unknown_service_is_refused_before_anything_is_built() -> None:
    with pytest.raises(SystemExit, match="nobody: there are enrollment, "):
        images.main(["nobody"])


def test_what_a_lock_holds_for_other_systems_is_in_no_image(tmp_path: Path) -> None:
    lock = tmp_path / "run.txt"
    lock.write_text(LOCK)
    assert sbom.packages(lock) == {"typer": "0.29.2", "uvloop": "0.23.0"}
    (typer, _) = sbom.requirements(lock)
    assert typer.split() == ["typer==0.29.2", "--hash=sha256:bb", "--hash=sha256:cc"]
