"""Distorted copies of structures: normally distributed displacements and, for periodic ones, strains."""

from __future__ import annotations

import random
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

from psiflow_cli import extxyz
from psiflow_cli.extxyz.labelling import near_names
from psiflow_cli.extxyz.velocities import UNITS
from psiflow_cli.stages.core import constraints
from psiflow_cli.stages.core.workspace import Job, Workspace

if TYPE_CHECKING:
    from psiflow_cli.messages import Summary, Vectors


@dataclass(frozen=True)
class Rattling:
    """How many copies, and how far they are from where they started."""

    job: Job
    copies: int
    amplitude: float  # standard deviation of each Cartesian displacement, in Å
    strain: float  # standard deviation of each component of the symmetric strain, without unit
    seed: int


def run(rattling: Rattling, workspace: Workspace) -> Summary:
    """Write the copies; returns the summary."""
    total = sum(1 for _ in workspace.frames()) * rattling.copies
    workspace.run.begin(total)
    with workspace.run.guard_end():
        workspace.publish(_copies(rattling, workspace))
    return {"total": total, "output": rattling.job.output}


def _copies(rattling: Rattling, workspace: Workspace) -> Iterator[str]:
    for index, frame in enumerate(workspace.frames()):
        moves = constraints.moves(frame)
        drop = (*extxyz.label_names(frame), *near_names.alike(frame), *extxyz.PREDICTIONS, *extxyz.PROVENANCE, *UNITS)
        for copy in range(rattling.copies):
            # one generator a copy: asking for more copies, or adding frames, leaves the earlier ones as they were
            draw = random.Random(f"{rattling.seed}/{index}/{copy}")
            cell = frame.cell if any(frame.pbc) else None
            strain = _strain(draw, rattling.strain) if cell and rattling.strain else None
            positions = [list(p) for p in frame.positions]
            if strain:
                positions = [_apply(strain, p) for p in positions]
            moved = [[x + draw.gauss(0, rattling.amplitude) for x in p] for p in positions]
            for atom, flags in enumerate(moves):
                moved[atom] = [
                    new if flag else old for new, old, flag in zip(moved[atom], positions[atom], flags, strict=True)
                ]
            info = {"Lattice": [_apply(strain, row) for row in cell]} if strain and cell else {}
            yield extxyz.render(frame, set_info=info, set_columns={"pos": ("R", moved)}, drop=drop)


def _strain(draw: random.Random, size: float) -> Vectors:
    """1 + a symmetric strain."""
    e = [draw.gauss(0, size) for _ in range(6)]
    return [[1 + e[0], e[5], e[4]], [e[5], 1 + e[1], e[3]], [e[4], e[3], 1 + e[2]]]


def _apply(matrix: Vectors, vector: list[float]) -> list[float]:
    return [sum(m * v for m, v in zip(row, vector, strict=True)) for row in matrix]
