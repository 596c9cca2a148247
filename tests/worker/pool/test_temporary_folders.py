"""Temporary folders of processes that have ended are removed, and no others."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from psiflow_cli.worker.pool import temporary_folders


def test_what_an_ended_process_has_left_is_removed(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(temporary_folders, "_cleaned", set())
    code = f"from psiflow_cli.worker.pool import temporary_folders as t; print(t.make('cp2k', {str(tmp_path)!r}))"
    left = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.strip()
    (Path(left) / "file").touch()
    others = {tmp_path / "cp2k-00000000-1-2-abcd_fgh", tmp_path / "cp2k-mine"}  # of another host; of the user
    for folder in others:
        folder.mkdir()
    own = {Path(temporary_folders.make("cp2k", str(tmp_path))) for _ in range(2)}
    assert set(tmp_path.iterdir()) == {*own, *others}
    assert all(folder.stat().st_mode & 0o777 == 0o700 for folder in own)


def test_a_number_that_another_process_has_now_does_not_keep_a_folder(tmp_path: Path) -> None:
    own = Path(temporary_folders.make("cp2k", str(tmp_path)))
    start = temporary_folders.owned("").split("-")[-2]
    earlier = own.with_name(own.name.replace(f"-{start}-", "-1-"))
    earlier.mkdir()
    temporary_folders.remove_abandoned(str(tmp_path))
    assert set(tmp_path.iterdir()) == {own}


def test_a_place_that_does_not_exist_is_an_error_only_for_a_new_folder(tmp_path: Path) -> None:
    temporary_folders.remove_abandoned(str(tmp_path / "nowhere"))
    with pytest.raises(OSError, match="nowhere"):
        temporary_folders.make("cp2k", str(tmp_path / "nowhere"))
    assert not os.listdir(tmp_path)
