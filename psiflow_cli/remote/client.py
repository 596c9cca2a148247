"""Runs a command at the far end: its files go there, it runs, what it has made comes back.

The same command line with the same files is the same job: as long as its end was not brought here, it is taken up again
instead of started again.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import sys
import time
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import click

from psiflow_cli import __version__, console, toml
from psiflow_cli.defaults import ROUND
from psiflow_cli.errors import FAILED_FRAMES, PsiflowError, Stopped, counted
from psiflow_cli.remote import arguments, following, inputs, place, record, rsync, sharing
from psiflow_cli.remote.following import Job, Signals
from psiflow_cli.remote.ssh import SILENCE_S, Connection, Cut
from psiflow_cli.runtime import lock, rundir
from psiflow_cli.runtime.request import fingerprint, sha256
from psiflow_cli.runtime.stop import signals
from psiflow_cli.site import load
from psiflow_cli.worker.pool import temporary_folders

if TYPE_CHECKING:
    from psiflow_cli.messages import PlannedCommand, RemoteRun, Reply, Request
    from psiflow_cli.site.schema import Remote

PROJECT = "psiflow.toml"
_BRIEFLY_S = 3.0
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
        if number := os.environ.get(ROUND):
            asked.append(number)
        return fingerprint([os.getcwd(), *asked, self.files, contents])


def perform(call: Call) -> int:
    """Run the command over there, and return its exit code."""
    with ExitStack() as stack:
        with signals.stoppable():
            call.files = inputs.gather(call.paths.inputs)
            if call.paths.stdin:
                call.stdin = _spooled(Path(stack.enter_context(temporary_folders.temporary("psiflow"))))
            opening: Request = {"do": "open", "folder": call.remote.folder, "cwd": os.getcwd(), "id": call.id}
            stack.enter_context(sharing.shared(call.remote.host))
            connection = Connection(call.remote)
            stack.callback(connection.close)
            opened = connection.ask(opening)
            mirror, has_begun = opened["mirror"], _is_there(opened)
            try:
                planned = opened if has_begun else _planned(call, connection, opening, mirror)
                if "exit" in planned:
                    _forget(connection)
                    return planned["exit"]
                job = _job(call, opening, mirror, planned["asked"], stack)
            except BaseException:
                if not has_begun:
                    _forget(connection, _BRIEFLY_S)
                raise
        with Signals(call.remote.host) as stops:
            if has_begun:
                console.note(f"following the command that was started on {call.remote.host}")
            else:
                console.detail(f"{call.remote.host}: {mirror}{os.getcwd()}")
                absent = [path for output in job.outputs if not os.path.lexists(path := job.with_local_paths(output))]
                connection.ask({"do": "start", "absent": absent if job.folder else []})
            connection, reply = following.follow(connection, job, -_LAST_WORDS if has_begun else 0, stops)
            _deliver(job, reply, stops)
            _forget(connection)
            return reply["exit"]


def _is_there(opened: Reply) -> bool:
    """Whether a job is taken up; one that stopped before its end goes on if it is started again instead."""
    return opened["state"] == "running" or opened.get("ended_with") in (0, FAILED_FRAMES)


def check(call: Call) -> int:
    """Run a command that has no stage over there, and return its exit code."""
    with signals.stoppable():
        opening: Request = {"do": "open", "folder": call.remote.folder, "cwd": os.getcwd(), "id": call.id}
        connection = Connection(call.remote)
        try:
            mirror = connection.ask(opening)["mirror"]
            console.note(f"{call.remote.host} has psiflow {__version__}, too; files go below {mirror}")
            return _planned(call, connection, opening, mirror)["exit"]
        finally:
            _forget(connection, _BRIEFLY_S)


def _spooled(folder: Path) -> Path:
    """What stdin has, in a file."""
    with (folder / "stdin").open("wb") as stream:
        shutil.copyfileobj(sys.stdin.buffer, stream)
    return folder / "stdin"


def _planned(call: Call, connection: Connection, opening: Request, mirror: str) -> Reply:
    """What the command is about; one that ends before its stage, as with an error in its input, has made nothing."""
    _send(call, mirror, opening["id"])
    planned = connection.ask(_plan(call, mirror))
    if "exit" in planned:
        console.put(record.with_local_paths(planned["stderr"], mirror))
        click.echo(record.with_local_paths(planned["stdout"], mirror), nl=False)
    return planned


def _job(call: Call, opening: Request, mirror: str, planned: PlannedCommand | None, stack: ExitStack) -> Job:
    """The job, with its run directory here held and its outputs' places free. Raises CannotCreate or Stopped."""
    if call.dry_run or planned is None:
        return Job(call.remote, opening, mirror, [])
    folder = Path(record.with_local_paths(planned["run_dir"], mirror))
    remote_run = _record(call, mirror, planned["command"], folder)
    job = Job(call.remote, opening, mirror, planned["outputs"], folder, remote_run)
    if not call.overwrite:
        written = place.written_checksums(folder, remote_run["outputs"])
        place.refuse_foreign(map(job.with_local_paths, job.outputs), written)
    rundir.make_folder(folder)
    stack.callback(lock.Lock(folder / "lock").release)
    if record.read(folder) is None and (folder / "run.json").exists():
        console.note(f"results computed here are reused on {call.remote.host}")
        local = [os.path.abspath(folder / name) for name in ("run.json", "journal.jsonl")]
        rsync.send(call.remote.host, mirror, [path for path in local if os.path.exists(path)])
    record.write(folder, remote_run)
    return job


def _send(call: Call, mirror: str, job: str) -> None:
    console.detail(f"sending {counted(len(call.files), 'file or folder', 'files and folders')} to {call.remote.host}")
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
    given = arguments.for_other_machine(call.typed, call.paths, mirror)
    folders = {os.path.dirname(inputs.absolute(path)) for path in call.paths.paths}
    return {
        "do": "plan", "argv": [*call.names, *limit, *given], "site": mirror + site,
        "round": os.environ.get(ROUND, ""), "texts": texts, "make": sorted(filter(os.path.isdir, folders)),
    }  # fmt: skip


def _record(call: Call, mirror: str, command: str, folder: Path) -> RemoteRun:
    earlier = record.read(folder)
    return {
        "host": call.remote.host, "folder": call.remote.folder, "site": os.path.abspath(call.site),
        "psiflow": call.remote.psiflow, "mirror": mirror, "run": mirror + os.path.abspath(folder), "command": command,
        "started": time.time(), "ended": False, "as_of": time.time(), "status": None,
        "outputs": earlier["outputs"] if earlier else {},
    }  # fmt: skip


def _deliver(job: Job, reply: Reply, stops: Signals) -> None:
    """Bring here what a command that has ended has made, say its stdout, and let the far end forget it."""
    names = [name for name in reply["fetch"] if job.folder or name.endswith("/stdout")]
    with temporary_folders.temporary("psiflow") as scratch:
        fetched = job.folder / "fetched" if job.folder else Path(scratch)
        fetched.mkdir(mode=0o700, exist_ok=True)
        _fetch(job, names, fetched, reply["exit"], stops)
        if job.folder and job.record:
            _put(job, job.folder, job.record, fetched, reply)
        _print_stdout(job, reply, fetched)
        shutil.rmtree(fetched)


def _forget(connection: Connection, patience_s: float = SILENCE_S) -> None:
    """Have the far end delete what it has of the job; what a cut connection leaves there does no harm."""
    with contextlib.suppress(Cut):
        connection.send({"do": "forget"})
        connection.wait(patience_s)
    connection.close()


def _fetch(job: Job, names: list[str], folder: Path, code: int, stops: Signals) -> None:
    """What a cut connection left is completed. Raises Stopped where that cannot be done in time."""
    if not names:
        return
    problem = f"{job.remote.host}: the command ended there with exit code {code}, but its files are not here"
    for _ in range(3):
        try:
            return rsync.fetch(job.remote.host, job.mirror, names, folder)
        except PsiflowError as error:
            console.note(error.message)
            following.again(job, stops).close()
    raise Stopped(problem, following.AGAIN)


def _put(job: Job, folder: Path, remote_run: RemoteRun, fetched: Path, reply: Reply) -> None:
    """Outputs to their places, and into the run directory what tells of the run."""
    outputs = dict(remote_run["outputs"])
    finals = [Path(os.path.abspath(job.with_local_paths(output))) for output in job.outputs]
    sources = {final: source for final in finals if os.path.lexists(source := Path(f"{fetched}{final}"))}
    for final, source in sources.items():
        outputs[str(final)] = [*outputs.get(str(final), [])[-1:], sha256(source)]
    record.write(folder, {**remote_run, "outputs": outputs})  # before they are there: they are known for our own
    for final, source in sources.items():
        place.put(source, final)
    for final in finals:
        if final not in sources and reply["exit"] in (0, FAILED_FRAMES) and outputs.pop(str(final), []):
            final.unlink(missing_ok=True)  # there is none any more, and this one was checked to be ours
    place.keep_run(Path(f"{fetched}{os.path.abspath(folder)}"), folder, job.with_local_paths)
    status = reply.get("status")
    record.write(folder, {**remote_run, "ended": True, "as_of": time.time(), "status": status, "outputs": outputs})


def _print_stdout(job: Job, reply: Reply, fetched: Path) -> None:
    sys.stdout.flush()
    if (text := reply.get("stdout")) is not None:
        sys.stdout.buffer.write(job.with_local_paths(text).encode(errors="surrogateescape"))
    else:
        stdout = fetched / ".psiflow-remote" / job.opening["id"] / "stdout"
        with stdout.open("rb") as stream:
            shutil.copyfileobj(stream, sys.stdout.buffer)
    sys.stdout.buffer.flush()
