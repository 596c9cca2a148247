"""The logs of a run in few files: readable by tar, with nothing lost but keys."""

from __future__ import annotations

import os
import subprocess
import tarfile
from pathlib import Path

import pytest

from psiflow_cli.runtime.logs import archive, parsl_folder


def members(path):
    with tarfile.open(path) as file:
        return {member.name: file.extractfile(member).read() for member in file}


def test_an_archive_grows_and_tar_reads_it(tmp_path):
    path = tmp_path / "logs/finished.tar"
    for round in range(2):
        file = archive.Archive(path)
        file.append([(f"{round}.inp", b"x" * 512), (f"{round}.out", b"y" * round)])
        file.append([("same", b"first"), ("same", b"last")])
        file.close()
    names = ["0.inp", "0.out", "same", "same", "1.inp", "1.out", "same", "same"]
    told = subprocess.run(["tar", "tf", path], capture_output=True, text=True, check=True)
    assert (told.stdout.split(), told.stderr) == (names, "")
    assert members(path)["1.inp"] == b"x" * 512
    assert members(path)["same"] == b"last"
    assert path.stat().st_mode & 0o777 == 0o600


def test_a_full_disk_leaves_what_was_there(tmp_path, monkeypatch):
    path = tmp_path / "finished.tar"
    file = archive.Archive(path)
    file.append([("a", b"1")])
    before, write = path.read_bytes(), os.write

    def full(fd, data):
        if len(data) < 1000:
            raise OSError(28, "No space left on device")
        return write(fd, data[:700])

    monkeypatch.setattr(os, "write", full)
    with pytest.raises(OSError, match="No space"):
        file.append([("b", b"2" * 600)])
    monkeypatch.undo()
    assert path.read_bytes() == before
    file.append([("b", b"3")])
    assert members(path) == {"a": b"1", "b": b"3"}


def test_what_ended_invocations_leave_becomes_one_file(tmp_path):
    texts = {
        "000/submit_scripts/parsl.a.block-0.sh": "script", "000/a/interchange.log": "log",
        "000/submit_scripts/parsl.a.block-0.sh.err": "", "000/a/certificates/server.key_secret": "secret",
        "a.password": "secret", "a.supervisor.json": "{}", "parsl.log": "asked for",
    }  # fmt: skip
    for round in range(2):
        for name, text in texts.items():
            (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
            (tmp_path / name).write_text(text * (round + 1))
        parsl_folder.gather(tmp_path, blocks_may_end=True)
        there = sorted(str(path.relative_to(tmp_path)) for path in tmp_path.rglob("*"))
        assert there == ["000", "000/submit_scripts", "ended.tar", "parsl.log"]
        parsl_folder.gather(tmp_path)
        assert sorted(path.name for path in tmp_path.iterdir()) == ["ended.tar", "parsl.log"]
    assert members(tmp_path / "ended.tar") == {
        "000/submit_scripts/parsl.a.block-0.sh": b"scriptscript", "000/a/interchange.log": b"loglog",
        "a.supervisor.json": b"{}{}",
    }  # fmt: skip
    assert (tmp_path / "parsl.log").read_text() == "asked forasked for"


def test_a_folder_that_is_not_there_stays_so(tmp_path):
    parsl_folder.gather(Path(tmp_path, "none"))
    assert not list(tmp_path.iterdir())
