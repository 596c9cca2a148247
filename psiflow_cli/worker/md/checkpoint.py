"""The folder of walkers that move together: one checkpoint that is authoritative, and the trajectory of each.

Killed at any moment, all of them go on from the last checkpoint: `state.json` is replaced whole, after the trajectories
that it counts have reached the disk, and whatever was appended later is cut off before the next block.
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

from psiflow_cli import atomic_file

if TYPE_CHECKING:
    from psiflow_cli.messages import MDJob, Stop, Vectors, WalkerReport

STATE = "state.json"
LOCK_SECONDS = 30.0
"""How long to wait for another process that moves the same walkers; an orphaned worker ends sooner."""

_FREE = ("folder", "steps", "block", "batch", "model", "shared_bias")


@dataclass(frozen=True)
class WalkerState:
    """A walker between two blocks; positions in Å, momenta in Å·sqrt(u·eV) as ASE has them, exact float64."""

    step: int
    positions: Vectors
    momenta: Vectors
    cell: Vectors | None
    rng: dict[str, object]  # state of the generator of the noise, as builtins
    more: dict[str, Any] = field(default_factory=dict)
    """What else the engine needs to go on: its thermostat's and barostat's variables, as builtins."""
    stopped: Stop | None = None
    frames: int = 0  # number of frames recorded so far
    length: int = 0  # length of the trajectory file that holds them, in bytes


@dataclass(frozen=True)
class Checkpoint:
    """The walkers of a group between two blocks, in the order of their job."""

    key: str  # see `job_key`
    walkers: Sequence[WalkerState]


def job_key(job: MDJob) -> str:
    """What two jobs must share to move the same walkers.

    All but where they live and how far they go; the model is the caller's to compare, by its contents and not its path.
    """
    return hashlib.sha256(_canonical({key: value for key, value in job.items() if key not in _FREE})).hexdigest()[:16]


def trajectory_name(number: int) -> str:
    """What the trajectory of a walker is called in its group's folder."""
    return f"trajectory-{number:05d}.xyz"


def plumed_folder(folder: Path, number: int) -> Path:
    """Where PLUMED's files of a walker are, in its group's folder."""
    return folder / f"plumed-{number:05d}"


def read(folder: Path) -> Checkpoint | None:
    """The last checkpoint, or None if there is none yet. Raises RuntimeError if it is damaged."""
    path = folder / STATE
    try:
        body, _, digest = path.read_bytes().partition(b"\n")
    except FileNotFoundError:
        return None
    if digest.strip() != _digest(body):
        raise RuntimeError(f"{path}: damaged checkpoint; remove {folder} to start its walkers again")
    content = json.loads(body)
    return Checkpoint(content["key"], [WalkerState(**state) for state in content["walkers"]])


def write(folder: Path, checkpoint: Checkpoint) -> None:
    """Replace the checkpoint; when this returns, the new one is on the disk."""
    body = _canonical({"key": checkpoint.key, "walkers": [vars(state) for state in checkpoint.walkers]})
    atomic_file.write(folder / STATE, body + b"\n" + _digest(body) + b"\n")


class WalkerGroup:
    """The walkers of one job, held for this process: their states and their open trajectories.

    Raises RuntimeError where the checkpoint belongs to another job: to go on from it could give wrong numbers.
    """

    def __init__(self, job: MDJob) -> None:
        self.folder = Path(job["folder"])
        self.key = job_key(job)
        checkpoint = read(self.folder)
        if checkpoint and checkpoint.key != self.key:
            raise RuntimeError(
                f"{self.folder / STATE}: this checkpoint belongs to a job with other settings; "
                f"remove {self.folder} to start its walkers again"
            )
        self.states = checkpoint.walkers if checkpoint else None
        """One for each walker of the job, in its order; None before the first checkpoint."""
        self._names = [trajectory_name(walker["walker"]) for walker in job["walkers"]]
        self._counts = [state.frames for state in self.states] if self.states else [0] * len(self._names)
        self._files: list[BinaryIO] = []

    def open(self) -> None:
        """Open the trajectories, and cut off what the checkpoint does not count."""
        for index, name in enumerate(self._names):
            length = self.states[index].length if self.states else 0
            file = os.fdopen(os.open(self.folder / name, os.O_RDWR | os.O_CREAT, 0o600), "r+b")
            self._files.append(file)
            if os.fstat(file.fileno()).st_size < length:
                problem = f"{self.folder / name}: shorter than its checkpoint states"
                raise RuntimeError(f"{problem}; remove {self.folder} to start its walkers again")
            file.truncate(length)
            file.seek(length)

    def append(self, index: int, text: str) -> None:
        """Add one frame to the trajectory of a walker; it counts only once a checkpoint counts it."""
        self._files[index].write(text.encode())
        self._counts[index] += 1

    def commit(self, states: Sequence[WalkerState]) -> None:
        """Bring the appended frames to the disk, then the checkpoint that counts them."""
        counted = []
        for state, file, count in zip(states, self._files, self._counts, strict=True):
            file.flush()
            os.fsync(file.fileno())
            counted.append(replace(state, frames=count, length=file.tell()))
        write(self.folder, Checkpoint(self.key, counted))
        self.states = counted

    def unfinished(self, steps: int) -> bool:
        """Whether a walker has still to move."""
        if self.states is None:
            return steps > 0
        return any(state.stopped is None and state.step < steps for state in self.states)

    def report(self) -> list[WalkerReport]:
        """How far each walker is."""
        if self.states is None:
            return [{"step": 0, "frames": 0, "bytes": 0, "stopped": None} for _ in self._names]
        return [{"step": s.step, "frames": s.frames, "bytes": s.length, "stopped": s.stopped} for s in self.states]

    def close(self) -> None:
        """Close the files; what no checkpoint counts is cut off next time."""
        for file in self._files:
            with suppress(OSError):
                file.close()


@contextmanager
def open_group(job: MDJob) -> Iterator[WalkerGroup]:
    """Make the folder of a job, keep other processes out of it, and load what is there."""
    with lock(Path(job["folder"])):
        group = WalkerGroup(job)
        try:
            yield group
        finally:
            group.close()


@contextmanager
def lock(folder: Path) -> Iterator[None]:
    """Make the folder, and keep other processes on these walkers out of it.

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
                    raise RuntimeError(f"{folder}: another process moves these walkers") from None
                time.sleep(0.05)
            except OSError:
                break
            else:
                break
        yield


def _canonical(content: object) -> bytes:
    return json.dumps(content, sort_keys=True, separators=(",", ":")).encode()


def _digest(body: bytes) -> bytes:
    return hashlib.sha256(body).hexdigest().encode()
