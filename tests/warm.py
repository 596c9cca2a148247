"""Commands that need not import what they use: a server imports it once and forks into a process for each of them.

Each is a process of its own, with its own folder, environment, streams and exit code; it begins in a hundredth of a
second instead of one or two. What is about a command's start, a signal to it or its memory starts `psiflow` itself.
"""

from __future__ import annotations

import atexit
import contextlib
import fcntl
import functools
import gc
import hashlib
import importlib
import json
import os
import runpy
import select
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from importlib.util import find_spec
from pathlib import Path
from types import SimpleNamespace

import psiflow_cli
from psiflow_cli.worker.pool import process_table

USUAL = ("ase.io.extxyz", "ase.calculators.emt", "parsl.app.python", "parsl.executors", "parsl.providers")
DRAWING = ("matplotlib.figure", "matplotlib.backends.backend_agg") if find_spec("matplotlib") else ()
OWN = ("extxyz", "runtime", "site", "stages")
"""What is imported for every command: packages, and folders of psiflow."""
NEQUIP = ("nequip.train", "nequip.data.datamodule", "nequip.scripts.package")
"""What the trainers of NequIP and Allegro import, less what looks for a configuration in the folder of the import."""
AT_START = ("PYTHON", "LC_", "LANG", "LD_", "OMP_", "MKL_", "OPENBLAS_")
"""Environment variables that Python and its libraries read only when they start."""


class Server:
    """Runs Python programs in processes in which `modules` are imported, for all processes of this test run."""

    def __init__(self, *modules: str) -> None:
        self.environment = dict(os.environ)
        # xdist's processes are the children of the one that ends last, and importing takes seconds of a processor
        owner = os.getppid() if "PYTEST_XDIST_WORKER" in os.environ else os.getpid()
        same = json.dumps([modules, sorted(_at_start(self.environment).items()), process_table.start_time(owner)])
        key = hashlib.sha256(same.encode()).hexdigest()[:8]
        folder = Path(tempfile.gettempdir(), f"psiflow-warm-{owner}-{key}")  # short, as a socket's path must be
        folder.mkdir(mode=0o700, exist_ok=True)
        self.path = str(folder / "socket")
        with (folder / "lock").open("w") as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            if not Path(self.path).exists():
                self._start(owner, *modules)

    def _start(self, owner: int, *modules: str) -> None:
        """Start a server that ends when the process `owner` does."""
        with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as listener:
            listener.bind(self.path)
            listener.listen(64)
            number = listener.fileno()
            command = [sys.executable, __file__, self.path, str(number), str(owner), *modules]
            self._process = subprocess.Popen(command, pass_fds=[number], cwd="/", stdin=subprocess.DEVNULL)

    def run(
        self, argv: Sequence[str], input: str = "", cwd: str | Path = "", env: Mapping[str, str] | None = None,
        umask: int = -1, timeout: float = 280,
    ) -> subprocess.CompletedProcess[str]:  # fmt: skip
        """As `subprocess.run` of the program `argv[0]` with its arguments, whose text output is captured."""
        from tests import warm_client

        env = dict(os.environ if env is None else env)
        if _at_start(env) != _at_start(self.environment):
            return subprocess.run(
                [sys.executable, *argv], input=input, cwd=cwd or None, env=env, umask=umask, timeout=timeout,
                capture_output=True, text=True,
            )  # fmt: skip
        (stdin, to_stdin), (from_stdout, stdout), (from_stderr, stderr) = os.pipe(), os.pipe(), os.pipe()
        with ThreadPoolExecutor(3) as pool:
            pool.submit(_write, to_stdin, input)
            out, err = pool.submit(_read, from_stdout), pool.submit(_read, from_stderr)
            streams = (stdin, stdout, stderr)
            try:
                code = warm_client.run(self.path, argv, streams, str(Path(cwd).absolute()), env, umask, timeout)
            finally:
                for descriptor in streams:
                    os.close(descriptor)
            return subprocess.CompletedProcess(argv, code, out.result(), err.result())

    def program(self, path: Path, script: str = "") -> str:
        """Make an executable that stands for this Python program, or for Python itself; returns its path."""
        words = (sys.executable, "-IS", Path(__file__).with_name("warm_client.py"), self.path, script)
        path.write_text("#!/bin/sh\nexec " + " ".join(f'"{word}"' for word in words if word) + ' "$@"\n')
        path.chmod(0o755)
        return str(path)


@functools.cache
def server(*modules: str) -> Server:
    """The one that has imported these, besides what all commands need."""
    return Server(*USUAL, *DRAWING, *modules)


@contextlib.contextmanager
def trainers(folder: Path, *modules: str) -> Iterator[None]:
    """Let trainers, which `train` of a model family starts, be processes that have these imported."""
    import pytest

    from psiflow_cli.worker.training import trainer_process

    with pytest.MonkeyPatch.context() as patch:
        python = server(*modules).program(folder / "python")
        patch.setattr(trainer_process, "sys", SimpleNamespace(executable=python))
        yield


def _at_start(env: Mapping[str, str]) -> dict[str, str]:
    return {name: value for name, value in env.items() if name.startswith(AT_START)}


def _write(descriptor: int, text: str) -> None:
    try:
        with open(descriptor, "w") as stream:
            stream.write(text)
    except BrokenPipeError:
        pass  # the command does not read all of it


def _read(descriptor: int) -> str:
    with open(descriptor) as stream:
        return stream.read()


def _serve(path: str, listener: socket.socket, owner: int, modules: Sequence[str]) -> list[str]:
    """Fork for each request; returns its command line in the process that is to run it, and ends in all others."""
    over = os.pidfd_open(owner)
    package = Path(psiflow_cli.__file__).parent
    own = (file.relative_to(package.parent).with_suffix("") for name in OWN for file in (package / name).rglob("*.py"))
    # runtime/debian is for the Python of Debian's Work Queue alone
    for module in (*modules, *(".".join(file.parts) for file in own if "debian" not in file.parts)):
        importlib.import_module(module)
    gc.freeze()
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # those that wait for a command leave nothing behind
    while True:
        if over in select.select([listener, over], [], [])[0]:
            shutil.rmtree(Path(path).parent)
            atexit._run_exitfuncs()
            os._exit(0)
        client = listener.accept()[0]
        if os.fork() == 0:
            break
        client.close()
    listener.close()
    os.close(over)
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    message, streams, *_ = socket.recv_fds(client, 1 << 20, 3)
    command = os.fork()
    if command:
        for descriptor in streams:
            os.close(descriptor)
        end = os.pidfd_open(command)
        while end not in select.select([end, client], [], [])[0]:
            os.kill(command, int(client.recv(32) or signal.SIGKILL))  # forwarded, or who asked for it has gone
        code = os.waitstatus_to_exitcode(os.waitpid(command, 0)[1])
        with contextlib.suppress(BrokenPipeError):  # who asked for it was killed
            client.send(str(code).encode())
        os._exit(0)
    client.close()
    for number, descriptor in enumerate(streams):
        os.dup2(descriptor, number)
        os.close(descriptor)
    return _become(**json.loads(message))


def _become(argv: list[str], cwd: str, env: dict[str, str], umask: int) -> list[str]:
    """Take the streams, the folder and the environment of a new process."""
    atexit._clear()  # what was imported wants to tidy up when the server ends
    sys.stdin, sys.stdout = os.fdopen(0, closefd=False), os.fdopen(1, "w", closefd=False)
    sys.stderr = os.fdopen(2, "w", buffering=1, errors="backslashreplace", closefd=False)
    os.chdir(cwd)
    if umask >= 0:
        os.umask(umask)
    os.environ.clear()
    os.environ.update(env)
    time.tzset()
    return argv


if __name__ == "__main__":
    sys.argv = _serve(sys.argv[1], socket.socket(fileno=int(sys.argv[2])), int(sys.argv[3]), sys.argv[4:])
    try:
        if sys.argv[0] == "-m":
            sys.path[0] = os.getcwd()
            sys.argv = sys.argv[1:]
            sys.modules.pop(sys.argv[0], None)  # runpy would warn of a module that the server has imported
            runpy.run_module(sys.argv[0], run_name="__main__", alter_sys=True)
        else:
            sys.path[0] = str(Path(sys.argv[0]).parent)
            runpy.run_path(sys.argv[0], run_name="__main__")
    except SystemExit as end:
        # Python's own end would touch, and so copy, all that was imported: as the processes of multiprocessing end
        threading._shutdown()  # type: ignore[attr-defined]
        atexit._run_exitfuncs()
        sys.stdout.flush()
        os._exit(end.code)  # type: ignore[arg-type]
