"""CP2K kept alive: the same bits as fresh processes, and a dead or hung one takes one frame with it at most."""

from __future__ import annotations

import gzip
import json
import os
import shutil
import signal
import subprocess
import threading
import time
from pathlib import Path
from typing import Any

import pytest

from psiflow_cli.references import cp2k
from psiflow_cli.references.cp2k import shell
from tests.references.test_cp2k import template

CP2K = shutil.which("cp2k.psmp")
pytestmark = pytest.mark.skipif(CP2K is None, reason="cp2k.psmp is not installed")
pytest.importorskip("ase", reason="ASE is not installed")


def waters(count: int, **more: Any) -> list[dict[str, Any]]:
    cell = [[5.0, 0.0, 0.0], [0.0, 5.0, 0.0], [0.0, 0.0, 5.0]]
    return [
        {
            "id": f"{n:016x}",
            "symbols": ["O", "H", "H"],
            "positions": [[0.0, 0.0, 0.1], [0.76 + 0.01 * n, 0.0, 0.6], [-0.77, 0.05, 0.57]],
            "cell": cell,
            "pbc": [True] * 3,
            **more,
        }
        for n in range(count)
    ]


HYDROGEN = {
    "id": "f" * 16,
    "symbols": ["H", "H"],
    "positions": [[0.0, 0.0, 0.0], [0.75, 0.0, 0.0]],
    "cell": [[6.0, 0.0, 0.0], [0.0, 5.0, 0.0], [0.0, 0.0, 5.0]],
    "pbc": [True] * 3,
}


@pytest.fixture(autouse=True)
def own_process() -> Any:
    """No test meets another one's process, or leaves one behind."""
    _end()
    yield
    _end()


def _end() -> None:
    kept = getattr(shell._local, "shell", None)
    if kept:
        kept.close()
    shell._local.shell = None
    shell._without.clear()


def running() -> int:
    """The process that is kept."""
    pid: int = shell._local.shell._cp2k._process.pid
    return pid


def log(context: dict[str, Any], frame: dict[str, Any]) -> str:
    return gzip.decompress(Path(context["logs"], f"{frame['id']}.out.gz").read_bytes()).decode()


def steps(context: dict[str, Any], frame: dict[str, Any]) -> int:
    return log(context, frame).count(" OT DIIS ")


def test_frames_of_all_kinds_through_one_process_equal_fresh_ones(
    context: Any, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    settings = template(tmp_path)
    wider = {**waters(1)[0], "id": "a" * 16, "cell": [[5.5, 0, 0], [0, 5, 0], [0, 0, 5]]}
    molecule = {**HYDROGEN, "id": "b" * 16, "cell": None, "pbc": [False] * 3}
    frames = [waters(1)[0], HYDROGEN, molecule]
    if request.config.getoption("--full"):
        frames += [wider, waters(2)[1]]
    kept = context()
    pids, labels = set(), []
    for frame in frames:
        labels += cp2k.label([frame], settings, kept)
        pids.add(running())
    assert len(pids) == 1
    for frame, label in zip(frames, labels, strict=True):
        _end()
        assert cp2k.label([frame], settings, context()) == [label]
    shell._without.add(shell_key(kept))
    assert cp2k.label(frames, settings, kept) == labels  # without a shell, each in a process of its own
    assert shell._local.shell is None


def shell_key(context: dict[str, Any]) -> str:
    return json.dumps([context.get(k) for k in shell._IDENTITY])


def test_a_wavefunction_is_used_again_only_if_the_template_says_so(context: Any, tmp_path: Path) -> None:
    fresh, reused = context(), context()
    settings = template(tmp_path)
    labels = cp2k.label(waters(3), settings, fresh)
    _end()
    again = cp2k.label(waters(3), template(tmp_path, MAX_SCF="SCF_GUESS RESTART\n MAX_SCF"), reused)
    assert [steps(reused, f) < steps(fresh, f) for f in waters(3)] == [False, True, True]
    for one, other in zip(labels, again, strict=True):
        assert one["energy"] == pytest.approx(other["energy"], abs=1e-6)
        assert one["energy"] != other["energy"] or one is labels[0]


def test_each_kind_of_frame_has_its_own_wavefunction(context: Any, tmp_path: Path) -> None:
    settings = template(tmp_path, MAX_SCF="SCF_GUESS RESTART\n MAX_SCF")
    site = context()
    first, second = waters(2)
    labels = cp2k.label([first, HYDROGEN, second], settings, site)
    assert steps(site, second) < steps(site, first)
    # which had none to begin with
    assert cp2k.label([HYDROGEN], template(tmp_path), context()) == [labels[1]]


@pytest.mark.parametrize(("option", "reuses"), [("no", False), pytest.param("yes", True, marks=pytest.mark.full)])
def test_an_unrestricted_wavefunction_is_used_again_only_if_asked(
    context: Any, tmp_path: Path, option: str, reuses: bool
) -> None:
    template(tmp_path, MAX_SCF="SCF_GUESS RESTART\n MAX_SCF")
    settings = cp2k.settings(tmp_path / "cp2k.inp", {"reuse_uks": option})
    site = context()
    first, second = waters(2, charge=1, multiplicity=2)
    cp2k.label([first, second], settings, site)
    assert (steps(site, second) < steps(site, first)) == reuses


def test_a_killed_process_is_replaced_and_only_its_frame_suffers(context: Any, tmp_path: Path) -> None:
    settings, site = template(tmp_path), context()
    good = cp2k.label(waters(1), settings, site)
    before = running()
    killer = threading.Timer(0.3, os.kill, (before, signal.SIGKILL))
    killer.start()
    labels = cp2k.label(waters(2), settings, site)
    killer.join()
    assert [label.get("failure") for label in labels] == ["out-of-memory", None]  # a kill tells no more than that
    assert running() != before
    assert cp2k.label(waters(1), settings, site) == good


def test_one_that_died_between_frames_costs_nothing(context: Any, tmp_path: Path) -> None:
    settings, site = template(tmp_path), context()
    good = cp2k.label([HYDROGEN], settings, site)
    os.kill(running(), signal.SIGKILL)
    time.sleep(0.1)
    assert cp2k.label([HYDROGEN], settings, site) == good


def test_a_hung_process_ends_with_the_walltime(context: Any, tmp_path: Path) -> None:
    """With small frames: one that a busy machine computes for longer than the walltime would be stopped as well."""
    settings, site = template(tmp_path), context(walltime=8.0)
    other = {**HYDROGEN, "id": "e" * 16, "positions": [[0.0, 0.0, 0.0], [0.8, 0.0, 0.0]]}
    cp2k.label([HYDROGEN], settings, site)
    before = running()
    os.kill(before, signal.SIGSTOP)
    start = time.monotonic()
    labels = cp2k.label([HYDROGEN, other], settings, site)
    assert [label.get("failure") for label in labels] == ["timeout", None]
    assert time.monotonic() - start < 30
    assert not Path(f"/proc/{before}").exists()


def test_a_program_without_a_shell_is_run_for_each_frame(context: Any, tmp_path: Path) -> None:
    """As a wrapper script that knows `-i` only."""
    wrapper = tmp_path / "wrapper"
    wrapper.write_text(f'#!/bin/sh\n[ "$1" = -i ] || exit 3\necho "$@" >> {tmp_path}/calls\nexec {CP2K} "$@"\n')
    wrapper.chmod(0o755)
    settings, site = template(tmp_path), context(executable=str(wrapper))
    frames = [HYDROGEN, {**HYDROGEN, "id": "e" * 16, "positions": [[0.0, 0.0, 0.0], [0.8, 0.0, 0.0]]}]
    labels = cp2k.label(frames, settings, site)
    assert (tmp_path / "calls").read_text() == "-i psiflow.inp\n" * 2
    assert labels == cp2k.label(frames, settings, context())


@pytest.mark.full
@pytest.mark.skipif(shutil.which("mpirun") is None, reason="mpirun is not installed")
def test_ranks_share_the_kept_process(context: Any, tmp_path: Path) -> None:
    settings = template(tmp_path)
    site = context(ranks=2, launch="mpirun -np {ranks} --oversubscribe")
    frames = [*waters(1), HYDROGEN]
    labels = cp2k.label(frames, settings, site)
    leader = running()
    ranks = subprocess.run(["pgrep", "-c", "-s", str(leader), "cp2k"], capture_output=True, text=True).stdout
    assert int(ranks) == 2
    for label, alone in zip(labels, cp2k.label(frames, settings, context()), strict=True):
        assert label["energy"] == pytest.approx(alone["energy"], abs=1e-8)
    assert not Path(f"/proc/{leader}").exists()  # another context, another process
