"""Who may use a data folder? One launcher at a time."""

from __future__ import annotations

import fcntl
import os
from pathlib import Path
from typing import IO

from libs.common.devstack.errors import StackError


class FolderLock:
    """Held from ``take`` to ``give``, or until its process ends, however that ends."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._file: IO[str] | None = None

    def take(self) -> None:
        file = (self._folder / "lock").open("a+")
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as e:
            file.seek(0)
            holder = file.read().strip() or "unknown"
            file.close()
            raise StackError(
                f"The stack over {self._folder} is already up (process {holder}): stop that one "
                "with Ctrl-C, or name another folder with DATA_DIR=…."
            ) from e
        file.truncate(0)
        file.write(str(os.getpid()))
        file.flush()
        self._file = file

    def give(self) -> None:
        if self._file is not None:
            self._file.close()
            self._file = None
