"""What do the tests in containers have? Images really built, and podman to run them, as root.

``built`` gives the image of a service, building it the first time::

    built("enrollment")  # "lianxin/enrollment:0b230370df381981", known to podman
    built("cli")

The tag is the hash of what is in it; give another one with ``podman tag`` where a manifest asks for
it. ``tests.support.podman`` runs them: ``podman(…)``, ``run(…)``, ``container(…)``. The images
of Kafka and of the database are ``tests.support.images.kafka()`` and ``.database()``. Nothing is
ever pulled; nothing is left running.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterator

import pytest

from libs.common.dev_issuer import JWKS_FILE
from libs.common.devstack import services
from libs.common.devstack.stack import Stack
from tests.containers.hosted import Hosted
from tests.support import images

NEEDED = ("podman", "runc", "conmon", "netavark", "catatonit", "debootstrap")


@pytest.fixture(scope="session", autouse=True)
def _able() -> None:
    """Failing, not skipping: who asks for these tests wants to know."""
    # netavark and catatonit are not on the path.
    places = [*os.get_exec_path(), "/usr/lib/podman", "/usr/libexec/podman", "/usr/sbin"]
    path = os.pathsep.join(places)
    missing = [name for name in NEEDED if not shutil.which(name, path=path)]
    if missing or os.geteuid():
        pytest.fail(
            f"These tests need root and podman, and this machine lacks {missing or 'root'}: type "
            f"`apt-get install --no-install-recommends {' '.join(NEEDED)}` (see .ci/run)."
        )


@pytest.fixture(scope="session")
def built() -> Callable[[str], str]:
    """The image of a service or of ``cli``: a name that podman knows."""
    return images.service


@pytest.fixture(scope="session")
def hosted(
    stack: Stack, built: Callable[[str], str], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Hosted]:
    """Services in containers over the run's own Kafka and database."""
    stack.issuer()
    keys = tmp_path_factory.mktemp("keys")
    shutil.copy(services.issuer_folder(stack.folder) / JWKS_FILE, keys)
    shutil.copytree(services.cipher_folder(stack.folder), keys / "cipher")
    # They are for their owner alone; a container's user has to read this copy.
    for path in (keys, *keys.rglob("*")):
        path.chmod(0o755 if path.is_dir() else 0o644)
    yield Hosted(stack, built, keys)
