"""What is read of a YAML file, and what is refused?"""

from __future__ import annotations

import ast
from pathlib import Path

import pytest
import yaml

from libs.common import yaml_files


def _file(folder: Path, text: str) -> Path:
    path = folder / "a.yaml"
    path.write_text(text, encoding="utf-8")
    return path


@pytest.mark.parametrize(
    "text", ["a: 1\nb: 2\na: 3", "x:\n  - {a: 1, 'a': 2}", "{1: a, 1: b}", "a: {b: 1}\na: {c: 1}"]
)
def test_a_key_that_stands_twice_is_refused_with_file_and_line(tmp_path: Path, text: str) -> None:
    with pytest.raises(yaml.YAMLError, match=r"twice\n.*a\.yaml.*line"):
        yaml_files.read(_file(tmp_path, text))


def test_the_same_key_in_two_mappings_and_a_merged_one_are_taken(tmp_path: Path) -> None:
    text = "a: &a {k: 1, 名: x}\nb: {<<: *a, k: 2}\nc: *a"
    assert yaml_files.read(_file(tmp_path, text)) == {
        "a": {"k": 1, "名": "x"},
        "b": {"k": 2, "名": "x"},
        "c": {"k": 1, "名": "x"},
    }


def test_nothing_but_plain_values_is_built(tmp_path: Path) -> None:
    with pytest.raises(yaml.YAMLError):
        yaml_files.read(_file(tmp_path, "!!python/object/apply:os.getcwd []"))


@pytest.mark.parametrize("path", sorted(Path("policies").rglob("*.yaml")), ids=str)
def test_every_policy_can_be_read(path: Path) -> None:
    assert yaml_files.read(path)


def test_no_service_reads_yaml_in_another_way() -> None:
    calls = [
        f"{path}:{node.lineno}"
        for path in Path("services").rglob("*.py")
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.Attribute)
        and isinstance(node.value, ast.Name)
        and node.value.id == "yaml"
        and "load" in node.attr
    ]
    assert calls == []
