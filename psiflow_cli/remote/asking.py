"""What becomes of runs on other machines, without a command here that follows them."""

from __future__ import annotations

import json
import subprocess
import time
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from psiflow_cli.errors import NoResources
from psiflow_cli.remote import record, ssh
from psiflow_cli.remote.agent import GREETING
from psiflow_cli.runtime import lock

if TYPE_CHECKING:
    from psiflow_cli.messages import RemoteRun, RunStatus

_FRESH_S = 15.0
_PATIENCE_S = 10.0
_QUICK = ["-o", "BatchMode=yes", "-o", "ConnectTimeout=5"]


def refresh(folders: Iterable[Path], fresh_s: float = _FRESH_S) -> None:
    """Bring the records of runs that have not ended up to date, where their machines answer at once.

    What was known so many seconds ago is not asked again.
    """
    by_machine: dict[tuple[str, str], dict[Path, RemoteRun]] = {}
    for folder in folders:
        known = record.read(folder)
        if known and not known["ended"] and time.time() - max(known["as_of"], known.get("asked", 0.0)) > fresh_s:
            by_machine.setdefault((known["host"], known["psiflow"]), {})[folder] = known
    for (host, psiflow), runs in by_machine.items():
        request = json.dumps({"do": "status", "runs": [known["run"] for known in runs.values()]})
        command = ["ssh", *_QUICK, host, ssh.line(psiflow, ["remote"])]
        try:
            # stderr is no pipe: a connection that ssh leaves behind for others (ControlPersist) would keep it open
            done = subprocess.run(
                command, input=f"{request}\n".encode(), stdout=subprocess.PIPE, stderr=subprocess.DEVNULL,
                timeout=_PATIENCE_S, check=False,
            )  # fmt: skip
            answer = done.stdout
        except (OSError, subprocess.TimeoutExpired):
            answer = b""
        if listed := _listed(answer):
            for (folder, known), status in zip(runs.items(), listed, strict=True):
                _note(folder, known, status)
        else:
            for folder, known in runs.items():
                record.write(folder, {**known, "asked": time.time()})


def _listed(output: bytes) -> list[RunStatus | None] | None:
    for line in output.decode(errors="replace").splitlines():
        if not line.startswith(GREETING) and line.startswith('{"listed"'):
            listed: list[RunStatus | None] = json.loads(line)["listed"]
            return listed
    return None


def _note(folder: Path, known: RemoteRun, status: RunStatus | None) -> None:
    """Write down what a machine has answered, unless a command has done so meanwhile."""
    if record.read(folder) == known:
        told = status or known["status"]
        record.write(folder, {**known, "as_of": time.time(), "status": told, "vanished": status is None})


def is_left(folder: Path) -> bool:
    """Whether a run that has not ended has no command here that follows it, and would pass on a signal."""
    return record.is_open(folder) and not lock.is_held(folder / "lock")


def unfinished(folders: list[Path]) -> list[Path]:
    """Those of which a command may be at work, or may have left jobs."""
    refresh(folders)
    known = {folder: record.read(folder) for folder in folders}
    return [f for f, r in known.items() if r and (r["status"] is None or r["status"]["state"] in ("running", "dead"))]


def perform(folders: Sequence[Path], arguments: Sequence[str]) -> tuple[int, list[dict[str, object]]]:
    """Run a command about runs on their machine; returns its exit code and its JSON rows. Raises NoResources."""
    known = [each for folder in folders if (each := record.read(folder))]
    host = known[0]["host"]
    line = ssh.line(known[0]["psiflow"], [*arguments, "--json", "--", *(each["run"] for each in known)])
    done = subprocess.run(
        ["ssh", *ssh.options(), host, line], stdout=subprocess.PIPE, stdin=subprocess.DEVNULL, check=False
    )
    for text in done.stdout.decode(errors="replace").splitlines():
        if text.startswith(("[", "{")):
            told = json.loads(record.here(text, known[0]["mirror"]))
            rows: list[dict[str, object]] = told if isinstance(told, list) else [told]
            as_named = {str(folder.absolute()): str(folder) for folder in folders}
            return done.returncode, [{**row, "run": as_named.get(str(row.get("run")), row.get("run"))} for row in rows]
    raise NoResources(
        f"ssh {host}: psiflow {arguments[0]} ended there with exit code {done.returncode}",
        f"try it yourself: ssh {host}",
    )


def by_machine(folders: Iterable[Path]) -> list[list[Path]]:
    """Run directories here, grouped by where their runs are."""
    groups: dict[tuple[str, str], list[Path]] = {}
    for folder in folders:
        if known := record.read(folder):
            groups.setdefault((known["host"], known["mirror"]), []).append(folder)
    return list(groups.values())
