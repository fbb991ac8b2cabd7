"""What happens at ``make run``, ``make demo`` and ``make clean``?

Everything comes up in order, a hospital day is played through it, and it either stays up
until Ctrl-C (run) or goes down again with an exit code (demo).
"""

from __future__ import annotations

import argparse
import os
import shutil
import signal
import sys
import threading
from collections.abc import Sequence
from pathlib import Path
from types import FrameType

from libs.common.devstack import kafka
from libs.common.devstack.day.play import play_day
from libs.common.devstack.errors import StackError
from libs.common.devstack.lock import FolderLock
from libs.common.devstack.places import ROOT, SERVICES, Ports
from libs.common.devstack.stack import Stack
from libs.common.devstack.timeline import Timeline

SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


def data_folder() -> Path:
    return Path(os.environ.get("DATA_DIR") or ROOT / ".data").absolute()


def up(mode: str) -> int:
    """Start, play, and stay up (``run``) or stop (``demo``)."""
    folder, ports = data_folder(), Ports.fixed()
    timeline = Timeline(ports.page)
    with Stack(folder, ports, tell=timeline.tell, supervise=mode == "run", look_only=True) as stack:
        stack.start_page(wait=False)
        stack.start_services()
        stack.wait_ready("page")
        timeline.page_is_up()
        timeline.say(f"\n  Watch it live on http://127.0.0.1:{ports.page}\n")
        code = play_day(stack, timeline)
        if mode == "run":
            timeline.say(addresses(stack))
            threading.Event().wait()  # until a signal
    return code


def addresses(stack: Stack) -> str:
    """What to open and what to type next."""
    docs = "\n".join(f"    {stack.service_url(name)}/docs  {name}" for name in SERVICES)
    return (
        f"\n  The page: http://127.0.0.1:{stack.ports.page}\n{docs}\n"
        f"  HL7 v2:   MLLP on port {stack.ports.mllp}\n"
        "  A token:  make token ROLE=doctor PERSON=…\n"
        f"  Logs:     {stack.folder / 'logs'}\n  Ctrl-C stops all of it; the data stays.\n"
    )


def interrupt(number: int, frame: FrameType | None) -> None:
    """Ctrl-C, or whoever started us asks us to stop; from then on nothing hurries us, so that
    no half of the stack is left behind."""
    for each in SIGNALS:
        signal.signal(each, signal.SIG_IGN)
    print("\n… stopping", flush=True)
    raise KeyboardInterrupt


def clean() -> None:
    """Remove the data, unless a stack is up over it."""
    folder = data_folder()
    if folder.exists():
        lock = FolderLock(folder)
        lock.take()
        shutil.rmtree(folder)
        lock.give()


def main(arguments: Sequence[str]) -> int:
    parser = argparse.ArgumentParser(prog="python -m libs.common.devstack")
    parser.add_argument("mode", choices=["prepare", "run", "demo", "clean"])
    mode = parser.parse_args(arguments).mode
    for number in SIGNALS:
        signal.signal(number, interrupt)
    try:
        if mode == "prepare":
            kafka.prepare()
        elif mode == "clean":
            clean()
        else:
            return up(mode)
        return 0
    except StackError as error:
        print(f"\n{error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 0 if mode == "run" else 1
