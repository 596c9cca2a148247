"""Structure and dynamics of trajectories: what a worker is asked for, and what it finds."""

from __future__ import annotations

from typing import TypedDict


class AnalysedPath(TypedDict):
    """The frames of one walker, whose numbers lie in a file: a row of float64 for each frame.

    A row has x of all atoms, then y and z (Å), likewise the velocities if there are any, the cell's nine numbers (Å),
    and a number for each of `series`, NaN where a frame does not have one.
    """

    source: str
    symbols: list[str]
    frames: int
    pbc: list[bool]
    masses: list[float] | None  # u; None: the usual ones
    velocities: str  # "", or how they are stored: as `momenta` or `velocities` in ASE's units
    series: list[str]  # `temperature` (K), `pressure` (bar)
    keeps_drift: bool  # the centre of mass is not taken as the origin


class AnalysisOptions(TypedDict):
    """What options of `analyse` say, by their names."""

    rdf: tuple[tuple[str, str], ...]
    rmax: float | None  # Å
    bins: int
    msd: bool
    vacf: bool
    fit: tuple[float, float] | None  # fs
    blocks: int


class Analysis(AnalysisOptions):
    """What a worker is asked for."""

    paths: list[AnalysedPath]
    interval: float | None  # fs from one frame to the next


class AnalysedCurve(TypedDict):
    """One quantity against another; `error` is the standard error of `y`, [] where blocks are too few for one."""

    quantity: str  # a key of `COLUMNS` in stages.analyse.stage
    of: str  # an element, a pair, or `all`
    x: list[float]
    y: list[float]
    error: list[float]


class AnalysedValue(TypedDict):
    """A number with its standard error."""

    quantity: str
    of: str
    value: float
    error: float | None
    unit: str


class AnalysisResult(TypedDict):
    """What a worker finds."""

    values: list[AnalysedValue]
    curves: list[AnalysedCurve]
    remarks: list[str]
    blocks: int
    block_frames: int
