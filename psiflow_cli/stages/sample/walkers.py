"""The walkers of a run: where each begins, under which conditions, and which of them move together."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from psiflow_cli import extxyz, voigt
from psiflow_cli.console import note
from psiflow_cli.errors import BadData, counted
from psiflow_cli.extxyz.velocities import UNITS, velocities
from psiflow_cli.runtime.task import Loss
from psiflow_cli.stages.core import constraints
from psiflow_cli.stages.sample import continuing

if TYPE_CHECKING:
    from psiflow_cli.messages import Dynamics, Frame, MDJob, Stop, WalkerStart
    from psiflow_cli.stages.core.workspace import Workspace
    from psiflow_cli.stages.sample.request import Sampling

FIRST_BLOCK = 20  # steps of a group's first block: enough to time one


@dataclass
class Walker:
    """One walker's start, and how far it is."""

    number: int
    start: Frame
    temperature: list[float]  # [at the first, at the last step] in K
    step: int = 0
    bytes: int = 0  # length of the trajectory that the last checkpoint counts
    stopped: Stop | None = None
    pressure: float | None = None  # bar, where there are several
    window: dict[str, float] | None = None  # values of the names in PLUMED's input

    @property
    def message(self) -> WalkerStart:
        """The walker as a job has it."""
        message: WalkerStart = {"walker": self.number, "start": self.start, "temperature": self.temperature}
        if self.pressure is not None:
            message["pressure"] = self.pressure
        if self.window is not None:
            message["window"] = self.window
        return message


@dataclass
class WalkerGroup:
    """Walkers that move together, in one task, and whose trajectories and checkpoint lie in one folder."""

    folder: Path
    members: list[Walker]
    batch: int  # how many of them a model is given at once
    tries: int = 0
    losses: list[Loss] = field(default_factory=list)
    block: int = FIRST_BLOCK  # steps of its next task, at most
    done: bool = False
    shared_bias: dict[str, str] = field(default_factory=dict)  # see `MDJob`

    @property
    def step(self) -> int:
        """Where the walkers that go on are."""
        return min((w.step for w in self.members if not w.stopped), default=0)

    def job(self, sampling: Sampling) -> MDJob:
        """What its next task is asked to do."""
        return {
            **sampling.dynamics, "steps": sampling.steps, "folder": str(self.folder.absolute()),
            "walkers": [walker.message for walker in self.members], "model": sampling.weights,
            "block": self.block, "batch": self.batch, "shared_bias": self.shared_bias,
        }  # fmt: skip


def starts(sampling: Sampling, workspace: Workspace) -> list[Walker]:
    """Every walker at its start, checked: those of the first frame, then of the second, and so on."""
    walkers: list[Walker] = []
    conditions, moving = sampling.conditions, Counter[str]()
    for frame, walkers_here in _places(sampling, workspace):
        foreign = set(frame.symbols) - set(sampling.model.elements)
        if foreign and sampling.model.elements:
            problem = f"{frame.where}: the model does not know {', '.join(sorted(foreign))}"
            raise BadData(problem, f"{sampling.model.path} knows {', '.join(sampling.model.elements)}")
        if sampling.dynamics["ensemble"] in ("npt", "nvst") and not (frame.cell and voigt.is_defined(frame.pbc)):
            raise BadData(
                f"{frame.where}: not periodic in three directions, but {sampling.dynamics['ensemble']} changes the "
                "cell",
                "give the frame a Lattice, or choose another --ensemble",
            )
        start = _start(frame, sampling.dynamics)
        if name := _set_in_motion(start, frame, sampling, walkers_here):
            moving[name] += 1
        for _ in range(walkers_here):
            own = conditions[len(walkers) % sampling.walkers % len(conditions)]
            walker = Walker(len(walkers), start, own["temperature"])
            walker.pressure, walker.window = own.get("pressure"), own.get("window")
            walkers.append(walker)
    for name, count in moving.items():
        which = f"{counted(count, 'frame')}: {name}"
        if sampling.draws_velocities:
            note(f"{which} not used: velocities are drawn at --temperature")
        else:
            note(f"{which} ({UNITS[name]}) used as initial velocities (--draw-velocities ignores them)")
    return walkers


def _places(sampling: Sampling, workspace: Workspace) -> Iterator[tuple[extxyz.Frame, int]]:
    """Each frame that walkers begin from, and how many do: one of FRAMES, or a walker's own. Raises BadData."""
    if not (path := sampling.continued):
        yield from ((frame, sampling.walkers) for frame in workspace.frames())
        return
    safe = dict(enumerate(frame for frame in workspace.frames() for _ in range(sampling.walkers)))
    continued, why = continuing.places(path, sampling.reset)
    continuing.check(path, safe, continued, {*continued, *why})
    note(continuing.summary(path, len(safe), continued, why))
    yield from ((frame, 1) for frame in (safe | continued).values())


def _set_in_motion(start: Frame, frame: extxyz.Frame, sampling: Sampling, walkers: int) -> str:
    """Give a start the velocities that its frame has; the name of the column, or "" where there is none.

    Raises BadData where walkers would do the same.
    """
    name, values = velocities(frame)
    if not name or sampling.draws_velocities:
        return name
    dynamics, conditions = sampling.dynamics, len({repr(own) for own in sampling.conditions})
    different = max(1, len(sampling.windows)) if dynamics["ensemble"] == "nve" else conditions
    is_deterministic = dynamics["ensemble"] == "nve" or dynamics["thermostat"] == "nose-hoover"
    if is_deterministic and walkers > different:
        problem = f"{frame.where}: {counted(walkers, 'walker')} would start with the same {name} and move identically"
        raise BadData(problem, "draw different ones for each walker with --draw-velocities, or use one walker")
    if name == "momenta":
        start["momenta"] = values
    else:
        start["velocities"] = values
    return name


def grouped(sampling: Sampling, all_walkers: list[Walker], batch: int) -> Iterator[list[Walker]]:
    """Walkers that exchange conditions together; of the others as many as are batched, equally periodic, in order."""
    size = sampling.walkers if sampling.dynamics["exchange"] else batch
    group: list[Walker] = []
    for walker in all_walkers:
        if group and (len(group) == size or group[0].start["pbc"] != walker.start["pbc"]):
            yield group
            group = []
        group.append(walker)
    if group:
        yield group


def _start(frame: extxyz.Frame, dynamics: Dynamics) -> Frame:
    """A frame with what dynamics needs beside it: the atoms that do not move, and masses other than the usual ones."""
    start = extxyz.message(frame, ("charge", "multiplicity"))
    fixed = constraints.fixed(frame, dynamics["fixed"])
    if fixed:
        start["fixed"] = fixed
        if len(fixed) == frame.natoms:
            raise BadData(
                f"{frame.where}: all of its atoms are fixed", "remove at least one atom from fixed or move_mask"
            )
        if dynamics["ensemble"] in ("npt", "nvst"):
            problem = f"{frame.where}: it has fixed atoms, but {dynamics['ensemble']} changes the cell"
            raise BadData(problem, "let all atoms move, or choose --ensemble nve or nvt")
    masses = dynamics["masses"]
    if own := constraints.masses(frame):
        start["masses"] = own
    elif set(masses) & set(frame.symbols):
        start["masses"] = {symbol: masses[symbol] for symbol in sorted(set(masses) & set(frame.symbols))}
    return start
