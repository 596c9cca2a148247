"""Running the command as a user does, and small inputs made here."""

from __future__ import annotations

import subprocess

import pytest

from tests.commands.inputs import PSIFLOW


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
