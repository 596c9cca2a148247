"""One CP2K process for many frames: `cp2k --shell`, kept by each worker.

Every frame is a LOAD and a DESTROY of its own, in a folder of its own, so that it is computed as by a fresh process, to
the last bit; what is saved is the start. Only a template that says SCF_GUESS RESTART reads the wavefunction that the
last frame of its kind left, which stays in memory between the two.
"""

from __future__ import annotations

import atexit
import json
import threading
from pathlib import Path
from typing import TYPE_CHECKING

from psiflow_cli.references.cp2k import template
from psiflow_cli.references.cp2k.installation import PROGRAM
from psiflow_cli.references.cp2k.single_point import PROJECT, UKS
from psiflow_cli.worker.process import launcher, scratch
from psiflow_cli.worker.process.interactive import InteractiveProgram
from psiflow_cli.worker.process.subprocesses import Outcome

if TYPE_CHECKING:
    from psiflow_cli.messages import Context, Frame

INPUT, LOG, WAVEFUNCTION = f"{PROJECT}.inp", f"{PROJECT}.out", f"{PROJECT}-RESTART.wfn"
_PROMPT = "* READY"
_START_S = 120.0
"""How long CP2K may take to show its prompt; a launcher that does not pass stdin on never shows it."""
_MOST_FRAMES = 200
"""After so many frames a process is replaced: 2023.1 leaks a file descriptor with each."""
_MOST_GROUPS = 8
"""Wavefunctions in memory, each of another kind of frame."""
_IDENTITY = ("launch", "executable", "ranks", "threads", "env", "cpus", "modules", "source", "scratch")
"""What of a context decides how CP2K is started."""
_local = threading.local()
_without: set[str] = set()
"""Contexts in which CP2K showed no prompt."""


def group(frame: Frame, text: str, reuse_uks: bool) -> str:
    """A name that frames share if one may begin with the wavefunction of another; empty: none may.

    `text` is the frame's input. Those that share a name have the same atoms in the same order, periodicity, charge and
    multiplicity. An unrestricted wavefunction may be of another spin state than its neighbour's ground state, so it is
    used again only where `reuse_uks` says so.
    """
    dft = template.only(template.parse(text, "input"), "FORCE_EVAL").ensure("DFT")
    if dft.ensure("SCF").word("SCF_GUESS") != "RESTART" or (dft.flag(*UKS) and not reuse_uks):
        return ""
    return repr([frame["symbols"], frame.get("pbc"), frame.get("charge"), frame.get("multiplicity")])


def run(text: str, files: dict[str, str], group: str, context: Context) -> tuple[Outcome, str, bool] | None:
    """Compute one input; returns how it went, CP2K's log, and whether it began with another frame's wavefunction.

    `group` names the frames whose wavefunction may be used again; empty: none. Returns None if CP2K has no shell here.
    """
    shell = _shell(context)
    return shell.run(text, files, group, context) if shell else None


def _shell(context: Context) -> _Shell | None:
    """This thread's running CP2K, started if need be."""
    key = json.dumps([context.get(k) for k in _IDENTITY])
    shell: _Shell | None = getattr(_local, "shell", None)
    if shell and (shell.key != key or not shell.usable):
        shell.close()
        shell = None
    if shell is None and key not in _without:
        shell = _started(key, context)
    _local.shell = shell
    return shell


def _started(key: str, context: Context) -> _Shell | None:
    folder = scratch.base(context)
    argv, env = launcher.command(context, PROGRAM.executable, "--shell"), launcher.environment(context)
    try:
        cp2k = InteractiveProgram(argv, _PROMPT, cwd=folder, env=env, cpus=context.get("cpus"))
    except OSError:
        _without.add(key)
        return None
    outcome, _ = cp2k.ask("", min(_START_S, context.get("walltime") or _START_S))
    if outcome.returncode:
        _without.add(key)
        return None
    return _Shell(key, cp2k)


class _Shell:
    """A running CP2K, whose working directory is the scratch folder."""

    def __init__(self, key: str, cp2k: InteractiveProgram) -> None:
        self.key = key
        self._cp2k = cp2k
        self._frames = 0
        self._wavefunctions: dict[str, bytes] = {}
        """By group, the oldest first."""
        atexit.register(cp2k.close)

    @property
    def usable(self) -> bool:
        return self._cp2k.alive and self._frames < _MOST_FRAMES

    def run(self, text: str, files: dict[str, str], group: str, context: Context) -> tuple[Outcome, str, bool]:
        """See `run` above."""
        self._frames += 1
        guess = self._wavefunctions.pop(group, b"")
        with scratch.folder(context, "cp2k") as folder:
            for name, contents in {**files, INPUT: text}.items():
                (folder / name).write_text(contents, encoding="utf-8")
            if guess:
                (folder / WAVEFUNCTION).write_bytes(guess)
            outcome, answer = self._compute(folder.name, context)
            printed = _read(folder / LOG).decode(errors="replace")
            if group and outcome.returncode == 0:
                self._keep(group, _read(folder / WAVEFUNCTION))
        # of a process that ended, what the launcher and the system printed counts too
        return outcome, printed + answer if outcome.returncode else printed, bool(guess)

    def _keep(self, group: str, wavefunction: bytes) -> None:
        self._wavefunctions[group] = wavefunction
        if len(self._wavefunctions) > _MOST_GROUPS:
            del self._wavefunctions[next(iter(self._wavefunctions))]

    def _compute(self, folder: str, context: Context) -> tuple[Outcome, str]:
        """Load, compute and forget the input in `folder`, within the walltime of one frame.

        All names are short and relative: CP2K cuts long ones off.
        """
        limit, used = context.get("walltime"), 0.0
        for command in (f"CD {folder}", f"LOAD {INPUT} {LOG}", "EVAL_EF", "DESTROY", "CD .."):
            remaining = None if limit is None else max(0.01, limit - used)
            outcome, answer = self._cp2k.ask(command, remaining, context.get("memory"))
            used += outcome.seconds
            if outcome.returncode:
                break
        return Outcome(outcome.returncode, used, outcome.timed_out, outcome.out_of_memory), answer

    def close(self) -> None:
        """End CP2K."""
        atexit.unregister(self._cp2k.close)
        self._cp2k.close()


def _read(path: Path) -> bytes:
    return path.read_bytes() if path.exists() else b""
