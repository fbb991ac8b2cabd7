"""What stands in a YAML file? A key that stands there twice is a mistake, not a choice.

YAML 1.2, section 3.2.1.3, asks for unique keys; PyYAML silently takes the last one.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import yaml


class _Loader(yaml.SafeLoader):
    def compose_mapping_node(self, anchor: Any) -> yaml.MappingNode:
        # Here, not on construction: by then ``<<`` has put merged keys beside the own ones.
        node: yaml.MappingNode = super().compose_mapping_node(anchor)
        seen = set()
        for key, _ in node.value:
            if not isinstance(key, yaml.ScalarNode):
                continue
            if (key.tag, key.value) in seen:
                raise yaml.composer.ComposerError(
                    "while reading a mapping",
                    node.start_mark,
                    f"the key {key.value!r} stands there twice",
                    key.start_mark,
                )
            seen.add((key.tag, key.value))
        return node


def read(path: Path) -> Any:
    """The one document in the file; ``yaml.YAMLError`` names the file and the line."""
    with path.open("rb") as file:
        return yaml.load(file, _Loader)  # noqa: S506 - a SafeLoader


def checked(folder: Path, check: Callable[[Any], object], pattern: str = "*.yaml") -> list[Any]:
    """The documents of a folder's files, in the names' order, each of which ``check`` takes.

    ``ValueError`` names the file, and is from what ``check`` raised.
    """
    found = []
    for file in sorted(folder.glob(pattern)):
        try:
            found.append(read(file))
            check(found[-1])
        except (ValueError, TypeError, KeyError, yaml.YAMLError) as error:
            raise ValueError(f"{file}: {error}") from error
    return found
