"""What do a child process and a container have in common, for the stack?"""

from __future__ import annotations

import signal
from collections.abc import Callable
from typing import NamedTuple, Protocol


class Said(NamedTuple):
    """What happened to a part, in the page's two languages."""

    en: str
    zh: str


#: (part, what happened to it), for whoever shows it.
Tell = Callable[[str, Said], None]

READY = Said("ready", "已就绪")


class Part(Protocol):
    """One program that the stack started; see ``child.Child``."""

    #: False once somebody has asked it to stop: nobody restarts it then.
    wanted: bool

    @property
    def name(self) -> str: ...
    def start(self) -> None: ...
    def ready(self) -> bool: ...
    def wait_ready(self) -> None: ...
    def running(self) -> bool: ...
    def exit_code(self) -> int | None: ...
    def kill(self, sig: signal.Signals = ...) -> None: ...
    def wait(self, seconds: float) -> bool: ...
    def ask_to_stop(self) -> None: ...
    def stop(self) -> None: ...
