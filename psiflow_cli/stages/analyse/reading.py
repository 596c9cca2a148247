"""The frames of each walker as a table of numbers in a file, which a worker maps into memory."""

from __future__ import annotations

import math
import sys
from array import array
from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

from psiflow_cli import voigt
from psiflow_cli.errors import BadData, UsageError
from psiflow_cli.extxyz.frame import Frame
from psiflow_cli.extxyz.layout import Cell, volume
from psiflow_cli.extxyz.velocities import velocities
from psiflow_cli.stages.core import constraints

if TYPE_CHECKING:
    from psiflow_cli.messages import AnalysedPath, AnalysisOptions
    from psiflow_cli.stages.core.workspace import Workspace

SERIES = ("temperature", "pressure")
"""Quantities recorded in frames, in K and bar."""
_NO_CELL = [0.0] * 9
_RMAX = 10.0  # Å


@dataclass
class _Path:
    """A walker's frames so far."""

    first: Frame
    file: Path
    message: AnalysedPath
    times: list[float] = field(default_factory=list)  # fs, of the first frame and the last; of each interval the check
    interval: float | None = None
    clock: tuple[float, float] | None = None  # of a foreign file's last frame: its time, and the interval before it
    targets: set[object] = field(default_factory=set)


@dataclass(frozen=True)
class Choice:
    """Which frames are used, and what is known about them."""

    timestep: float | None  # fs
    walker: int | None  # use only this one
    keep_drift: bool


def read(
    options: AnalysisOptions, choice: Choice, workspace: Workspace, folder: Path | None
) -> tuple[list[AnalysedPath], float | None, list[str]]:
    """All walkers, the time (fs) between frames, and what is to be said. Raises BadData, UsageError.

    Without a folder the frames are looked at, and nothing is written.
    """
    paths: dict[tuple[object, ...], _Path] = {}
    current, stream, half = None, None, math.inf
    dynamic = options["msd"] or options["vacf"]
    others: set[str] = set()
    for number in range(len(workspace.sources)):
        part = 0
        for frame in workspace.frames_of(number):
            if choice.walker is not None and frame.info.get("walker") != choice.walker:
                others.add(str(frame.info.get("walker", "none")))
                continue
            key = (number, part, str(frame.info.get("walker", "")), str(frame.info.get("bead", "")))
            if (path := paths.get(key)) and not _alike(path, frame):
                if dynamic:
                    raise _differs(path, frame)
                part += 1
                key = (number, part, *key[2:])
                path = None
            if path is None:
                path = paths[key] = _begun(frame, options, choice.keep_drift, folder, len(paths))
            if dynamic:
                _keep_time(path, frame, choice.timestep)
            if options["rdf"] and frame.lattice:
                half = min(half, _half_width(frame.lattice))
            path.targets.add(frame.info.get("target_temperature"))
            path.message["frames"] += 1
            if folder:
                if current is not path:
                    if stream:
                        stream.close()
                    current, stream = path, path.file.open("ab")
                assert stream is not None
                _write(stream, frame, path)
    if stream:
        stream.close()
    if not paths and others:
        problem = f"--walker {choice.walker}: no frame has this walker"
        raise UsageError(problem, f"frames have {', '.join(sorted(others)[:20])}")
    if options["rdf"]:
        options["rmax"] = _rmax(options["rmax"], half)
    return [path.message for path in paths.values()], *_checked(list(paths.values()), options, choice.timestep)


def _half_width(cell: Cell) -> float:
    """Half the least distance (Å) between opposite faces."""
    a, b, c = cell
    areas = (math.hypot(*_normal(u, v)) for u, v in ((a, b), (b, c), (c, a)))
    return 0.5 * volume(cell) / max(areas)


def _normal(u: Sequence[float], v: Sequence[float]) -> tuple[float, float, float]:
    return u[1] * v[2] - u[2] * v[1], u[2] * v[0] - u[0] * v[2], u[0] * v[1] - u[1] * v[0]


def _rmax(rmax: float | None, half: float) -> float:
    """The end of the radial distribution (Å). Raises UsageError where atoms would count images of themselves."""
    if rmax and rmax > half * (1 + 1e-9):
        problem = f"--rmax {rmax:g} Å is more than {half:.4g} Å, half the narrowest width of a cell"
        raise UsageError(problem, "atoms would count their own images: choose a smaller --rmax, or repeat the cell")
    return rmax or min(half, _RMAX)


def _alike(path: _Path, frame: Frame) -> bool:
    return path.first.symbols == frame.symbols and path.first.periodic == frame.periodic


def _differs(path: _Path, frame: Frame) -> BadData:
    what = "periodicity differs" if path.first.symbols == frame.symbols else "atoms differ"
    problem = f"{frame.where}: its {what} from {path.first.where}, but --msd and --vacf follow atoms"
    return BadData(problem, "give trajectories whose frames have the same atoms in the same order")


def _begun(frame: Frame, options: AnalysisOptions, keep_drift: bool, folder: Path | None, number: int) -> _Path:
    if options["rdf"]:
        if not (frame.cell and voigt.is_defined(frame.pbc)):
            problem = f"{frame.where}: not periodic in three directions, so --rdf has no density"
            raise BadData(problem, "leave out --rdf")
        for element in chain.from_iterable(options["rdf"]):
            if element not in frame.symbols:
                there = ", ".join(sorted(set(frame.symbols)))
                raise BadData(
                    f"{frame.where}: it contains no {element}, which --rdf needs", f"its elements are {there}"
                )
    if (options["msd"] or options["vacf"]) and "bead" in frame.info:
        problem = f"{frame.where}: a bead of a path integral, whose motion is not physical"
        raise BadData(problem, "use --msd and --vacf with classical trajectories")
    message: AnalysedPath = {
        "source": str((folder / f"{number:05d}").absolute()) if folder else "", "symbols": frame.symbols, "frames": 0,
        "pbc": frame.pbc, "masses": constraints.masses(frame) or None, "velocities": "", "series": list(SERIES),
        "keeps_drift": keep_drift or bool(constraints.fixed(frame)),
    }  # fmt: skip
    if options["vacf"] and (name := velocities(frame)[0]):
        message["velocities"] = "momenta" if name == "momenta" else "velocities"
    if any(frame.pbc) and not frame.cell:
        raise BadData(f"{frame.where}: periodic, but without a cell", "give it a Lattice")
    return _Path(frame, Path(message["source"]), message)


def _keep_time(path: _Path, frame: Frame, timestep: float | None) -> None:
    """Compare the time of a frame with that of the one before; only psiflow's frames say it in a known unit."""
    time = frame.info.get("time")
    is_ours = all(key in frame.info for key in ("walker", "step"))
    if not is_ours or not isinstance(time, (int, float)):
        if timestep is None:
            problem = f"{frame.where}: it has no time in fs, which --msd and --vacf need"
            raise UsageError(problem, "give the time from one frame to the next, as in --timestep '5 fs'")
        _check_clock(path, frame)
        return
    if path.times:
        interval = time - path.times[-1]
        usual = timestep if timestep is not None else path.interval
        if interval <= 0 or (usual and abs(interval - usual) > 1e-6 * usual):
            problem = f"{frame.where}: {interval:g} fs after the previous frame, not {usual or 'some'} fs"
            raise BadData(problem, "--msd and --vacf need frames at equal intervals; give each trajectory as a file")
        path.interval = path.interval or interval
    path.times = [time]


def _check_clock(path: _Path, frame: Frame) -> None:
    """Refuse a foreign file whose times or steps, in whatever unit, show several trajectories or a gap."""
    now = frame.info.get("time", frame.info.get("step"))
    if not isinstance(now, (int, float)):
        return
    step = 0.0
    if path.clock:
        last, step = path.clock
        if now <= last or (step and abs(now - last - step) > 0.01 * step):
            problem = f"{frame.where}: its time or step is {now:g}, after {last:g} in the frame before"
            raise BadData(problem, "--msd and --vacf need frames at equal times; name each trajectory as a file")
        step = now - last
    path.clock = (now, step)


def _write(stream: BinaryIO, frame: Frame, path: _Path) -> None:
    row = array("d", chain.from_iterable(frame.xyz))
    if stored := path.message["velocities"]:
        name, values = velocities(frame)
        if ("momenta" if name == "momenta" else "velocities") != stored or not name:
            raise BadData(f"{frame.where}: no velocities, unlike {path.first.where}", "every frame must have them")
        row.extend(chain.from_iterable(zip(*values, strict=True)))
    row.extend(chain.from_iterable(frame.cell) if frame.cell else _NO_CELL)
    for name in SERIES:
        value = frame.info.get(name)
        is_number = isinstance(value, (int, float)) and "walker" in frame.info  # in a unit that is known
        row.append(float(frame.info[name]) if is_number else math.nan)
    if sys.byteorder == "big":
        row.byteswap()
    row.tofile(stream)


def _checked(
    paths: Sequence[_Path], options: AnalysisOptions, timestep: float | None
) -> tuple[float | None, list[str]]:
    """The time between frames of all paths, and remarks about them. Raises BadData."""
    remarks = []
    if any(len(path.targets) > 1 for path in paths):
        remarks.append(
            "the thermostat's temperature changes along a walker's trajectory: results average over temperatures"
        )
    if not (options["msd"] or options["vacf"]):
        return None, remarks
    lone = next((path for path in paths if path.message["frames"] < 2), None)
    if lone:
        problem = f"{lone.first.where}: the only frame of its trajectory, but --msd and --vacf need many"
        raise BadData(problem, "give all frames of a trajectory in one file; each file is a separate trajectory")
    intervals = {timestep or path.interval for path in paths}
    usual = next(iter(intervals))
    other = next((p for p in paths if usual and abs((timestep or p.interval or 0) - usual) > 1e-6 * usual), None)
    if other:
        problem = f"{other.first.where}: frames are {other.interval:g} fs apart here, but {usual:g} fs in others"
        raise BadData(problem, "analyse these trajectories separately")
    return usual, remarks
