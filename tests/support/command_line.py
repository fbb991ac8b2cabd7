"""How a test calls the command line: in this process, with an environment of its own."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from typing import Any, NamedTuple

from typer.testing import CliRunner

from lianxin.__main__ import app

#: Of the caller's environment nothing that would lead to another installation.
_OURS = ("KAFKA_", "MONGO_", "OIDC_", "LIANXIN_", "CIPHER_", "ENVIRONMENT", "POLICIES_")


class Said(NamedTuple):
    code: int
    out: str
    err: str

    @property
    def facts(self) -> Any:
        return json.loads(self.out)


def lianxin(*arguments: str, env: Mapping[str, str]) -> Said:
    """``lianxin …`` against the installation that ``env`` names."""
    without = {name: None for name in os.environ if name.startswith(_OURS)}
    done = CliRunner().invoke(app, list(arguments), env={**without, **env})
    if done.exception is not None and not isinstance(done.exception, SystemExit):
        raise done.exception
    return Said(done.exit_code, done.stdout, done.stderr)
