"""One answer of a batch system for all commands of a user on a host: a file with a lock, and no daemon.

A queue that every command asks for itself is slow for everybody, and administrators write letters about it.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import shutil
import stat
import subprocess
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import msgspec

from psiflow_cli import atomic_file
from psiflow_cli.runtime.request import fingerprint

_GRACE_S = 5.0
_CLUSTER = ("SLURM_CONF", "SLURM_CLUSTERS")
"""Variables that tell one cluster from another."""


@dataclass(frozen=True)
class Answer:
    asked: float  # when the question was put (seconds since 1970): what happened later is not in the answer
    exit_code: int
    text: str
    complaint: str = ""


class SharedAnswer:
    """What a command prints, run by one process of this user at a time and at most once in `every_s` seconds."""

    def __init__(self, argv: list[str], environment: Mapping[str, str], every_s: float, timeout_s: float) -> None:
        self._argv, self._environment = argv, dict(environment)
        self._every_s, self._timeout_s = every_s, timeout_s
        program = os.path.realpath(shutil.which(argv[0], path=environment.get("PATH")) or argv[0])
        cluster = {name: environment.get(name) for name in _CLUSTER}
        folder = _folder()
        self._path = folder / f"{fingerprint([program, argv, cluster])}.json" if folder else None
        self._begun = time.time()
        self._stamp: tuple[int, int] | None = None
        self._answer: Answer | None = None

    def newest(self) -> Answer | None:
        """The newest answer there is, asked for now if it is time to; None before the first one has come.

        While another command asks, this one goes on with what it knows, unless that takes too long: a process that was
        stopped may hold the lock for ever.
        """
        self._read()
        if self._is_fresh():
            return self._answer
        if self._path is None:
            self._answer = self._ask()
            return self._answer
        with _lock(self._path.with_suffix(".lock")) as is_mine:
            if is_mine:
                self._read()  # another command may just have asked
                if not self._is_fresh():
                    self._answer = self._ask()
                    self._write(self._path, self._answer)
            elif time.time() - self._known_since() > self._every_s + self._timeout_s + _GRACE_S:
                self._answer = self._ask()
        return self._answer

    def _is_fresh(self) -> bool:
        """Whether there is an answer of the last seconds; one from the future is of a clock that was wrong."""
        return self._answer is not None and 0 <= time.time() - self._answer.asked < self._every_s

    def _known_since(self) -> float:
        return max(self._begun, self._answer.asked if self._answer else 0.0)

    def _ask(self) -> Answer:
        now = time.time()
        try:
            done = subprocess.run(
                self._argv, capture_output=True, text=True, errors="replace", timeout=self._timeout_s, check=False,
                env=self._environment, stdin=subprocess.DEVNULL,
            )  # fmt: skip
        except subprocess.TimeoutExpired:
            return Answer(now, -1, "", f"{self._argv[0]}: no answer within {self._timeout_s:g} s")
        except OSError as error:
            return Answer(now, -1, "", f"{self._argv[0]}: {error.strerror}")
        return Answer(now, done.returncode, done.stdout, done.stderr.strip())

    def _read(self) -> None:
        """Take the answer of the file, if it is newer and this user's own."""
        if self._path is None:
            return
        try:
            with open(os.open(self._path, os.O_RDONLY | os.O_NOFOLLOW), "rb") as stream:
                facts = os.fstat(stream.fileno())
                stamp = (facts.st_ino, facts.st_mtime_ns)
                if stamp == self._stamp or not _is_private(facts):
                    return
                answer = msgspec.json.decode(stream.read(), type=Answer)
        except (OSError, ValueError, msgspec.MsgspecError):
            return
        self._stamp = stamp
        if self._answer is None or answer.asked > self._answer.asked:
            self._answer = answer

    @staticmethod
    def _write(path: Path, answer: Answer) -> None:
        with contextlib.suppress(OSError):  # then every command asks for itself
            atomic_file.write(path, msgspec.json.encode(answer))


@contextlib.contextmanager
def _lock(path: Path) -> Iterator[bool]:
    """Whether this process may ask; the lock of a process that has ended is free again by itself."""
    try:
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW, 0o600)
    except OSError:
        yield True
        return
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            yield False
            return
        except OSError:  # a file system without locks
            pass
        yield True
    finally:
        os.close(descriptor)


def _folder() -> Path | None:
    """A folder of this user's on this host that nobody else can write to; None if there is none."""
    user = os.getuid()
    runtime = os.environ.get("XDG_RUNTIME_DIR") or f"/run/user/{user}"
    for parent, name in ((runtime, "psiflow"), ("/tmp", f"psiflow-{user}")):
        folder = Path(parent, name)
        try:
            folder.mkdir(mode=0o700, exist_ok=True)
            facts = folder.lstat()
        except OSError:
            continue
        if stat.S_ISDIR(facts.st_mode) and _is_private(facts):
            return folder
    return None


def _is_private(facts: os.stat_result) -> bool:
    return facts.st_uid == os.getuid() and not facts.st_mode & (stat.S_IWGRP | stat.S_IWOTH)
