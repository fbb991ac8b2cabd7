"""What is in an image, and is it no more than a service needs and the SBOM says?"""

from __future__ import annotations

import json
import re
import subprocess
from collections.abc import Callable
from pathlib import PurePosixPath

import pytest

from libs.common.devstack.places import ROOT
from scripts import sbom
from scripts.images import NAMES
from tests.support import images
from tests.support.podman import podman

#: The first test that asks for an image waits until it is built.
pytestmark = pytest.mark.timeout(900)

Built = Callable[[str], str]

#: What installs or builds software, wherever it is.
BUILDERS = re.compile(
    r"/bin/(uv|uvx|pip|wheel|gcc|g\+\+|cc|c\+\+|ld|make|git|curl|wget)[\d.]*$"
    r"|/(pip|setuptools|wheel|ensurepip|pytest|mypy|hypothesis|testcontainers)/__init__\.py$"
    r"|/Python\.h$|\.whl$"
)
#: What a build is lent, and its own folders.
LENT = ("/build", "/etc/pip.conf", "/etc/uv", "/run/secrets")
INSTALLED = """
import json
from importlib.metadata import distributions
print(json.dumps({d.name: d.version for d in distributions(path=["%s"])}))
"""
SITE = "/opt/venv/lib/python3.11/site-packages"


def inside(image: str, program: str, *arguments: str) -> str:
    """What a program of the image says, asked as root, who sees everything."""
    options = ("--rm", "--pull=never", "--user=0", "--network=none", f"--entrypoint={program}")
    return podman("run", *options, image, *arguments)


def files(image: str, *which: str) -> set[PurePosixPath]:
    found = inside(image, "find", "/", "-xdev", "-type", "f", *which).splitlines()
    return {PurePosixPath(line) for line in found}


def normal(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


@pytest.mark.parametrize("name", NAMES)
def test_what_is_installed_is_the_lock_and_the_sbom_and_nothing_else(
    name: str, built: Built
) -> None:
    told = json.loads(inside(built(name), "python", "-c", INSTALLED % SITE))
    installed = {normal(package): version for package, version in told.items()}
    locked = sbom.packages(sbom.lock(name))
    assert installed == {normal(package): version for package, version in locked.items()}

    document = sbom.document(name, "1.2.3")
    listed = {normal(c["name"]): c["version"] for c in document["components"]}
    assert listed == installed
    assert all("pkg:pypi/" in component["purl"] for component in document["components"])
    main = document["metadata"]["component"]
    assert (main["name"], main["version"]) == (f"lianxin/{name}", "1.2.3")


def own_files(name: str) -> set[PurePosixPath]:
    """What of the checkout belongs into the image of ``name``."""
    parts = ["libs", ":!libs/common/devstack", "policies"]
    parts += ["services", "lianxin", "contracts/topics"] if name == "cli" else [f"services/{name}"]
    listed = subprocess.run(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard", "--", *parts],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    ).stdout.splitlines()
    there = {PurePosixPath("/app", file) for file in listed if (ROOT / file).exists()}
    return there | {PurePosixPath("/app/entrypoint.py")}


@pytest.mark.parametrize("name", NAMES)
def test_there_is_the_service_s_own_code_compiled_and_nothing_that_builds(
    name: str, built: Built
) -> None:
    found = files(built(name))
    compiled = {file for file in found if file.suffix == ".pyc"}
    ours = {file for file in found - compiled if file.is_relative_to("/app")}
    assert ours == own_files(name)

    for file in found:
        if file.suffix == ".py" and file.is_relative_to("/app"):
            assert file.parent / "__pycache__" / f"{file.stem}.cpython-311.pyc" in compiled
    assert any(file.is_relative_to(SITE) for file in compiled)

    assert not {str(file) for file in found if BUILDERS.search(str(file))}
    assert not {file for file in found for place in LENT if file.is_relative_to(place)}
    assert not files(built(name), "-perm", "/6000"), "nobody becomes another by a program"


def test_nothing_of_the_machine_that_built_it_is_in_an_image(built: Built) -> None:
    certificates = "/etc/ssl/certs/ca-certificates.crt"
    image, base = built("enrollment"), images.base()
    assert inside(image, "cat", certificates) == inside(base, "cat", certificates)
    history = podman("history", "--no-trunc", "--format=json", image)
    (made,) = json.loads(podman("image", "inspect", image))
    environment = {line.partition("=")[0] for line in made["Config"]["Env"]}
    assert environment <= {
        *("PATH", "LANG", "PYTHONDONTWRITEBYTECODE", "PYTHONUNBUFFERED"),
        *("SERVICE", "LIANXIN_VERSION"),
        *("GPG_KEY", "PYTHON_SHA256", "PYTHON_VERSION", "container"),  # a pulled base's own
    }
    assert "index-url" not in history and "http" not in history


def test_who_comes_by_exec_finds_the_command_line_by_its_name(built: Built) -> None:
    """As docs/runbook.md has it: `kubectl exec deploy/cli -- lianxin status`."""
    assert "doctor" in inside(built("cli"), "lianxin", "--help")


@pytest.mark.parametrize("name", NAMES)
def test_an_image_says_what_it_is_and_how_it_starts(name: str, built: Built) -> None:
    image = built(name)
    (made,) = json.loads(podman("image", "inspect", image))
    config = made["Config"]
    assert config["User"] == "10001:10001", "a number, which Kubernetes can check"
    assert config["Entrypoint"] == ["python", "/app/entrypoint.py"], "no shell before it"
    assert config["WorkingDir"] == "/app"
    assert "Healthcheck" not in config, "the probes of Kubernetes ask"
    prefix = "org.opencontainers.image."
    labels = {k.removeprefix(prefix): v for k, v in made["Labels"].items() if k.startswith(prefix)}
    assert labels == {
        "title": f"lianxin/{name}",
        "licenses": "Apache-2.0",
        "version": image.rpartition(":")[2],
        "revision": images.REVISION,
        "created": images.CREATED,
    }


def test_what_the_services_share_is_one_layer_and_need_be_fetched_once(built: Built) -> None:
    layers = {
        tuple(json.loads(podman("image", "inspect", built(name)))[0]["RootFS"]["Layers"][:-1])
        for name in NAMES
        if name != "cli"
    }
    assert len(layers) == 1


def test_an_unknown_service_is_refused_by_its_name(built: Built) -> None:
    built("enrollment")
    with pytest.raises(AssertionError, match=r"SERVICE='nobody': give a folder of services/"):
        podman(
            *("build", "--network=host", "--pull=never", "--file=deploy/Dockerfile"),
            *("--build-arg=SERVICE=nobody", "--target=service", str(ROOT)),
        )
