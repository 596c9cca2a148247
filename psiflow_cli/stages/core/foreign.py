"""Frames in the formats of other programs, read and written by ASE in a process of its own: ASE is slow to import."""

from __future__ import annotations

import importlib.util
import os
import subprocess
import sys
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from psiflow_cli import extxyz, formats
from psiflow_cli.console import note
from psiflow_cli.errors import BAD_CONFIG, BadConfig, BadData, UsageError, counted
from psiflow_cli.extxyz import comment
from psiflow_cli.extxyz.stream import zstandard
from psiflow_cli.runtime import container
from psiflow_cli.site.executor import ResolvedExecutor
from psiflow_cli.worker.formats import convert

_STRUCTURE = ("Lattice", "Properties", "pbc", "species", "pos", "psiflow_id")
_NEEDS_CELL = ("cif", "vasp", "vasp-xdatcar")
_SAME_ATOMS = ("proteindatabank", "vasp-xdatcar")


def as_text(name: str, path: Path, executor: ResolvedExecutor | None) -> Path:
    """Write a file in any other format that ASE reads to `path` as extended XYZ; says what was not carried."""
    folders = [Path(name).absolute().parent, Path(convert.__file__).parents[2]]
    with path.open("wb") as stream:
        command = [*_python(executor, folders), convert.__file__, os.path.abspath(name)]
        done = subprocess.run(command, stdout=stream, stderr=subprocess.PIPE)
    lines = done.stderr.decode(errors="replace").replace(os.path.abspath(name), name).strip().splitlines()
    if done.returncode:
        message = (lines or ["cannot be read"])[-1].removeprefix("psiflow: ")
        raise BadData(message if name in message else f"{name}: {message}", "extended XYZ can be read without ASE")
    for line in lines:
        if line.startswith(convert.NOTE):
            note(f"{name}: {line.removeprefix(convert.NOTE)}")
    return path


def check(output: str, frames: Iterable[extxyz.Frame], executor: ResolvedExecutor | None) -> None:
    """Raise UsageError for frames that the format of an output cannot hold.

    And BadConfig or NoInput for a format whose package is not installed here.
    """
    if output.lower().endswith(".zst"):
        zstandard(output)
    kind = formats.of_ase(output)
    if kind and executor is None and importlib.util.find_spec("ase") is None:
        raise BadConfig(
            f"{output}: {sys.executable} has no ASE, which is needed to write this format", "pip install ase"
        )
    if kind not in (*_NEEDS_CELL, *_SAME_ATOMS):
        return
    first: list[str] = []
    for number, frame in enumerate(frames):
        problem = ""
        if kind in _NEEDS_CELL and (not frame.cell or not _volume(frame.cell)):
            problem = "has no cell, which this format needs"
        elif kind == "vasp" and number:
            problem = "is one frame too many: this format holds only one"
        elif kind in _SAME_ATOMS and number and frame.symbols != first:
            problem = (
                "has atoms different from those of the first, but this format has one list of atoms for all frames"
            )
        if problem:
            raise UsageError(f"{output}: {frame.where} {problem}", "extended XYZ (.xyz) and .traj can hold any frames")
        first = first or frame.symbols


def _volume(cell: list[list[float]]) -> float:
    (a, b, c), (d, e, f), (g, h, i) = cell
    return a * (e * i - f * h) - b * (d * i - f * g) + c * (d * h - e * g)


@dataclass
class Losses:
    """What a format has no place for, noted while the text of each frame passes by."""

    kind: str
    frames: int = 0
    names: dict[str, None] = field(default_factory=dict)  # in the order of their first appearance

    def watch(self, texts: Iterable[str]) -> Iterator[str]:
        """The same texts."""
        for text in texts:
            names = [name for name in _names(text.split("\n", 2)[1]) if name not in self._held]
            self.frames += bool(names)
            self.names.update(dict.fromkeys(names))
            yield text

    @property
    def _held(self) -> tuple[str, ...]:
        return (*_STRUCTURE, "move_mask") if self.kind == "vasp" else _STRUCTURE

    def note(self, output: str) -> None:
        """Name it in one line."""
        if self.names and self.kind not in formats.HOLDS_ALL:
            frames = counted(self.frames, "frame")
            note(f"{output}: not stored in this format, unlike in .xyz and .traj: {', '.join(self.names)} ({frames})")


def _names(head: str) -> Iterator[str]:
    """The keys and columns of a frame, from its comment line."""
    for pair in comment.split(head):
        yield pair.key
        if pair.key == "Properties" and pair.value:
            yield from pair.value.strip("\"'").split(":")[::3]
        if pair.key == "pbc" and pair.value and "F" in pair.value and "Lattice" in head:
            yield "periodicity"


def rewrite(source: Path, kind: str, converted: Path, executor: ResolvedExecutor | None, output: str) -> None:
    """Write frames of extended XYZ to `converted` in the format that ASE calls `kind`. Raises BadData."""
    folders = [source.absolute().parent, Path(convert.__file__).parents[2]]
    command = [*_python(executor, folders), convert.__file__, str(source.absolute()), kind, str(converted.absolute())]
    done = subprocess.run(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
    if done.returncode:
        lines = done.stderr.decode(errors="replace").strip().splitlines() or ["no reason given"]
        code = BAD_CONFIG if done.returncode == BAD_CONFIG else None
        raise BadData(f"{output}: {lines[-1]}", "extended XYZ (.xyz) can hold any frames", code)


def _python(executor: ResolvedExecutor | None, folders: list[Path]) -> list[str]:
    """The command of a Python that has ASE: that of the workers, where a stage has any."""
    return (
        [sys.executable]
        if executor is None
        else [*executor.isolation, *container.words(executor, *folders), executor.python]
    )
