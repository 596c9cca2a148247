"""What every stage opens first: the run directory with its lock, the inputs as extended XYZ, the output's place."""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING

from psiflow_cli import extxyz, formats
from psiflow_cli.console import Progress
from psiflow_cli.errors import CannotCreate, NoInput
from psiflow_cli.runtime import request, rundir
from psiflow_cli.runtime.session import Session
from psiflow_cli.site import environments
from psiflow_cli.site.executor import ResolvedExecutor
from psiflow_cli.stages.core import foreign
from psiflow_cli.worker.pool import temporary_folders

if TYPE_CHECKING:
    from typing_extensions import Self

    from psiflow_cli.messages import Context


@dataclass(frozen=True)
class Job:
    command: str
    frames: tuple[str, ...]
    output: str  # a path, or `-`
    settings: Mapping[str, object]  # all that decides the result besides the inputs
    other_inputs: tuple[str, ...] = ()
    other_outputs: tuple[str, ...] = ()
    more_settings: Mapping[str, object] = field(default_factory=dict)
    """What decides other outputs only: the same run directory serves, whatever they are."""
    run_dir: str | None = None
    force: bool = False  # there is work although an equal invocation has finished
    executor: ResolvedExecutor | None = None  # where tasks run; None for a stage that needs no worker
    requires: Mapping[str, str] = field(default_factory=dict)
    """The modules that workers need for any task, each with what needs it."""
    options_require: Mapping[str, str] = field(default_factory=dict)
    """Those that an option needs."""
    overwrite: bool = False
    deadline: float | None = None
    site: Mapping[str, object] = field(default_factory=dict)

    @property
    def dtype(self) -> str:
        """The precision that the site asks of models, or `native`: their own."""
        return (self.executor.context["dtype"] if self.executor else None) or "native"

    @property
    def folder(self) -> Path:
        if self.run_dir:
            return Path(self.run_dir)
        if self.output != "-":
            return Path(self.output + ".run")
        named = [os.path.abspath(f) for f in (*self.frames, *self.other_inputs) if f != "-"]
        return Path(".psiflow") / f"{self.command}-{request.fingerprint([self.settings, named])}"


class Workspace:
    """Context manager: a locked run directory and readable inputs."""

    def __init__(self, job: Job) -> None:
        self.job = job
        self._converted = temporary_folders.temporary("psiflow")
        self._as_texts: dict[str, Path] = {}  # files of other formats as extended XYZ
        self._is_new = not job.folder.exists()
        self.sources: list[tuple[str, Path]] = []
        """(name as the user wrote it, extended XYZ file) of each input."""

    def __enter__(self) -> Self:
        self._umask = os.umask(rundir.PRIVATE)
        try:
            self._open(self.job)
        except BaseException:
            self.close()
            raise
        return self

    def _open(self, job: Job) -> None:
        for name in (*job.frames, *job.other_inputs):
            if name != "-":
                _readable(name)
        inputs = [*job.frames, *job.other_inputs]
        outputs = [o for o in (job.output, *job.other_outputs) if o != "-"]
        request.check_outputs(outputs, [i for i in inputs if i != "-"])
        for output in outputs:
            if formats.is_file(output) and os.path.isdir(output):
                raise CannotCreate(f"{output}: is a directory", "choose another --output")
        spooled = {"-": str(job.folder / "stdin.xyz")} if "-" in inputs else {}
        cache = job.executor is None or job.executor.run.cache
        settings = {**job.settings, **job.more_settings}
        wanted = request.Request(job.command, settings, inputs, outputs, job.overwrite, spooled, cache)
        self.run = rundir.Run(job.folder, wanted, job.site)
        for name in job.frames:
            self.sources.append((name, self._as_text(name)))
        for output in outputs:
            foreign.check(output, self.frames(), job.executor)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Let go of the run; a run directory in which nothing began is removed again."""
        if hasattr(self, "run"):
            self.run.close()
        os.umask(self._umask)
        self._converted.cleanup()
        if self._is_new and not (self.job.folder / "run.json").exists():
            shutil.rmtree(self.job.folder, ignore_errors=True)

    def _as_text(self, name: str) -> Path:
        if name == "-":
            return _spool(self.job.folder / "stdin.xyz")
        if formats.is_text(name):
            return Path(name)
        if name not in self._as_texts:
            path = Path(self._converted.name) / f"{len(self._as_texts)}.xyz"
            self._as_texts[name] = foreign.as_text(name, path, self.job.executor)
        return self._as_texts[name]

    def frames(self) -> Iterator[extxyz.Frame]:
        for number in range(len(self.sources)):
            yield from self.frames_of(number)

    def frames_of(self, number: int) -> Iterator[extxyz.Frame]:
        name, path = self.sources[number]
        yield from extxyz.read(path, name="<stdin>" if name == "-" else name)

    def read(self, name: str) -> Iterator[extxyz.Frame]:
        """The frames of a file that is no input of the job, in whatever format."""
        yield from extxyz.read(self._as_text(name), name=name)

    @property
    def output(self) -> Path:
        """Where the result is made: the output, or a file of the run directory for stdout."""
        return self.job.folder / "output.xyz" if self.job.output == "-" else Path(self.job.output)

    def check_environment(self, *, tasks: bool) -> None:
        """Raise BadConfig where workers lack a module that an option needs, or also one that `tasks` need."""
        requires = {**(self.job.requires if tasks else {}), **self.job.options_require}
        if requires:
            environments.require(self.executor, requires)

    def session(self, tick: Callable[[], None] | None = None, executor: ResolvedExecutor | None = None) -> Session:
        """A Parsl session for this job's executor, or for another. Raises BadConfig where workers lack a module."""
        environments.require(executor or self.executor, self.job.requires)
        return Session(executor or self.executor, self.job.folder, self.job.deadline, tick)

    def watched_session(self, progress: Progress, executor: ResolvedExecutor | None = None) -> Session:
        """A session that shows on a progress line why nothing gets on as long as it waits for the queue."""

        def tick() -> None:
            progress.details = session.waits()
            progress.is_waiting = bool(progress.details)
            progress.tick()

        session = self.session(tick, executor)
        return session

    def context(self, executor: ResolvedExecutor | None = None) -> Context:
        logs = self.job.folder / "logs"
        logs.mkdir(mode=0o700, exist_ok=True)
        return {**(executor or self.executor).context, "logs": str(logs.absolute())}

    @property
    def executor(self) -> ResolvedExecutor:
        if self.job.executor is None:
            raise RuntimeError(f"{self.job.command} has no executor")
        return self.job.executor

    def publish(self, texts: Iterable[str], output: str = "") -> int:
        """Write frames in the format of the output's name (or another's), and put them in its place.

        Returns how many there were.
        """
        final = output or str(self.output)
        temporary = self.run.temporary(final)
        try:
            if kind := formats.of_ase(final):
                count = self._write_foreign(texts, kind, temporary, final)
            else:
                count = extxyz.write(temporary, texts, packed=Path(final).suffix.lower())
            self.run.publish(temporary, final)
        finally:
            temporary.unlink(missing_ok=True)
        return count

    def _write_foreign(self, texts: Iterable[str], kind: str, temporary: Path, final: str) -> int:
        source, converted = self.job.folder / "trajectory.xyz", self.job.folder / f"made-{Path(final).name}"
        losses = foreign.Losses(kind)
        try:
            count = extxyz.write(source, losses.watch(texts))
            foreign.rewrite(source, kind, converted, self.job.executor, final)
            shutil.copyfile(converted, temporary)
        finally:
            source.unlink(missing_ok=True)
            converted.unlink(missing_ok=True)
        losses.note(final)
        return count

    def copy_to_stdout(self) -> bool:
        """Copy the result to stdout, if that is where it goes; returns whether it does."""
        if self.job.output != "-":
            return False
        sys.stdout.flush()
        with self.output.open("rb") as stream:
            shutil.copyfileobj(stream, sys.stdout.buffer)
        sys.stdout.buffer.flush()
        return True


def _readable(name: str) -> None:
    """Raise NoInput unless this can be read: before anything is submitted."""
    if not os.path.exists(name):
        raise NoInput(f"{name}: no such file", "check its name and the working directory")
    if not os.access(name, os.R_OK):
        raise NoInput(f"{name}: no permission to read it", "make it readable with chmod u+r")


def _spool(path: Path) -> Path:
    """Store stdin, so that an interrupted pipe can go on."""
    temporary = path.with_suffix(".part")
    with temporary.open("wb") as stream:
        shutil.copyfileobj(sys.stdin.buffer, stream)
    os.replace(temporary, path)
    return path
