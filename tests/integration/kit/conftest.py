"""A stack for each of these files: what they publish must not reach the services of other tests.

And the kit's Java programs, compiled once.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from libs.common.devstack.stack import Stack
from tests.integration.kit.programs import KIT, compiled


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    with Stack(tmp_path_factory.mktemp("stack")) as running:
        yield running


@pytest.fixture(scope="session")
def classes(tmp_path_factory: pytest.TempPathFactory) -> Path:
    grant = Path(__file__).with_name("Grant.java")
    return compiled(tmp_path_factory.mktemp("classes"), KIT / "java", grant)
