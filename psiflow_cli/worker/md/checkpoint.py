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
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any, BinaryIO

Wire = dict[str, Any]

STATE = "state.json"
LOCK_SECONDS = 30.0
"""How long to wait for another process that moves the same walkers; an orphaned worker ends sooner."""

_FREE = ("folder", "steps", "block", "batch", "model")


@dataclass(frozen=True)
class State:
    """A walker between two blocks; positions in Å, momenta in Å·sqrt(u·eV) as ASE has them, exact float64."""

    step: int
    positions: list[list[float]]
    momenta: list[list[float]]
    cell: list[list[float]] | None
    rng: Wire
    """State of the generator of the noise, as builtins."""
    more: Wire = field(default_factory=dict)
    """What else the engine needs to go on: its thermostat's and barostat's variables, as builtins."""
    stopped: Wire | None = None
    """Why the walker goes no further: {"reason", "kind", "step"}."""
    frames: int = 0
    """Number of frames recorded so far."""
    length: int = 0
    """Length of the trajectory file that holds them, in bytes."""


def fingerprint(job: Wire) -> str:
    """What two jobs must share to move the same walkers.

    All but where they live and how far they go; the model is the caller's to compare, by its contents and not its path.
    """
    fixed = {key: value for key, value in job.items() if key not in _FREE}
    return hashlib.sha256(_canonical(fixed)).hexdigest()[:16]


def trajectory(number: int) -> str:
    """What the trajectory of a walker is called in its group's folder."""
    return f"trajectory-{number:05d}.xyz"


def load(folder: Path, key: str) -> list[State] | None:
    """The last checkpoint, or None if there is none yet.

    Raises RuntimeError if it is damaged or belongs to another job: to go on from it could give wrong numbers.
    """
    path = folder / STATE
    try:
        body, _, digest = path.read_bytes().partition(b"\n")
    except FileNotFoundError:
        return None
    if digest.strip() != _digest(body):
        raise RuntimeError(f"{path}: damaged checkpoint; remove {folder} to start its walkers again")
    found = json.loads(body)
    if found["key"] != key:
        raise RuntimeError(
            f"{path}: checkpoint of a job with other settings; remove {folder} to start its walkers again"
        )
    return [State(**state) for state in found["walkers"]]


def save(folder: Path, key: str, states: Sequence[State]) -> None:
    """Replace the checkpoint; when this returns, the new one is on the disk."""
    body = _canonical({"key": key, "walkers": [asdict(state) for state in states]})
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


class Group:
    """The walkers of one job, held for this process: their states and their open trajectories."""

    def __init__(self, job: Wire) -> None:
        self.folder = Path(job["folder"])
        self.key = fingerprint(job)
        self.states = load(self.folder, self.key)
        """One for each walker of the job, in its order; None before the first checkpoint."""
        self._names = [trajectory(each["walker"]) for each in job["walkers"]]
        self._counts = [state.frames for state in self.states] if self.states else [0] * len(self._names)
        self._files: list[BinaryIO] = []

    def open(self) -> None:
        """Open the trajectories, and cut off what the checkpoint does not count."""
        for index, name in enumerate(self._names):
            length = self.states[index].length if self.states else 0
            file = os.fdopen(os.open(self.folder / name, os.O_RDWR | os.O_CREAT, 0o600), "r+b")
            self._files.append(file)
            if os.fstat(file.fileno()).st_size < length:
                said = f"{self.folder / name}: shorter than its checkpoint says"
                raise RuntimeError(f"{said}; remove {self.folder} to start its walkers again")
            file.truncate(length)
            file.seek(length)

    def append(self, index: int, text: str) -> None:
        """Add one frame to the trajectory of a walker; it counts only once a checkpoint counts it."""
        self._files[index].write(text.encode())
        self._counts[index] += 1

    def commit(self, states: Sequence[State]) -> None:
        """Bring the appended frames to the disk, then the checkpoint that counts them."""
        counted = []
        for state, file, count in zip(states, self._files, self._counts, strict=True):
            file.flush()
            os.fsync(file.fileno())
            counted.append(replace(state, frames=count, length=file.tell()))
        save(self.folder, self.key, counted)
        self.states = counted

    def unfinished(self, steps: int) -> bool:
        """Whether a walker has still to move."""
        if self.states is None:
            return steps > 0
        return any(state.stopped is None and state.step < steps for state in self.states)

    def report(self) -> list[Wire]:
        """Of each walker, what the command wants to know: {"step", "frames", "bytes", "stopped"}."""
        none = [{"step": 0, "frames": 0, "bytes": 0, "stopped": None} for _ in self._names]
        return (
            none
            if self.states is None
            else [{"step": s.step, "frames": s.frames, "bytes": s.length, "stopped": s.stopped} for s in self.states]
        )

    def close(self) -> None:
        """Close the files; what no checkpoint counts is cut off next time."""
        for file in self._files:
            with suppress(OSError):
                file.close()


@contextmanager
def group(job: Wire) -> Iterator[Group]:
    """Make the folder of a job, keep other processes out of it, and load what is there."""
    with hold(Path(job["folder"])):
        found = Group(job)
        try:
            yield found
        finally:
            found.close()


@contextmanager
def hold(folder: Path) -> Iterator[None]:
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


def _canonical(value: Any) -> bytes:
    return json.dumps(value, sort_keys=True, separators=(",", ":")).encode()


def _digest(body: bytes) -> bytes:
    return hashlib.sha256(body).hexdigest().encode()
