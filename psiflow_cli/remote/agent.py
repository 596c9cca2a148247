"""The far end of a connection: starts a command, says what it says, and passes signals on, for as long as ssh holds.

It reads requests and writes replies, a JSON object in each line (`messages.Request` and `messages.Reply`). What it
starts goes on without it: a later connection, also to another login node, finds all in the files of the job's folder.
"""

from __future__ import annotations

import json
import os
import select
import shutil
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn, cast

from psiflow_cli import __version__, atomic_file
from psiflow_cli.errors import BAD_CONFIG, CANNOT_CREATE, STOPPED, PsiflowError
from psiflow_cli.remote import keeper, plan

if TYPE_CHECKING:
    from psiflow_cli.messages import PlannedCommand, Reply, Request, RunStatus

GREETING = "psiflow-remote "
"""What the first line begins with; what the login shell has printed before is skipped."""
_LOOK_S = 0.2
_BEAT_S = 5.0
_STATUS_S = 10.0
_KEPT_S = 30 * 24 * 3600.0
_SHORT = 64 * 1024
_MOST_JOURNAL = 64 * 1024**2


def serve() -> None:
    """Answer requests until the connection ends."""
    agent = _Agent()
    send({"psiflow": __version__}, GREETING)
    buffer = b""
    while True:
        if select.select([0], [], [], _LOOK_S if agent.follows else None)[0]:
            data = os.read(0, 1 << 16)
            if not data:
                return
            *lines, buffer = (buffer + data).split(b"\n")
            for line in lines:
                agent.answer(json.loads(line))
        agent.report()


def send(reply: Reply, before: str = "") -> None:
    """One line; a connection that has gone ends this process, and nothing else."""
    try:
        sys.stdout.write(f"{before}{json.dumps(reply)}\n")
        sys.stdout.flush()
    except BrokenPipeError:
        _leave()


def _leave() -> NoReturn:
    os._exit(0)


class _Agent:
    def __init__(self) -> None:
        self.follows = False
        self._at = 0
        self._beat = self._told = 0.0
        self._shown: RunStatus | None = None

    def answer(self, request: Request) -> None:
        try:
            getattr(self, f"_{request['do']}")(request)
        except PsiflowError as error:
            send({"error": error.message, "hint": error.hint, "code": error.exit_code})
        except OSError as error:
            what = f"{error.filename}: {error.strerror}" if error.filename else str(error)
            send({"error": what, "hint": "", "code": CANNOT_CREATE})

    def _open(self, request: Request) -> None:
        folder = os.path.expanduser(os.path.expandvars(request["folder"]))
        if "$" in folder or not os.path.isabs(folder):
            problem = f"[remote] folder: {request['folder']} is {folder} there, which is not an absolute path"
            raise PsiflowError(problem, 'as in folder = "/scratch/me/project"', BAD_CONFIG)
        os.makedirs(folder, mode=0o700, exist_ok=True)
        self._mirror = os.path.realpath(folder)
        self._cwd = Path(self._mirror + request["cwd"])
        self._cwd.mkdir(parents=True, exist_ok=True)
        self._job = Path(self._mirror, ".psiflow-remote", request["id"])
        self._job.mkdir(mode=0o700, parents=True, exist_ok=True)
        for job in self._job.parent.iterdir():  # whose ends nobody came for
            if time.time() - job.stat().st_mtime > _KEPT_S and keeper.state(job) != "running":
                shutil.rmtree(job, ignore_errors=True)
        opened: Reply = {"mirror": self._mirror, "state": keeper.state(self._job), "asked": self._planned_command()}
        if opened["state"] == "ended":
            opened["ended_with"] = keeper.exit_code(self._job)
        send(opened)

    def _planned_command(self) -> PlannedCommand | None:
        try:
            return cast("PlannedCommand", json.loads((self._job / "asked.json").read_text(encoding="utf-8")))
        except (OSError, ValueError):
            return None

    def _plan(self, request: Request) -> None:
        """Run the command as far as it is known what it will write; a command without a stage comes to its end."""
        for folder in request["make"]:
            Path(self._mirror + folder).mkdir(parents=True, exist_ok=True)
        for path, text in request["texts"].items():
            _write(Path(self._mirror + path), text)
        (self._job / "asked.json").unlink(missing_ok=True)
        self._call: keeper.Call = {
            "argv": request["argv"], "cwd": str(self._cwd), "site": request["site"], "round": request["round"],
        }  # fmt: skip
        environment = {**keeper.environment(self._call), plan.VARIABLE: str(self._job / "asked.json")}
        with keeper.stdin(self._job).open("rb") as stream:
            done = subprocess.run(
                keeper.command(self._call), cwd=self._cwd, env=environment, stdin=stream, capture_output=True,
                encoding="utf-8", errors="replace", check=False,
            )  # fmt: skip
        if asked := self._planned_command():
            send({"asked": asked})
        else:
            send({"exit": done.returncode, "stdout": done.stdout, "stderr": done.stderr})

    def _start(self, request: Request) -> None:
        asked = self._planned_command()
        if asked and not self._path(asked["run_dir"], "run.json").exists():
            for output in request["absent"]:  # a file that once was an input, and is no longer there
                if os.path.lexists(path := self._path(output)):
                    os.replace(path, self._job / f"aside-{path.name}")
        keeper.start(self._job, self._call)
        send({"state": keeper.state(self._job)})

    def _path(self, name: str, *below: str) -> Path:
        return Path(self._cwd, name, *below)

    def _follow(self, request: Request) -> None:
        self.follows = True
        self._at = request["at"]
        if self._at < 0:
            self._at = max(0, _size(self._job / "stderr") + self._at)

    def _signal(self, request: Request) -> None:
        atomic_file.write(self._job / "signal", str(request["number"]))

    def _forget(self, _request: Request) -> None:
        shutil.rmtree(self._job, ignore_errors=True)
        _leave()

    def _status(self, request: Request) -> None:
        send({"listed": [_described(Path(run)) for run in request["runs"]]})

    def report(self) -> None:
        """Say what is new of the command that is followed."""
        if not self.follows:
            return
        state = keeper.state(self._job)
        if not (self._job / "stderr").exists():  # it is just being started
            return
        with (self._job / "stderr").open("rb") as stream:
            stream.seek(self._at)
            while text := stream.read(1 << 16):
                if (cut := text.rfind(b"\n") + 1) == 0 and state != "ended":
                    break  # a line that is not whole yet
                text = text[:cut] if cut else text
                self._at += len(text)
                stream.seek(self._at)
                send({"stderr": text.decode(errors="replace"), "at": self._at})
        if state == "running":
            self._reassure()
            return
        self.follows = False
        if state == "ended":
            self._end()
        else:
            send(
                {
                    "error": "the command is no longer running there",
                    "hint": "run the same command again",
                    "code": STOPPED,
                }
            )

    def _reassure(self) -> None:
        now = time.monotonic()
        if now - self._told > _STATUS_S and (asked := self._planned_command()):
            status = _described(self._path(asked["run_dir"]))
            self._told = now if status else now - _STATUS_S + _BEAT_S / 2  # it has only begun to read its inputs
            send({"status": status} if status else {})
        elif now - self._beat > _BEAT_S:
            self._beat = now
            send({})

    def _end(self) -> None:
        """Say how it has ended, and what there is to fetch."""
        reply: Reply = {"exit": keeper.exit_code(self._job)}
        files: list[Path] = []
        if planned := self._planned_command():
            run = self._path(planned["run_dir"])
            if status := _described(run):
                reply["status"] = status
            files = [*map(self._path, planned["outputs"]), run / "run.json"]
            if _size(run / "journal.jsonl") < _MOST_JOURNAL:
                files.append(run / "journal.jsonl")
        stdout = self._job / "stdout"
        if _size(stdout) > _SHORT:
            files.append(stdout)
        else:
            reply["stdout"] = stdout.read_bytes().decode(errors="surrogateescape")
        written = [os.path.abspath(path) for path in files if os.path.lexists(path)]
        send({**reply, "fetch": [os.path.relpath(path, self._mirror) for path in written]})


def _write(path: Path, text: str | None) -> None:
    if text is None:
        path.unlink(missing_ok=True)
    else:
        path.parent.mkdir(parents=True, exist_ok=True)
        atomic_file.write(path, text)


def _size(path: Path) -> int:
    return path.stat().st_size if path.exists() else 0


def _described(run: Path) -> RunStatus | None:
    from psiflow_cli.stages.runs import run_folders, status

    return status.describe(run) if next(run_folders.find([run]), None) == run else None
