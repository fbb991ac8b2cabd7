"""Is a part that dies restarted, ever more patiently, and is it said?"""

from __future__ import annotations

import errno
import signal

import pytest

from libs.common.devstack import watch
from libs.common.devstack.part import Part, Said
from libs.common.devstack.watch import Watch


class Fake:
    """A part whose life the test decides."""

    def __init__(self) -> None:
        self.name = "kafka"
        self.wanted = True
        self.alive = True
        self.answers = True
        self.starts = 0
        self.disk_full = False

    def start(self) -> None:
        if self.disk_full:
            raise OSError(errno.ENOSPC, "No space left on device")
        self.starts += 1
        self.alive = True

    def ready(self) -> bool:
        return self.alive and self.answers

    def wait_ready(self) -> None: ...

    def running(self) -> bool:
        return self.alive

    def exit_code(self) -> int | None:
        return None if self.alive else -9

    def kill(self, sig: signal.Signals = signal.SIGKILL) -> None:
        self.alive = False

    def wait(self, seconds: float) -> bool:
        return not self.alive

    def ask_to_stop(self) -> None:
        self.wanted = False

    def stop(self) -> None:
        self.wanted = self.alive = False


class Case:
    def __init__(self) -> None:
        self.part = Fake()
        self.told: list[str] = []
        parts: dict[str, Part] = {"kafka": self.part}
        self.watch = Watch(parts, self._tell)

    def _tell(self, part: str, said: Said) -> None:
        assert said.zh
        self.told.append(f"{part} {said.en}")


@pytest.fixture
def case() -> Case:
    return Case()


def test_a_living_part_is_left_alone(case: Case) -> None:
    case.watch.look(0.0)
    assert case.part.starts == 0
    assert case.told == []


def test_a_dead_part_is_restarted_after_a_pause_and_reported_until_it_answers(case: Case) -> None:
    case.part.kill()
    case.watch.look(0.0)
    assert case.part.starts == 0
    case.watch.look(watch.FIRST_PAUSE)
    assert case.part.starts == 1
    case.part.answers = False
    case.watch.look(1.0)
    case.part.answers = True
    case.watch.look(2.0)
    case.watch.look(3.0)
    assert case.told == [
        "kafka died with code -9; restarting in 0.5 s",
        "kafka is back and answers",
    ]


def test_a_part_that_keeps_dying_is_restarted_ever_more_patiently(case: Case) -> None:
    now, pauses = 0.0, []
    for _ in range(8):
        case.part.kill()
        case.watch.look(now)
        died, starts = now, case.part.starts
        while case.part.starts == starts:
            now += 0.1
            case.watch.look(now)
        pauses.append(round(now - died, 1))
    assert pauses == sorted(pauses)
    assert pauses[0] == pytest.approx(watch.FIRST_PAUSE, abs=0.2)
    assert pauses[-1] == pytest.approx(watch.LONGEST_PAUSE, abs=0.2)


def test_a_part_that_lived_well_is_restarted_at_once_again(case: Case) -> None:
    now = 0.0
    for _ in range(3):
        case.part.kill()
        case.watch.look(now)
        now += watch.LONGEST_PAUSE
        case.watch.look(now)
    case.watch.look(now)
    now += watch.GOOD_AFTER + 1
    case.part.kill()
    case.watch.look(now)
    assert case.told[-1].endswith(f"restarting in {watch.FIRST_PAUSE:g} s")


def test_a_part_that_was_asked_to_stop_stays_down(case: Case) -> None:
    case.part.stop()
    for now in range(100):
        case.watch.look(float(now))
    assert case.part.starts == 0
    assert case.told == []


def test_a_part_that_finds_the_disk_full_is_tried_again(case: Case) -> None:
    case.part.kill()
    case.part.disk_full = True
    case.watch.look(0.0)
    case.watch.look(1.0)
    assert "No space left" in case.told[-1]
    case.part.disk_full = False
    case.watch.look(1.0 + watch.LONGEST_PAUSE)
    case.watch.look(2.0 + watch.LONGEST_PAUSE)
    assert case.told[-1] == "kafka is back and answers"
