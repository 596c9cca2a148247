"""One run of a program for one frame: how it ends decides the class, and its log is kept."""

from __future__ import annotations

import re
import stat
from pathlib import Path
from typing import Any

import pytest

from psiflow_cli.worker.failures import Fatal
from psiflow_cli.worker.process import single_run
from psiflow_cli.worker.process.single_run import Program

PROGRAM = Program(
    name="Code",
    executable="code",
    started=re.compile("Welcome"),
    bad_input=re.compile("unknown keyword .*"),
    bad_frame=re.compile("odd electrons"),
    unconverged=re.compile("no convergence"),
)
FRAME = {"id": "0123456789abcdef", "symbols": ["H"]}


@pytest.fixture
def context(tmp_path: Path) -> Any:
    def make(script: str, **changes: Any) -> dict[str, Any]:
        path = tmp_path / "code"
        path.write_text(f"#!/bin/sh\n{script}\n")
        path.chmod(path.stat().st_mode | stat.S_IXUSR)
        folders = {"scratch": str(tmp_path / "scratch"), "logs": str(tmp_path / "logs")}
        return {**folders, "executable": str(path), "ranks": 1, "threads": 1, **changes}

    return make


def run(context: dict[str, Any]) -> dict[str, Any]:
    ran = single_run.run(PROGRAM, ["in"], {"in": "hello\n"}, context, ("out", "none"))
    return single_run.label(PROGRAM, ran, FRAME, "x", context, lambda _, ran: {"files": dict(ran.files)})


def test_it_runs_with_its_files_in_a_folder_that_goes(context: Any, tmp_path: Path) -> None:
    assert run(context("echo Welcome; cp $1 out")) == {"files": {"out": "hello\n"}}
    assert list((tmp_path / "scratch").iterdir()) == []
    assert sorted(path.name for path in (tmp_path / "logs").iterdir()) == [
        "0123456789abcdef.inp.gz",
        "0123456789abcdef.out.gz",
    ]


@pytest.mark.parametrize(
    ("script", "changes", "kind", "message"),
    [
        ("echo Welcome; echo ERROR in the sums; exit 3", {}, "crashed", "ERROR in the sums (exit code 3)"),
        ("echo Welcome; kill -SEGV $$", {}, "crashed", "Code ended early (ended by signal 11)"),
        ("echo Welcome; kill -KILL $$", {}, "out-of-memory", "memory"),
        ("echo Welcome; echo cannot allocate memory; exit 1", {}, "out-of-memory", "memory"),
        ("echo Welcome; echo no convergence", {}, "unconverged", "the SCF did not converge"),
        ("echo Welcome; echo odd electrons; exit 1", {}, "invalid-input", "odd electrons"),
        ("echo Welcome; sleep 60", {"walltime": 0.5}, "timeout", "still running after 0.5"),
    ],
)
def test_failures(context: Any, script: str, changes: dict[str, Any], kind: str, message: str) -> None:
    failed = run(context(script, **changes))
    assert failed["failure"] == kind
    assert message in failed["message"]
    assert Path(failed["log"]).read_text().startswith("Welcome")


@pytest.mark.parametrize(
    ("script", "changes", "message", "code"),
    [
        ("echo Welcome; echo unknown keyword foo; exit 1", {}, "Code rejects the input: unknown keyword foo", 65),
        ("echo ./code: error while loading shared libraries; exit 127", {}, "cannot be started", 78),
        ("true", {"executable": "no-such-code"}, "'no-such-code' cannot be started", 78),
        ("true", {"launch": "no-such-mpirun -n 1"}, "'no-such-mpirun' cannot be started", 78),
    ],
)
def test_what_would_fail_every_frame_ends_the_run(
    context: Any, script: str, changes: dict[str, Any], message: str, code: int
) -> None:
    with pytest.raises(Fatal, match=message) as caught:
        run(context(script, **changes))
    assert caught.value.exit_code == code
    assert caught.value.hint


def test_the_bohr_is_that_of_ase() -> None:
    from psiflow_cli.worker.structures import units as ours

    units = pytest.importorskip("ase.units", reason="ASE is not installed")
    assert units.Bohr == ours.BOHR
