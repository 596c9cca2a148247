"""Running the command as a user does, and small inputs made here."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

PSIFLOW = str(Path(sys.executable).with_name("psiflow"))


@pytest.fixture
def psiflow(tmp_path, monkeypatch):
    """Run `psiflow ARGS` in an empty folder; returns the finished process. `code` is what it must exit with."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("PSIFLOW_SITE", raising=False)

    def run(*args, code=0, stdin="", **options):
        done = subprocess.run(
            [PSIFLOW, *map(str, args)], input=stdin, capture_output=True, text=True, timeout=280, **options
        )
        assert done.returncode == code, f"exit {done.returncode}, not {code}\n{done.stdout}\n{done.stderr}"
        assert "Traceback" not in done.stderr
        return done

    return run


@pytest.fixture
def start(tmp_path, monkeypatch):
    """Start `psiflow ARGS` in its own process group and leave it running."""
    monkeypatch.chdir(tmp_path)
    running = []

    def popen(*args, **options):
        process = subprocess.Popen(
            [PSIFLOW, *map(str, args)], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, **options
        )
        running.append(process)
        return process

    yield popen
    for process in running:
        if process.poll() is None:
            process.kill()
        process.communicate()


def copper(count, spread=0.05):
    """Distinct periodic frames of four copper atoms."""
    frames = []
    for i in range(count):
        shift = spread * i / max(1, count - 1)
        frames.append(
            '4\nLattice="3.6 0 0 0 3.6 0 0 0 3.6" Properties=species:S:1:pos:R:3 pbc="T T T"\n'
            f"Cu {shift!r} 0.0 0.0\nCu 1.8 1.8 0.0\nCu 1.8 0.0 1.8\nCu 0.0 1.8 1.8\n"
        )
    return "".join(frames)


def alive(marker):
    """Processes whose command line or environment names `marker`."""
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit() and int(entry.name) != os.getpid():
            try:
                if marker.encode() in (entry / "cmdline").read_bytes():
                    found.append(int(entry.name))
            except OSError:
                continue
    return found
