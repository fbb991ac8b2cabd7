"""Does the setup tell a person what to do, and honour what their machine says?"""

from __future__ import annotations

from pathlib import Path

import pytest

from scripts import bootstrap


@pytest.mark.parametrize(
    ("output", "remedy"),
    [
        ("OSError: [Errno 28] No space left on device", "free about"),
        ("error: Failed to fetch ...\n  cause: dns error", "HTTPS_PROXY"),
        (
            "ERROR: Could not connect: Connection refused\nNo matching distribution found",
            "PIP_INDEX_URL",
        ),
        ("error: invalid peer certificate: UnknownIssuer", "PIP_INDEX_URL"),
        ("error: Hash mismatch for `ruff==0.17.6`", "cache"),
        ("No solution found: secantusdb has no wheels with a matching platform", "PYTHON="),
        ("error: something new", "something new"),
    ],
)
def test_a_failed_installer_becomes_one_sentence_with_the_remedy(output: str, remedy: str) -> None:
    sentence = bootstrap.why(output)
    assert remedy in sentence
    assert "\n" not in sentence
    assert sentence.endswith(".")


def test_what_was_set_for_pip_goes_for_uv(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    settings = {
        "index-url": "index.example",
        "extra-index-url": "more.example",
        "find-links": f"{tmp_path} {tmp_path}/missing",
        "cert": "/ca.pem",
    }
    monkeypatch.setattr(bootstrap, "pip_settings", lambda: settings)
    for variable in (*bootstrap.PIP_TO_UV.values(), "REQUESTS_CA_BUNDLE"):
        monkeypatch.delenv(variable, raising=False)
    env = bootstrap.installer_environment()
    assert env["UV_DEFAULT_INDEX"] == "index.example"
    assert env["UV_INDEX"] == "more.example"
    assert env["UV_FIND_LINKS"] == str(tmp_path)  # uv stops at a folder that is not there
    assert env["SSL_CERT_FILE"] == env["REQUESTS_CA_BUNDLE"] == "/ca.pem"


def test_what_was_set_for_uv_itself_comes_first(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bootstrap, "pip_settings", lambda: {"index-url": "pip.example"})
    monkeypatch.setenv("UV_DEFAULT_INDEX", "uv.example")
    assert bootstrap.installer_environment()["UV_DEFAULT_INDEX"] == "uv.example"


def test_pip_is_asked_for_its_files_and_variables(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PIP_INDEX_URL", "variable.example")
    assert bootstrap.pip_settings()["index-url"] == "variable.example"


def test_a_lock_that_changed_has_another_hash(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(bootstrap, "LOCKS", tmp_path)
    (tmp_path / "run.txt").write_text("a==1")
    before = bootstrap.lock_hash("run.txt")
    (tmp_path / "run.txt").write_text("a==2")
    assert bootstrap.lock_hash("run.txt") != before


def test_a_python_without_pip_and_venv_is_told_the_line_to_type(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(bootstrap, "CACHE", tmp_path)
    monkeypatch.setattr(bootstrap, "has_module", lambda name: False)
    monkeypatch.setattr("shutil.which", lambda name: None)
    with pytest.raises(bootstrap.Failed, match="apt-get install -y python3-venv"):
        bootstrap.uv()


def test_too_little_disk_is_said_before_anything_is_fetched(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(bootstrap, "ROOT", tmp_path)
    monkeypatch.setattr(bootstrap, "CACHE", tmp_path)
    monkeypatch.setattr(bootstrap, "NEEDED_MIB", 10**9)
    with pytest.raises(bootstrap.Failed, match="free some space"):
        bootstrap.main("setup")
