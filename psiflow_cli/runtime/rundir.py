"""The run directory: run.json says what was asked, the journal what is done, logs/ keeps what the tools said.

Everything here is 0700/0600. Outputs are made beside their final place and renamed, after their checksum is in the
journal: that is how a later run knows its own files from the user's.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import sys
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from psiflow_cli import __version__
from psiflow_cli.console import detail
from psiflow_cli.errors import BUG, CannotCreate, PsiflowError, Stopped
from psiflow_cli.remote import record
from psiflow_cli.runtime.journal import Journal, head, lines, records, whole_unit
from psiflow_cli.runtime.jsonfile import read_run, write_json
from psiflow_cli.runtime.lock import Lock
from psiflow_cli.runtime.request import Request, fingerprint, sha256
from psiflow_cli.runtime.swap import swap_paths
from psiflow_cli.worker.failures import environment_code

if TYPE_CHECKING:
    from psiflow_cli.messages import InputFile, Record, RunRecord, RunResult, Summary, Unit

PRIVATE = 0o077  # the umask of everything in a run directory
_USER_UMASK = os.umask(PRIVATE)
os.umask(_USER_UMASK)


class Run:
    """An open run directory: locked, its journal open, its request written down."""

    def __init__(self, folder: Path, request: Request, site: Mapping[str, object]) -> None:
        self.folder = folder
        self.request = request
        make_folder(folder)
        self._lock = Lock(folder / "lock")
        try:
            if (elsewhere := record.read(folder)) and not elsewhere["ended"]:
                problem = f"{folder}: its run on {elsewhere['host']} has not ended or was not fetched"
                raise Stopped(problem, "run the command again with that site, or choose another --output")
            self.previous = read_run(folder)
            self.journal_path = folder / "journal.jsonl"
            self._refuse_foreign_outputs()
            self._site = site
            result = self.previous.get("result")
            self._round = int(self.previous.get("round", 0)) + bool(result and result.get("finished"))
        except BaseException:
            self._lock.release()
            raise
        self.journal: Journal
        self._keys: list[str] = []

    def _refuse_foreign_outputs(self) -> None:
        """Raise CannotCreate for an output that psiflow did not write, or that was edited since."""
        if self.request.overwrite:
            return
        result = self.previous.get("result")
        finished = set(result.get("outputs", {}).values()) if result else set()
        existing = {Path(o): sha256(Path(o)) for o in self.request.outputs if os.path.lexists(o)}
        if finished.issuperset(existing.values()):
            return  # the journal, which is long, need not be asked
        own = finished | {r["sha256"] for _, r in records(self.journal_path) if r["kind"] == "output"}
        for path, digest in existing.items():
            if digest not in own:
                problem = f"{path}: exists, and is not (or no longer) what psiflow wrote there"
                raise CannotCreate(problem, "replace it with --overwrite, or choose another --output")

    def up_to_date(self) -> RunResult | None:
        """The result of an earlier, equal and finished invocation whose outputs still stand, else None."""
        result = self.previous.get("result")
        reason = self._why_again(result) if result else "an earlier run has not ended" if self.previous else ""
        if reason:
            detail(f"{self.folder} is not up to date: {reason}")
        return None if reason else result

    def _why_again(self, result: RunResult) -> str:
        """Why what an earlier invocation made does not stand; "" if it does."""
        if not self.request.cache:
            return "the site has cache = false"
        if self.previous.get("fingerprint") != self.request.fingerprint:
            return f"other settings ({', '.join(self._other_settings()) or 'another psiflow'})"
        if self.request.overwrite:
            return "--overwrite"
        if not result["finished"]:
            return "the earlier run was stopped before its end"
        if result.get("retry"):
            return "something failed because of the machine and is tried again"
        if result["summary"].get("failed") and self._blames_frames_for_the_environment():
            return "frames failed because of the environment"
        if [i["sha256"] for i in self.previous["inputs"]] != [i["sha256"] for i in self._inputs()]:
            return "an input has changed"
        outputs = {self._by_now(path): digest for path, digest in result["outputs"].items()}
        for path, digest in outputs.items():
            if not os.path.lexists(path) or sha256(Path(path)) != digest:
                return f"{path} was changed or removed"
        added = {os.path.abspath(o) for o in self.request.outputs if os.path.lexists(o)} - outputs.keys()
        return f"{min(added)} exists, but was not written by the earlier run" if added else ""

    def _other_settings(self) -> list[str]:
        """The settings that are not those of the earlier invocation."""
        before, now = self.previous.get("settings", {}), json.loads(json.dumps(self.request.settings))
        return sorted(name for name in {*before, *now} if before.get(name) != now.get(name))

    def _by_now(self, path: str) -> str:
        """Where an output of an earlier invocation is, also if the run directory was moved with what lies around it."""
        return os.path.abspath(os.path.join(self.folder, os.path.relpath(path, self.previous["run"])))

    def _inputs(self) -> list[InputFile]:
        listed: list[InputFile] = []
        for name in self.request.inputs:
            path = Path(self.request.spooled.get(name, name))
            listed.append({"path": name, "sha256": sha256(path), "size": path.stat().st_size if path.is_file() else 0})
        return listed

    def begin(self, total: int) -> None:
        """Write run.json and open the journal: from here on this is the run's current invocation of `total` units."""
        from importlib.metadata import version

        self._started = time.time()
        (self.folder / record.FILE).unlink(missing_ok=True)  # from here on it is a run of this machine
        self._record: RunRecord = {
            "run": str(self.folder.absolute()), "command": self.request.command, "argv": sys.argv,
            "cwd": os.getcwd(), "fingerprint": self.request.fingerprint, "settings": self.request.settings,
            "inputs": self._inputs(), "outputs": [os.path.abspath(o) for o in self.request.outputs],
            "site": self._site,
            "versions": {"psiflow": __version__, "python": sys.version.split()[0], "parsl": version("parsl")},
            "host": os.uname().nodename, "pid": os.getpid(), "slurm_job_id": os.environ.get("SLURM_JOB_ID"),
            "started": self._started, "total": total, "round": self._round,
        }  # fmt: skip
        write_json(self.folder / "run.json", self._record)
        self.journal = Journal(self.journal_path)
        self.journal.append(
            {
                "kind": "begin", "t": self._started, "host": self._record["host"], "pid": self._record["pid"],
                "slurm_job_id": self._record["slurm_job_id"], "fingerprint": self._record["fingerprint"],
                "total": total, "provider": _provider_type(self._site),
            }
        )  # fmt: skip

    def key(self, fingerprint: str) -> str:
        """What the units of these settings are found by: without a cache, another one after every finished run."""
        key = fingerprint if self.request.cache else f"{fingerprint}.{self._round}"
        if key not in self._keys:
            self._keys.append(key)
        return key

    def units(self, fingerprint: str) -> Iterator[tuple[int, Unit]]:
        """(offset, head) of every finished unit of these settings, oldest first."""
        for offset, line in lines(self.journal_path):
            record = head(line)
            if record["kind"] == "unit" and record["of"] == fingerprint and not _is_environments(record, line):
                yield offset, record

    def _blames_frames_for_the_environment(self) -> bool:
        """Whether an earlier psiflow recorded what was wrong with an environment as failures of frames."""
        blamed: set[str] = set()
        for _, line in lines(self.journal_path):
            record = head(line)
            if record["kind"] == "unit":
                (blamed.add if _is_environments(record, line) else blamed.discard)(record["id"])
        return bool(blamed)

    def note_lost(self, ids: list[str], why: str) -> None:
        """Write down which units were lost with their worker, and so began more than once."""
        self.journal.append({"kind": "lost", "t": round(time.time(), 3), "ids": ids, "why": why})

    def publish(self, temporary: Path, output: str) -> None:
        """Put a finished file or directory in its place, whole or not at all."""
        final = Path(output)
        self.journal.append({"kind": "output", "path": str(final.absolute()), "sha256": sha256(temporary)})
        if not final.absolute().is_relative_to(self.folder.absolute()):
            give_user_mode(temporary)
        if temporary.is_dir() and final.exists():
            swap_paths(temporary, final)
            shutil.rmtree(temporary)
        else:
            os.replace(temporary, final)

    def publish_text(self, text: str, output: str) -> None:
        """Put a text in its place, whole or not at all."""
        temporary = self.temporary(output)
        temporary.write_text(text, encoding="utf-8")
        self.publish(temporary, output)

    def remove_own(self, output: str) -> None:
        """Remove an output of an earlier invocation that no longer holds (it was checked to be ours)."""
        with contextlib.suppress(FileNotFoundError):
            os.unlink(output)

    def end(self, exit_code: int, summary: Summary, finished: bool, again: bool = False) -> None:
        """Say in run.json how this invocation ended; `again` asks the next one to go on although this one finished."""
        outputs = {os.path.abspath(o): sha256(Path(o)) for o in self.request.outputs if finished and os.path.exists(o)}
        result: RunResult = {
            "exit_code": exit_code, "ended": time.time(), "finished": finished, "outputs": outputs,
            "retry": again, "keys": self._keys, "summary": summary,
        }  # fmt: skip
        write_json(self.folder / "run.json", {**self._record, "result": result})

    @contextlib.contextmanager
    def guard_end(self) -> Iterator[None]:
        """Note in run.json how an invocation that raises came to its end."""
        try:
            yield
        except BaseException as error:
            code = error.exit_code if isinstance(error, PsiflowError) else BUG
            with contextlib.suppress(OSError):
                self.end(code, {"error": str(error)}, finished=False)
            raise

    def close(self) -> None:
        if hasattr(self, "journal"):
            self.journal.close()
        self._lock.release()

    def temporary(self, output: str) -> Path:
        """A name beside an output, for making it; always the same, so that what a kill left there is overwritten."""
        return temporary(Path(output), str(self.folder.absolute()))


def _is_environments(record: Record, line: bytes) -> bool:
    """Whether a unit is no failure of a frame or a walker, but of its environment."""
    if record["kind"] != "unit" or record.get("failure") != "crashed":
        return False
    if stopped := record.get("stopped"):
        return bool(environment_code(stopped["reason"]))
    value = whole_unit(line).get("value")
    return isinstance(value, dict) and bool(environment_code(str(value.get("message"))))


def temporary(final: Path, folder: str) -> Path:
    """Where the run in this folder (an absolute path) makes what becomes `final`."""
    return final.with_name(f".{final.name}.{fingerprint(folder)[:8]}.tmp")


def make_folder(folder: Path) -> None:
    """A 0700 folder, with its parents."""
    try:
        folder.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        folder.mkdir(mode=0o700, exist_ok=True)
    except OSError as error:
        raise CannotCreate(f"{folder}: {error.strerror}", "choose another --run-dir or --output") from None


def give_user_mode(path: Path) -> None:
    """The permissions the user's umask would have given: outputs are theirs, run directories are private."""
    for part in [path, *path.rglob("*")] if path.is_dir() else [path]:
        os.chmod(part, (0o777 if part.is_dir() else 0o666) & ~_USER_UMASK)


def _provider_type(site: Mapping[str, object]) -> str:
    provider = site.get("provider")
    return str(provider["type"]) if isinstance(provider, dict) else ""
