"""Runs a command at the far end: its files go there, it runs, what it has made comes back.

The same command line with the same files is the same job: as long as its end was not brought here, it is taken up again
instead of started anew.
"""

from __future__ import annotations

import os
import shutil
import sys
import tempfile
import time
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import click

from psiflow_cli import console, toml
from psiflow_cli.errors import PsiflowError, Stopped
from psiflow_cli.remote import arguments, following, inputs, place, record, rsync
from psiflow_cli.remote.following import Job, Signals
from psiflow_cli.remote.ssh import Connection
from psiflow_cli.runtime import lock, rundir, signals
from psiflow_cli.runtime.request import fingerprint, sha256
from psiflow_cli.site import load

if TYPE_CHECKING:
    from psiflow_cli.messages import Asked, RemoteRun, Reply, Request
    from psiflow_cli.site.schema import Remote

PROJECT = "psiflow.toml"
_LAST_WORDS = 4096
"""Bytes of what a command has said that are shown when it is taken up again."""


@dataclass
class Call:
    """A command line, and what it is about."""

    names: list[str]  # such as `model`, `compile`
    typed: Sequence[str]  # its arguments
    paths: arguments.Named
    site: Path
    remote: Remote
    overwrite: bool
    dry_run: bool
    deadline: float | None
    files: list[str] = field(default_factory=list)
    stdin: Path | None = None

    @property
    def id(self) -> str:
        """What the job is known by: all that the command is given, and the contents of its files."""
        project = Path(PROJECT).read_text(encoding="utf-8") if os.path.isfile(PROJECT) else ""
        contents = [sha256(path) for path in (*map(Path, self.files), *((self.stdin,) if self.stdin else ()))]
        asked = [self.names, list(arguments.plain(self.typed)), project, load.tables(self.site)]
        return fingerprint([os.getcwd(), *asked, self.files, contents])


def perform(call: Call) -> int:
    """Run the command over there, and return its exit code."""
    with ExitStack() as stack:
        with signals.stoppable():
            call.files = inputs.gather(call.paths.inputs)
            if call.paths.stdin:
                call.stdin = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="psiflow-")), "stdin")
                with call.stdin.open("wb") as stream:
                    shutil.copyfileobj(sys.stdin.buffer, stream)
            opening: Request = {"do": "open", "folder": call.remote.folder, "cwd": os.getcwd(), "id": call.id}
            connection = Connection(call.remote)
            stack.callback(connection.close)
            opened = connection.ask(opening)
            asked = opened["asked"]
            taken_up = opened["state"] != "none"
            if not taken_up:
                _send(call, opened["mirror"], opening["id"])
                planned = connection.ask(_plan(call, opened["mirror"]))
                if "exit" in planned:
                    return _early_end(connection, planned, opened["mirror"])
                asked = planned["asked"]
            folder = None if call.dry_run or not asked else Path(_here(asked["run_dir"], opened["mirror"]))
            if folder:
                stack.callback(_locked(folder).release)
            job = Job(call.remote, opening, opened["mirror"], folder, _record(call, opened["mirror"], folder))
            if asked:
                _refuse(call, job, asked)
            if job.folder and job.record:
                record.write(job.folder, job.record)
        with Signals(call.remote.host) as stops:
            if taken_up:
                console.note(f"taking up the command that was started on {call.remote.host}")
            else:
                console.detail(f"{call.remote.host}: {opened['mirror']}{os.getcwd()}")
                absent = [name for name in asked["outputs"] if not os.path.lexists(job.here(name))] if asked else []
                connection.ask({"do": "start", "absent": [] if call.dry_run else absent})
            reply = following.follow(connection, job, -_LAST_WORDS if taken_up else 0, stops)
            _deliver(job, asked, reply, stops)
            return reply["exit"]


def _here(path: str, mirror: str) -> str:
    return path.removeprefix(mirror) if path.startswith(f"{mirror}/") else path


def _send(call: Call, mirror: str, job: str) -> None:
    console.detail(f"sending {len(call.files)} files and folders to {call.remote.host}")
    if call.files:
        rsync.send(call.remote.host, mirror, call.files)
    if call.stdin:
        rsync.send_as(call.remote.host, call.stdin, f"{mirror}/.psiflow-remote/{job}/stdin")


def _plan(call: Call, mirror: str) -> Request:
    tables = {key: value for key, value in load.tables(call.site).items() if key not in ("remote", "extends")}
    site = os.path.abspath(call.site)
    texts: dict[str, str | None] = {site: toml.dumps(arguments.table_there(tables, call.paths, mirror))}
    project = os.path.abspath(PROJECT)
    texts[project] = None
    if os.path.isfile(project):
        table = toml.loads(Path(project).read_text(encoding="utf-8"))
        texts[project] = toml.dumps(arguments.table_there(table, call.paths, mirror))
    limit = [] if call.deadline is None else ["--deadline", f"{max(1, round(call.deadline - time.time()))}s"]
    given = arguments.there(call.typed, call.paths, mirror)
    outputs = {os.path.dirname(os.path.abspath(path)) for path in call.paths.outputs}
    inputs_of = {os.path.dirname(os.path.abspath(path)) for path in call.paths.inputs}
    return {
        "do": "plan", "argv": [*call.names, *limit, *given], "site": mirror + site, "texts": texts,
        "make": sorted(folder for folder in outputs | inputs_of if os.path.isdir(folder)),
    }  # fmt: skip


def _early_end(connection: Connection, reply: Reply, mirror: str) -> int:
    """A command that ended before its stage, such as one with an error in its input, has made nothing."""
    connection.close()
    console.put(reply["stderr"].replace(f"{mirror}/", "/"))
    click.echo(reply["stdout"].replace(f"{mirror}/", "/"), nl=False)
    return reply["exit"]


def _locked(folder: Path) -> lock.Lock:
    rundir.make_folder(folder)
    return lock.Lock(folder / "lock")


def _record(call: Call, mirror: str, folder: Path | None) -> RemoteRun | None:
    if folder is None:
        return None
    earlier = record.read(folder)
    return {
        "host": call.remote.host, "folder": call.remote.folder, "site": os.path.abspath(call.site),
        "psiflow": call.remote.psiflow, "mirror": mirror, "run": mirror + os.path.abspath(folder),
        "started": time.time(), "ended": False, "as_of": time.time(), "status": None,
        "outputs": earlier["outputs"] if earlier else {},
    }  # fmt: skip


def _outputs(job: Job, asked: Asked) -> list[str]:
    return [job.here(output) for output in asked["outputs"]]


def _refuse(call: Call, job: Job, asked: Asked) -> None:
    if job.folder and job.record and not call.overwrite:
        place.refuse_foreign(_outputs(job, asked), place.own(job.folder, job.record["outputs"]))


def _deliver(job: Job, asked: Asked | None, reply: Reply, stops: Signals) -> None:
    """Bring here what a command that has ended has made, say its stdout, and let the far end forget it."""
    wanted = [name for name in reply["fetch"] if job.folder or name.endswith("/stdout")]
    with tempfile.TemporaryDirectory(prefix="psiflow-") as scratch:
        fetched = job.folder / "fetched" if job.folder else Path(scratch)
        fetched.mkdir(mode=0o700, exist_ok=True)
        _fetch(job, wanted, fetched, reply["exit"], stops)
        if job.folder and job.record and asked:
            _put(job, job.folder, asked, fetched, reply)
        _say(job, reply, fetched)
        shutil.rmtree(fetched)
    connection = following.again(job, stops)
    connection.send({"do": "delivered"})
    connection.wait()


def _fetch(job: Job, names: list[str], folder: Path, code: int, stops: Signals) -> None:
    """What a cut connection left is completed. Raises Stopped where that cannot be done in time."""
    if not names:
        return
    problem = f"{job.remote.host}: the command has ended there with exit code {code}, and its files are not here"
    for _ in range(3):
        try:
            return rsync.fetch(job.remote.host, job.mirror, names, folder)
        except PsiflowError as error:
            console.note(error.message)
            following.again(job, stops).close()
    raise Stopped(problem, following.AGAIN)


def _put(job: Job, folder: Path, asked: Asked, fetched: Path, reply: Reply) -> None:
    """Outputs to their places, and into the run directory what tells of the run."""
    assert job.record is not None
    outputs = dict(job.record["outputs"])
    names = {os.path.abspath(output): output for output in _outputs(job, asked)}
    for path in names:
        if os.path.lexists(source := Path(f"{fetched}{path}")):
            outputs[path] = place.put(source, Path(path))
        elif reply["exit"] in (0, 1) and os.path.isfile(path) and path in outputs:
            os.unlink(path)  # it no longer holds there, and was checked to be ours
            del outputs[path]
    place.keep_run(Path(f"{fetched}{os.path.abspath(folder)}"), folder, job.here)
    status = reply.get("status")
    record.write(folder, {**job.record, "ended": True, "as_of": time.time(), "status": status, "outputs": outputs})


def _say(job: Job, reply: Reply, fetched: Path) -> None:
    sys.stdout.flush()
    if (text := reply.get("stdout")) is not None:
        sys.stdout.buffer.write(job.here(text).encode(errors="surrogateescape"))
    else:
        stdout = fetched / ".psiflow-remote" / job.opening["id"] / "stdout"
        with stdout.open("rb") as stream:
            shutil.copyfileobj(stream, sys.stdout.buffer)
    sys.stdout.buffer.flush()
