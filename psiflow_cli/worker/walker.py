"""A walker's folder: one checkpoint that is authoritative, and a trajectory that is cut to what the checkpoint says.

Killed at any moment, a walker goes on from its last checkpoint: `state.json` is replaced whole, after the trajectory
that it counts has reached the disk, and whatever was appended later is cut off before the next block.
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, BinaryIO

Wire = dict[str, Any]

STATE = "state.json"
TRAJECTORY = "trajectory.xyz"
LOCK_SECONDS = 30.0
"""How long to wait for another process that moves the same walker; an orphaned worker ends sooner."""

_FREE = ("folder", "steps", "block", "model")


@dataclass(frozen=True)
class State:
    """A walker between two blocks; positions in Å, momenta in Å·sqrt(u·eV) as ASE has them, exact float64."""

    key: str
    """`fingerprint` of the job that made it."""
    step: int
    frames: int
    """Number of frames recorded so far."""
    length: int
    """Length of the trajectory file that holds them, in bytes."""
    positions: list[list[float]]
    momenta: list[list[float]]
    cell: list[list[float]] | None
    rng: Wire
    """State of the generator of the noise, as builtins."""
    stopped: Wire | None = None
    """Why the walker goes no further: {"reason", "kind", "step"}."""


def fingerprint(job: Wire) -> str:
    """What two jobs must share to move the same walker.

    All but where it lives and how far it goes; the model is the caller's to compare, by its contents and not its path.
    """
    fixed = {key: value for key, value in job.items() if key not in _FREE}
    return hashlib.sha256(_canonical(fixed)).hexdigest()[:16]


def load(folder: Path, key: str) -> State | None:
    """The last checkpoint, or None if there is none yet.

    Raises RuntimeError if it is damaged or belongs to another job: to go on from it could give wrong numbers.
    """
    path = folder / STATE
    try:
        body, _, digest = path.read_bytes().partition(b"\n")
    except FileNotFoundError:
        return None
    if digest.strip() != _digest(body):
        raise RuntimeError(f"{path}: damaged checkpoint; remove {folder} to start this walker again")
    state = State(**json.loads(body))
    if state.key != key:
        raise RuntimeError(
            f"{path}: checkpoint of a job with other settings; remove {folder} to start this walker again"
        )
    return state


def save(folder: Path, state: State) -> None:
    """Replace the checkpoint; when this returns, the new one is on the disk."""
    body = _canonical(asdict(state))
    temporary = folder / (STATE + ".tmp")
    with os.fdopen(os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "wb") as file:
        file.write(body + b"\n" + _digest(body) + b"\n")
        file.flush()
        os.fsync(file.fileno())
    temporary.replace(folder / STATE)
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)  # the rename itself
    finally:
        os.close(descriptor)


class Trajectory:
    """The trajectory file of a walker, open for appending after its first `length` bytes."""

    def __init__(self, folder: Path, length: int, frames: int) -> None:
        path = folder / TRAJECTORY
        self._file: BinaryIO = os.fdopen(os.open(path, os.O_RDWR | os.O_CREAT, 0o600), "r+b")
        if os.fstat(self._file.fileno()).st_size < length:
            self._file.close()
            raise RuntimeError(f"{path}: shorter than its checkpoint says; remove {folder} to start this walker again")
        self._file.truncate(length)
        self._file.seek(length)
        self.frames = frames

    def append(self, text: str) -> None:
        """Add one frame; it counts only once a checkpoint counts it."""
        self._file.write(text.encode())
        self.frames += 1

    def commit(self, folder: Path, state: State) -> State:
        """Bring the appended frames to the disk, then the checkpoint that counts them."""
        self._file.flush()
        os.fsync(self._file.fileno())
        counted = replace(state, frames=self.frames, length=self._file.tell())
        save(folder, counted)
        return counted

    def close(self) -> None:
        """Close the file; what no checkpoint counts is cut off next time."""
        with suppress(OSError):
            self._file.close()


@contextmanager
def hold(folder: Path) -> Iterator[None]:
    """Make the folder, and keep other processes on this walker out of it.

    Where the file system has no locks there is no such protection. Raises RuntimeError after `LOCK_SECONDS`.
    """
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    with os.fdopen(os.open(folder / "lock", os.O_RDWR | os.O_CREAT, 0o600), "r+b") as file:
        limit = time.monotonic() + LOCK_SECONDS
        while True:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                if time.monotonic() > limit:
                    raise RuntimeError(f"{folder}: another process moves this walker") from None
                time.sleep(0.05)
            except OSError:
                break
            else:
                break
        yield


def _canonical(value: Any) -> bytes:
    return json.dumps(value, sort_keys=True, separators=(",", ":")).encode()


def _digest(body: bytes) -> bytes:
    return hashlib.sha256(body).hexdigest().encode()
