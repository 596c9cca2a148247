"""Free energies: what a worker computes them from, and what it returns."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal, TypedDict

if TYPE_CHECKING:
    from typing_extensions import NotRequired

Method = Literal["mbar", "hills", "reweight"]


class Axis(TypedDict):
    """A collective variable (CV) and its grid, in the unit that the files have."""

    name: str
    low: float | None  # None: the lowest value that there is
    high: float | None
    bins: int
    period: list[float] | None  # [from, to] of a periodic CV


class Basin(TypedDict):
    """A region whose free energy is asked: one interval for each CV."""

    name: str
    ranges: list[list[float]]  # [from, to]; from > to wraps around a periodic CV


class SampleSeries(TypedDict):
    """Consecutive rows of the table of samples that follow each other in time."""

    name: str  # for messages: the file, and the walker or window
    state: int
    count: int  # rows


class State(TypedDict):
    """What a window was sampled under."""

    name: str
    kT: float  # eV
    pressure: float  # eV/Å³; 0 where the volume does not matter
    at: NotRequired[list[float]]  # centre of the harmonic restraint on each restrained CV
    kappa: NotRequired[list[float]]  # eV per CV², of ½ κ (s - at)²


class Samples(TypedDict):
    """A table of doubles in a file, row by row."""

    source: str
    columns: list[str]  # each restrained CV and each CV of the profile by name, time, bias, energy, volume, bias_0, …
    series: list[SampleSeries]


class Discarding(TypedDict):
    """How much of each series is left out at its beginning."""

    value: float
    kind: Literal["auto", "share", "time"]  # time: in ps


class HillsFile(TypedDict):
    """Gaussians of metadynamics as doubles in a file, row by row: time, centres, widths, height (eV)."""

    source: str
    counts: list[int]  # hills of each bias in the order of the rows; several if each walker has its own bias
    cvs: list[str]
    periods: list[list[float] | None]
    multivariate: bool  # widths are the lower triangle of the Cholesky factor of the covariance, column by column
    kernel: str  # PLUMED's name: stretched-gaussian or gaussian
    bias_factor: float  # 1: not well-tempered
    names: str  # of the files, for messages
    is_shared: bool  # of walkers that filled one bias, which do not record when they felt the hills of the others
    is_recorded: bool  # the bias of the samples is that of these hills alone, so it can be compared with their sum


class FreeEnergyJob(TypedDict):
    """What is computed."""

    by: Method
    axes: list[Axis]
    basins: list[Basin]
    kT: float | None  # eV, of the profile; None only for a sum of hills
    pressure: float  # eV/Å³, of the profile
    convergence: bool
    blocks: int
    discard: Discarding
    samples: NotRequired[Samples]
    states: NotRequired[list[State]]
    restrained: NotRequired[list[Axis]]  # the CVs of harmonic windows, where the bias is that
    fit: NotRequired[bool]  # centres and force constants are found from the recorded bias
    hills: NotRequired[HillsFile]


class WindowRow(TypedDict):
    """What a window contributed."""

    name: str
    temperature_kT: float  # eV
    at: list[float]
    kappa: list[float]  # eV per CV²
    mean: list[float]  # of the restrained CVs, or of those of the profile
    samples: int
    discarded: int
    used: int  # decorrelated


class WeakLink(TypedDict):
    """Two groups of windows that hardly overlap: the pair that connects them best."""

    first: str
    second: str
    overlap: float


class BasinRow(TypedDict):
    """The free energy of a basin, with respect to the first one."""

    name: str
    free_energy: float | None  # eV; None: no sample in it
    error: float | None  # eV


class ConvergenceRow(TypedDict):
    """The profile from the first part of all data."""

    fraction: float
    free_energies: list[float | None]  # eV, on the grid of the whole profile
    deviation: float | None  # eV: rms from the whole profile over its lower half
    basins: list[float | None]  # eV, as in `BasinRow`


class FreeEnergy(TypedDict):
    """A profile or surface on a grid, whose last CV varies fastest, and what tells how far to trust it."""

    cvs: list[str]
    points: list[list[float]]  # of each CV: centres of the bins, or grid points of a sum of hills
    free_energies: list[float | None]  # eV above the lowest; None: no sample
    errors: list[float | None]  # eV: one standard error of the difference from the lowest
    windows: list[WindowRow]
    overlap: list[list[float]]  # between windows; each row sums to 1
    weak_links: list[WeakLink]
    basins: list[BasinRow]
    convergence: list[ConvergenceRow]
    samples: int
    used: float  # decorrelated or effective samples, or hills
    outside: int  # samples outside the range
