"""What does a person read when a part of the stack can't be had?

One clear sentence and the remedy; never a traceback.
"""

from __future__ import annotations

import errno
import shutil
import socket
from pathlib import Path

#: Kafka preallocates its indexes and the database its journal; below this they die half-way.
MINIMUM_FREE_MIB = 512


class StackError(Exception):
    """Its text is one sentence with the remedy, made to be printed as it is."""


def port_is_free(port: int, host: str = "127.0.0.1") -> bool:
    with socket.socket() as s:
        # As a server would bind it: a port that merely lingers after a close counts as free.
        s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            s.bind((host, port))
        except OSError:
            return False
    return True


def require_port(part: str, port: int, variable: str) -> None:
    if not port_is_free(port):
        raise StackError(
            f"Port {port}, where {part} would listen, is taken by another program: stop that one "
            f"(`ss -ltnp 'sport = :{port}'` names it), or choose another port with {variable}=…."
        )


def require_disk(folder: Path, mebibytes: int = MINIMUM_FREE_MIB) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
        free = shutil.disk_usage(folder).free // 2**20
    except OSError as e:
        if e.errno == errno.ENOSPC:
            free = 0
        else:
            raise StackError(
                f"{folder} can't be written ({e.strerror}): make it writable, "
                "or name another folder with DATA_DIR=…."
            ) from e
    if free < mebibytes:
        raise StackError(
            f"The disk that holds {folder} has {free} MiB free and {mebibytes} are needed: "
            "free some space (`make clean` removes our own data), or name a folder on another "
            "disk with DATA_DIR=…."
        )
