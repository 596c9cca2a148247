"""The walkers of a run: where each begins, at which temperature, and which of them move together."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from psiflow_cli import extxyz
from psiflow_cli.errors import BadData
from psiflow_cli.extxyz.frame import Frame
from psiflow_cli.messages import Wire
from psiflow_cli.stages.core import constraints

if TYPE_CHECKING:
    from psiflow_cli.stages.core.workspace import Workspace
    from psiflow_cli.stages.sample.request import Sampling


@dataclass
class Walker:
    """One walker's start, and how far it is."""

    number: int
    start: Wire
    temperature: list[float]
    """[at the first, at the last step] in K."""
    step: int = 0
    bytes: int = 0
    """Length of the trajectory that the last checkpoint counts."""
    stopped: dict[str, Any] | None = None

    @property
    def message(self) -> Wire:
        """The walker as a job has it."""
        return {"walker": self.number, "start": self.start, "temperature": self.temperature}


def starts(sampling: Sampling, workspace: Workspace) -> list[Walker]:
    """Every walker at its start, checked: those of the first frame, then of the second, and so on."""
    found: list[Walker] = []
    temperatures = sampling.temperatures
    for frame in workspace.frames():
        foreign = set(frame.symbols) - set(sampling.model.elements)
        if foreign and not sampling.model.is_foreign:
            raise BadData(
                f"{frame.where}: the model does not know {', '.join(sorted(foreign))}",
                f"{sampling.model.path} was trained on {', '.join(sampling.model.elements)}",
            )
        if sampling.settings["ensemble"] in ("npt", "nvst") and not (frame.cell and all(frame.pbc)):
            raise BadData(
                f"{frame.where}: not periodic in three directions, and {sampling.settings['ensemble']} moves the cell",
                "give the frame a Lattice, or choose another --ensemble",
            )
        start = _start(frame, sampling.settings)
        for index in range(sampling.walkers):
            found.append(Walker(len(found), start, temperatures[index % len(temperatures)]))
    return found


def grouped(sampling: Sampling, all_walkers: list[Walker], batch: int) -> Iterator[list[Walker]]:
    """Walkers that exchange temperatures together; of the others as many as are batched, equally periodic, in order."""
    size = sampling.walkers if sampling.settings["exchange"] else batch
    group: list[Walker] = []
    for walker in all_walkers:
        if group and (len(group) == size or group[0].start["pbc"] != walker.start["pbc"]):
            yield group
            group = []
        group.append(walker)
    if group:
        yield group


def _start(frame: Frame, settings: Wire) -> Wire:
    """A frame with what dynamics needs beside it: the atoms that do not move, and masses other than the usual ones."""
    start = extxyz.message(frame, ("charge", "multiplicity"))
    fixed = constraints.fixed(frame, settings["fixed"])
    if fixed:
        start["fixed"] = fixed
        if len(fixed) == frame.natoms:
            raise BadData(f"{frame.where}: none of its atoms may move", "leave one out of fixed or of move_mask")
        if settings["ensemble"] in ("npt", "nvst"):
            said = f"{frame.where}: atoms that do not move, and {settings['ensemble']} moves the cell"
            raise BadData(said, "let all atoms move, or choose nve or nvt")
    masses = settings["masses"]
    if own := constraints.masses(frame):
        start["masses"] = own
    elif set(masses) & set(frame.symbols):
        start["masses"] = {symbol: masses[symbol] for symbol in sorted(set(masses) & set(frame.symbols))}
    return start
