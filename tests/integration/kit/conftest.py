"""A stack for each of these files: what they publish must not reach the services of other tests."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from libs.common.devstack.stack import Stack


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    with Stack(tmp_path_factory.mktemp("stack")) as running:
        yield running
