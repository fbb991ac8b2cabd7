"""Does a backup lose nothing when it is brought back, and say what is wrong with it?"""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import NoReturn

import pytest

from lianxin import backup
from lianxin.backup import app
from lianxin.backup_files import MANIFEST, Damaged, Manifest
from lianxin.rewind import back_to

PLACE = ("hospital.reports", 0)


def test_a_group_goes_back_to_where_it_stood() -> None:
    assert back_to({PLACE: 40}, {PLACE: 70}, {PLACE: (10, 90)}) == {PLACE: 40}
    assert back_to({PLACE: 40}, {}, {PLACE: (10, 90)}) == {PLACE: 40}
    assert back_to({PLACE: 40}, {PLACE: 40}, {PLACE: (40, 40)}) == {PLACE: 40}


def test_what_the_topic_has_forgotten_is_asked_for_all_the_same() -> None:
    assert back_to({PLACE: 5}, {PLACE: 70}, {PLACE: (10, 90)}) == {PLACE: 5}


def test_a_partition_that_has_come_since_is_read_from_its_beginning() -> None:
    assert back_to({}, {PLACE: 70}, {PLACE: (10, 90)}) == {PLACE: 10}


def test_a_group_is_never_set_forward() -> None:
    # The topic was made anew: its offsets are others than those that were noted.
    assert back_to({PLACE: 400}, {PLACE: 70}, {PLACE: (0, 90)}) == {PLACE: 0}
    assert back_to({PLACE: 400}, {PLACE: 70}, {PLACE: (0, 900)}) == {PLACE: 0}
    assert back_to({PLACE: 400}, {}, {PLACE: (0, 90)}) == {PLACE: 0}


def test_a_setting_that_the_indexes_need_is_named_before_anything_is_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    empty = Manifest(
        service="enrollment", database="d", group="g", at=datetime(2026, 1, 1, tzinfo=UTC),
        collections={}, offsets=[],
    )  # fmt: skip
    (tmp_path / MANIFEST).write_text(empty.model_dump_json())
    monkeypatch.setenv("GROUP_LIMIT", "many")
    with pytest.raises(SystemExit) as ended:
        app(["restore", str(tmp_path), "--into", "d", "--apply"])
    assert ended.value.code == 2
    assert "GROUP_LIMIT: Input should be a valid integer" in capsys.readouterr().err


def test_a_copy_that_can_not_be_read_again_is_no_backup(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    async def spoilt(*_: object, **__: object) -> NoReturn:
        raise Damaged("reports.bson.gz: CRC check failed")

    monkeypatch.setattr(backup, "copy_out", spoilt)
    with pytest.raises(SystemExit) as ended:
        app(["create", str(tmp_path)])
    assert ended.value.code == 1
    assert "reports.bson.gz: CRC check failed: what was written" in capsys.readouterr().err
