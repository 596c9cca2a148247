"""Which exceptions end the run: those of the environment, whatever they are wrapped in, and no others."""

from __future__ import annotations

import ctypes
import errno
import importlib
import math
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import NoReturn

import pytest

from psiflow_cli.errors import BAD_CONFIG, NO_RESOURCES
from psiflow_cli.worker import failures
from psiflow_cli.worker.environment_faults import environment_fault
from psiflow_cli.worker.models import predictions
from psiflow_cli.worker.pool import call
from psiflow_cli.worker.process import launcher

ABSENT = "no_such"


def missing() -> None:
    importlib.import_module("no_such_package")


def wrapped() -> NoReturn:
    try:
        missing()
    except ImportError as error:
        raise RuntimeError("tblite C extension needed") from error


def wrapped_without_a_word() -> NoReturn:
    try:
        missing()
    except ImportError:
        raise RuntimeError("a plugin is needed")  # noqa: B904


def _compute() -> NoReturn:
    raise ValueError("a bad frame")


def done_without() -> None:
    try:
        missing()
    except ImportError:
        _compute()


def refused() -> NoReturn:
    raise PermissionError(errno.EACCES, "Permission denied", "output.xml")


def full() -> None:
    with Path("/dev/full").open("w") as stream:
        stream.write("x" * 100_000)


def says(text: str) -> Callable[[], NoReturn]:
    def act() -> NoReturn:
        raise RuntimeError(text)

    return act


ENVIRONMENT = {
    "a package": (missing, BAD_CONFIG, "No module named 'no_such_package'"),
    "a package, as another exception": (wrapped, BAD_CONFIG, "No module named 'no_such_package'"),
    "a package, as another without a cause": (wrapped_without_a_word, BAD_CONFIG, "No module named 'no_such_package'"),
    "a library": (lambda: ctypes.CDLL("libnosuch.so.1"), BAD_CONFIG, "libnosuch.so.1"),
    "a program": (lambda: subprocess.run(["no-such-program"]), BAD_CONFIG, "no-such-program"),
    "a program of a shell": (lambda: subprocess.run("exit 127", shell=True, check=True), BAD_CONFIG, "127"),
    "a part of another version": (lambda: getattr(math, ABSENT), BAD_CONFIG, "has no attribute 'no_such'"),
    "a GPU": (says("Found no NVIDIA driver on your system"), BAD_CONFIG, "NVIDIA driver"),
    "a licence": (says("could not connect to the license server"), NO_RESOURCES, "license server"),
    "room": (full, NO_RESOURCES, "No space left on device"),
}  # fmt: skip
FRAMES = {
    "in place of a package": done_without,
    "a file that a program should have left": lambda: Path("no-such-file").read_text(),
    "a file that may not be read": refused,
    "memory": says("CUDA out of memory: no CUDA GPUs are available to the rest"),
    "a licence in passing": says("published under the GNU license"),
    "an exit code": lambda: subprocess.run("exit 12", shell=True, check=True),
    "an attribute of an object": lambda: getattr(object(), ABSENT),
}


def raised(act: Callable[[], object]) -> Exception:
    with pytest.raises(Exception) as caught:  # noqa: PT011
        act()
    return caught.value


@pytest.mark.parametrize("case", ENVIRONMENT)
def test_the_environments(case: str) -> None:
    act, code, words = ENVIRONMENT[case]
    fault = environment_fault(raised(act))
    assert fault is not None
    assert (fault.exit_code, words in fault.message) == (code, True)
    assert fault.message.startswith(f"{sys.executable} on host ")
    assert "\n" not in fault.message
    with pytest.raises(failures.Fatal, match="on host"):
        predictions.crashed(raised(act))


@pytest.mark.parametrize("case", FRAMES)
def test_the_frames(case: str) -> None:
    assert environment_fault(raised(FRAMES[case])) is None
    assert predictions.crashed(raised(FRAMES[case]))["failure"] in ("crashed", "out-of-memory")


@pytest.mark.parametrize("text", ["{}['a']", "print 'of Python 2'", "raise SystemExit('no')", "import no_such_package"])
def test_what_happens_during_an_import_is_no_frames_fault(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, text: str
) -> None:
    (tmp_path / "of_another_python.py").write_text(f"\n{text}\n")
    monkeypatch.syspath_prepend(tmp_path)
    outcome = call.call("of_another_python:label", {})
    assert outcome["exit_code"] == BAD_CONFIG
    assert "of_another_python" in outcome["fatal"] or "no_such_package" in outcome["fatal"]


@pytest.mark.parametrize(
    ("message", "code"),
    [
        ("ImportError: tblite C extension unimportable, cannot use C-API", BAD_CONFIG),
        ("x: /lib/libc.so.6: version `GLIBC_2.38' not found (required by x)", BAD_CONFIG),
        ('FileNotFoundError: Could not find required PAW dataset file "H.LDA".', BAD_CONFIG),
        ("[Errno 122] Disk quota exceeded", NO_RESOURCES),
        ("No valid license found", NO_RESOURCES),
        ("Code ended early (ended by signal 11)", 0),
        ("the sums are wrong (exit code 12)", 0),
        ("out of memory: cannot open shared object file", 0),
    ],
)
def test_a_crash_by_its_message(message: str, code: int) -> None:
    """As programs and users' own references report it."""
    assert failures.environment_code(message) == code
    if not code:
        assert failures.failure("crashed", message)["failure"] == "crashed"
        return
    with pytest.raises(failures.Fatal) as caught:
        failures.failure("crashed", message)
    assert caught.value.exit_code == code
    assert failures.failure("inconsistent", message)["failure"] == "inconsistent"


@pytest.mark.parametrize("shell", ["env {}", "nice {}", "timeout 9 {}", "sh -c 'exec {}'", "mpirun -np 1 {}"])
def test_a_program_that_never_started(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, shell: str) -> None:
    monkeypatch.chdir(tmp_path)
    env = {**launcher.environment({}), "PATH": "/usr/bin:/bin"}  # type: ignore[typeddict-item]
    done = subprocess.run(shell.format("no-such-program"), shell=True, capture_output=True, text=True, env=env)
    assert launcher.never_started(done.returncode, done.stdout + done.stderr)
    assert not launcher.never_started(2, "the sums are wrong")
