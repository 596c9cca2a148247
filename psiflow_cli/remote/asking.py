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
        remote_run = record.read(folder)
        if (
            remote_run
            and not remote_run["ended"]
            and time.time() - max(remote_run["as_of"], remote_run.get("asked", 0.0)) > fresh_s
        ):
            by_machine.setdefault((remote_run["host"], remote_run["psiflow"]), {})[folder] = remote_run
    for (host, psiflow), runs in by_machine.items():
        request = json.dumps({"do": "status", "runs": [remote_run["run"] for remote_run in runs.values()]})
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
            for (folder, remote_run), status in zip(runs.items(), listed, strict=True):
                _note(folder, remote_run, status)
        else:
            for folder, remote_run in runs.items():
                record.write(folder, {**remote_run, "asked": time.time()})


def _listed(output: bytes) -> list[RunStatus | None] | None:
    for line in output.decode(errors="replace").splitlines():
        if not line.startswith(GREETING) and line.startswith('{"listed"'):
            listed: list[RunStatus | None] = json.loads(line)["listed"]
            return listed
    return None


def _note(folder: Path, remote_run: RemoteRun, status: RunStatus | None) -> None:
    """Write down what a machine has answered, unless a command has done so meanwhile."""
    if record.read(folder) == remote_run:
        last_status = status or remote_run["status"]
        record.write(folder, {**remote_run, "as_of": time.time(), "status": last_status, "vanished": status is None})


def is_left(folder: Path) -> bool:
    """Whether a run that has not ended has no command here that follows it, and would pass on a signal."""
    return record.is_open(folder) and not lock.is_held(folder / "lock")


def unfinished(folders: list[Path]) -> list[Path]:
    """Those of which a command may be at work, or may have left jobs."""
    refresh(folders)
    remote_runs = {folder: record.read(folder) for folder in folders}
    return [
        f for f, r in remote_runs.items() if r and (r["status"] is None or r["status"]["state"] in ("running", "dead"))
    ]


def perform(folders: Sequence[Path], arguments: Sequence[str]) -> tuple[int, list[dict[str, object]]]:
    """Run a command about runs on their machine; returns its exit code and its JSON rows. Raises NoResources."""
    remote_runs = [each for folder in folders if (each := record.read(folder))]
    host = remote_runs[0]["host"]
    line = ssh.line(remote_runs[0]["psiflow"], [*arguments, "--json", "--", *(each["run"] for each in remote_runs)])
    done = subprocess.run(
        ["ssh", *ssh.options(), host, line], stdout=subprocess.PIPE, stdin=subprocess.DEVNULL, check=False
    )
    for text in done.stdout.decode(errors="replace").splitlines():
        if text.startswith(("[", "{")):
            answer = json.loads(record.with_local_paths(text, remote_runs[0]["mirror"]))
            rows: list[dict[str, object]] = answer if isinstance(answer, list) else [answer]
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
