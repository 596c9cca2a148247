"""Fill a virtual environment: the running psiflow itself, what a model family needs, at versions tested together."""

from __future__ import annotations

import contextlib
import os
import re
import signal
import subprocess
import sys
import zipfile
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from psiflow_cli import protocols
from psiflow_cli.console import Progress, note
from psiflow_cli.errors import IO_ERROR, CannotCreate, UsageError
from psiflow_cli.site import environments
from psiflow_cli.site.environments import DISTRIBUTION
from psiflow_cli.stages.setup import trial
from psiflow_cli.worker.failures import missing_library
from psiflow_cli.worker.pool import temporary_folders

_LOSSES = {
    "3.10": "Python 3.10 has no torch-sim, so sample moves one walker at a time; use Python 3.12 or 3.13",
    "3.11": "Python 3.11 has torch-sim 0.3, which cannot compile MACE for GPUs; use Python 3.12 or 3.13",
}
"""What workers lose by an older Python."""


@dataclass(frozen=True)
class Recipe:
    python: str = sys.executable
    more: tuple[str, ...] = ()
    """Requirements to install too; they take the place of the pins of the same packages."""
    index: str = ""
    """Where pip looks for packages, too."""

    def check(self) -> None:
        """Raise UsageError unless the Python has the command's minor version."""
        code = "import sys; print('%d.%d' % sys.version_info[:2])"
        try:
            version = subprocess.run([self.python, "-I", "-c", code], capture_output=True, text=True, timeout=60).stdout
        except (OSError, subprocess.TimeoutExpired) as error:
            raise UsageError(f"--python: cannot run {self.python}: {error}", "give a Python interpreter") from None
        mine = environments.running()["python"]
        if version.strip() != mine:
            problem = f"--python: {self.python} is Python {version.strip() or '?'}, but the command runs on {mine}"
            raise UsageError(problem, "workers need the same minor version as the command")


def install(prefix: Path, family: protocols.Potential, recipe: Recipe, log: BinaryIO) -> list[str]:
    """Make the virtual environment and try it; returns which of the back ends' modules it has."""
    log.truncate(0)
    _run([recipe.python, "-I", "-m", "venv", str(prefix)], log, "python -m venv")
    python = str(prefix / "bin" / "python")
    (prefix / "constraints.txt").write_text(constraints(recipe.more))
    extra = family.EXTRA if isinstance(family, protocols.HasExtra) else family.__name__.rpartition(".")[2]
    with temporary_folders.temporary("psiflow") as folder:
        pip = [python, "-I", "-m", "pip", "install", "--no-input", "--disable-pip-version-check", "--progress-bar=off"]
        pip += [f"--extra-index-url={recipe.index}"] if recipe.index else []
        what = [*psiflow_itself(Path(folder), extra), *recipe.more]
        _run([*pip, "-c", str(prefix / "constraints.txt"), *what], log, "pip")
    modules = _tried(python, {*family.REQUIRES, "parsl", "psiflow_cli.worker.pool.call"})
    if loss := _LOSSES.get(environments.running()["python"]):
        note(loss)
    return modules


def _tried(python: str, needs: set[str]) -> list[str]:
    """The back ends' modules that this Python can import. Raises CannotCreate if one of `needs` is not."""
    importable = trial.modules(python)
    faults = trial.faults(python, sorted({*importable, *needs}))
    for name, reason in faults.items():
        package = missing_library(reason)
        hint = (
            f"on Debian and Ubuntu: apt install {package}" if package else f"check what pip has installed in {python}"
        )
        if name in needs:
            raise CannotCreate(f"trying it failed: {reason}", hint)
        note(f"{name} cannot be imported: {reason}; {hint}")
    return [name for name in importable if name not in faults]


def psiflow_itself(folder: Path, extra: str) -> list[str]:
    """What pip is to install as psiflow: the checkout in place, or a wheel of the installed files, made in `folder`.

    So that workers run the very code of the command, and no package of that name from any index.
    """
    if checkout := environments.checkout():
        return ["-e", f"{checkout}[{extra}]"]
    return [f"{repack(folder)}[{extra}]"]


def repack(folder: Path) -> Path:
    """A wheel made of the files of the installed psiflow."""
    from importlib.metadata import distribution

    installed = distribution(DISTRIBUTION)
    name = f"{DISTRIBUTION.replace('-', '_')}-{installed.version}"
    per_install = {"RECORD", "INSTALLER", "REQUESTED", "direct_url.json"}
    files = {
        str(file): file.locate()
        for file in installed.files or ()
        if file.parts[0] in ("psiflow_cli", f"{name}.dist-info")
        if "__pycache__" not in file.parts and file.name not in per_install
    }
    wheel = folder / f"{name}-py3-none-any.whl"
    with zipfile.ZipFile(wheel, "w", zipfile.ZIP_DEFLATED) as archive:
        for path, source in sorted(files.items()):
            archive.write(str(source), path)
        record = f"{name}.dist-info/RECORD"
        archive.writestr(record, "".join(f"{path},,\n" for path in [*sorted(files), record]))
    return wheel


def constraints(more: tuple[str, ...] = ()) -> str:
    """The pins that come with psiflow, but Parsl at the command's version, and none for the packages of `more`."""
    checkout = environments.checkout()
    shipped = checkout or Path(environments.__file__).parents[1] / "_shipped"
    free = {"parsl", *map(_package, more)}
    lines = (shipped / "constraints.txt").read_text().splitlines()
    pins = [line for line in lines if line.strip() and not line.startswith("#") and _package(line) not in free]
    return "\n".join([*pins, f"parsl=={environments.running()['parsl']}"]) + "\n"


def _package(requirement: str) -> str:
    """The normalised name at the start of a requirement."""
    match = re.match(r"[A-Za-z0-9._-]+", requirement.strip())
    return re.sub(r"[-_.]+", "-", match[0]).lower() if match else ""


def _run(argv: list[str], log: BinaryIO, step: str) -> None:
    """Run a program to its end with its output in the log; raises CannotCreate with the line that tells why not."""
    start = _size(log)
    process = subprocess.Popen(
        argv, stdin=subprocess.DEVNULL, stdout=log, stderr=subprocess.STDOUT, start_new_session=True
    )
    try:
        while process.poll() is None:
            try:
                process.wait(Progress.EVERY_S)
            except subprocess.TimeoutExpired:
                note(f"{step}: {_last(log, start)}")
    except BaseException:
        _end(process)
        raise
    if process.returncode:
        reason = _last(log, start, "ERROR: ", "Error: ")
        is_full = re.search(r"No space left on device|Disk quota exceeded", reason)
        raise CannotCreate(f"{step} failed: {reason}", f"complete output: {log.name}", IO_ERROR if is_full else None)


def _size(log: BinaryIO) -> int:
    return os.fstat(log.fileno()).st_size


def _last(log: BinaryIO, start: int, *telling: str) -> str:
    """The last line since `start` of the log, rather one that has one of these words and a cause."""
    lines = Path(log.name).read_bytes()[start:].decode(errors="replace").split("\n")
    lines = [line.strip() for line in lines if line.strip()] or ["(nothing said)"]
    causes = [line for line in lines if any(t in line for t in telling) and "ResolutionImpossible" not in line]
    return (causes or lines)[-1].removeprefix("ERROR: ")[:300]


def _end(process: subprocess.Popen[bytes]) -> None:
    """End a program with all that it has started."""
    for number in (signal.SIGTERM, signal.SIGKILL):
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, number)
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(5)
            return
