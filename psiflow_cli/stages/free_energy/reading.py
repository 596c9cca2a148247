"""The files of a free energy: columns found, units converted, windows told apart, all in one table for a worker."""

from __future__ import annotations

import math
from array import array
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from psiflow_cli.errors import BadData, UsageError, counted
from psiflow_cli.stages.free_energy import source
from psiflow_cli.stages.free_energy.request import KB, Request, number

if TYPE_CHECKING:
    from psiflow_cli.messages import SampleSeries, State
    from psiflow_cli.stages.core.workspace import Workspace
    from psiflow_cli.stages.free_energy.source import Header

_TEMPERATURE = ("target_temperature_K", "target_temperature")
_PRESSURE = ("target_pressure_bar", "target_pressure")
_VOLUME = ("volume_A3", "volume")
CONDITIONS = (*_TEMPERATURE, *_PRESSURE)
RECORDED_BIAS = ("bias_energy_eV", "bias_energy")
"""The total bias of PLUMED that psiflow records, in eV."""
_LEAST_BIAS = 1e-4  # eV, from which on two records of a bias are compared
BAR = 6.241509125883258e-07  # eV/Å³
_ENERGY = ("model_energy_eV", "model_energy")
_TIME = ("time_fs", "time")
Key = tuple[float, ...]


def headers(request: Request, workspace: Workspace) -> list[Header]:
    """What each file has. Raises BadData for a file of no kind that is known."""
    frames = {name: place for place, (name, _) in enumerate(workspace.sources)}
    read_headers = []
    for file in request.files:
        if file in frames:
            read_headers.append(source.of_frames(file, workspace.frames_of(frames[file])))
        elif file.lower().endswith(".csv"):
            read_headers.append(source.of_csv(file))
        elif header := source.of_plumed(file):
            if header.has_kernels and not header.is_hills:
                problem = f"{file}:1: Gaussians without biasf: these are kernels of OPES, not hills of metadynamics"
                raise BadData(problem, "reweight OPES instead: give its COLVAR file with opes.bias, and --by reweight")
            read_headers.append(header)
        else:
            problem = f"{file}:1: not a PLUMED file (#! FIELDS …), .csv or .xyz"
            raise BadData(
                problem, "give COLVAR or HILLS files, or the tables (--properties) or trajectories of psiflow sample"
            )
    return read_headers


@dataclass
class Samples:
    """All samples, window by window."""

    columns: list[str]
    rows: dict[int, array[float]] = field(default_factory=dict)  # by series, values in the order of `columns`
    series: list[SampleSeries] = field(default_factory=list)
    states: list[State] = field(default_factory=list)

    def write(self, path: Path) -> None:
        """The table that a worker reads."""
        with path.open("wb") as stream:
            for number_ in range(len(self.series)):
                self.rows[number_].tofile(stream)


@dataclass(frozen=True)
class Layout:
    """Which columns are wanted, by what they are called in the table for the worker."""

    cvs: list[str]  # of the profile, then restrained ones that are not among them
    bias: tuple[str, ...]
    several_temperatures: bool  # or there may be: the potential energy is read where it was recorded

    def of_each_bias(self, window_biases: Sequence[str]) -> list[Sequence[str]]:
        """The columns whose sum is each bias."""
        return [[name] for name in window_biases] or ([self.bias] if self.bias else [])


def samples(request: Request, workspace: Workspace, headers: Sequence[Header], layout: Layout) -> Samples:
    """Read every file. Raises BadData, UsageError."""
    biases = [f"bias_{n}" for n in range(len(request.window_biases))] or (["bias"] if layout.bias else [])
    read = Samples([*layout.cvs, "time", *biases, *(["energy", "volume"] if layout.several_temperatures else [])])
    numbers: dict[tuple[object, ...], int] = {}
    without = moving = ""  # a file that has no potential energy, and one whose volume moves
    for place, header in enumerate(headers):
        columns = _columns(request, workspace, header, layout)
        cvs = [columns[header.need([name], "--cv")] for name in layout.cvs]
        count = len(cvs[0])
        clock = header.find(_TIME)
        times = columns[clock] if clock else array("d", range(count))
        scale = header.time_unit if header.is_plumed else 1e-3  # ps
        bias = [[_scaled(columns, header.need([name], "--bias"), header.unit(request.energy_unit)) for name in names]
                for names in layout.of_each_bias(request.window_biases)]  # fmt: skip
        _check_unit_of_bias(request, header, columns, [name for names in layout.of_each_bias(request.window_biases)
                                                       for name in names])  # fmt: skip
        energy = _energy(request, header, columns) if layout.several_temperatures else None
        without = without or (header.file if energy is None else "")
        walker = columns.get(header.find(["walker"]) or "", None)
        telling = [columns[header.need([name], "--windows")] for name in request.windows]
        kelvins = columns.get(header.find(_TEMPERATURE) or "", None)
        volume = columns.get(header.find(_VOLUME) or "", None) if layout.several_temperatures else None
        target_pressure = columns.get(header.find(_PRESSURE) or "", None) if volume is not None else None
        moving = moving or (header.file if volume and max(volume) - min(volume) > 1e-6 * max(volume) else "")
        moves = _moves(walker, [*telling, *([kelvins] if kelvins is not None else []),
                                *([target_pressure] if target_pressure is not None else [])])  # fmt: skip
        restraints = [_per_row(request, header, columns, words, option, place, len(headers))
                 for words, option in ((request.at, "--at"), (request.kappa, "--kappa"))]  # fmt: skip
        for row in range(count):
            if request.walker is not None and walker is not None and walker[row] != request.walker:
                continue
            kelvin = kelvins[row] if kelvins is not None else request.temperature
            if kelvin is None:
                problem = f"{header.file}: the temperature of the sampling is not recorded in it"
                raise UsageError(problem, "give --temperature")
            pressure = BAR * (request.pressure or 0.0 if target_pressure is None else target_pressure[row])
            at, kappa = ([column[row] for column in columns_] for columns_ in restraints)
            window = tuple(column[row] for column in telling)
            key = (place if not request.windows else "", window, kelvin, pressure, *at, *kappa)
            if key not in numbers:
                numbers[key] = len(read.states)
                read.states.append(_state(request, header, window, (kelvin, pressure), at, kappa))
            own = ("" if moves or walker is None else walker[row], place, numbers[key])
            if own not in numbers:
                numbers[own] = len(read.series)
                read.series.append({"name": _named(header, own[0]), "state": numbers[key], "count": 0})
                read.rows[numbers[own]] = array("d")
            table = read.rows[numbers[own]]
            table.extend(column[row] for column in cvs)
            table.append(times[row] * scale)
            table.extend(sum(part[row] for part in parts) for parts in bias)
            if layout.several_temperatures:
                table.append(0.0 if energy is None else energy[row])
                table.append(0.0 if volume is None else volume[row])
            read.series[numbers[own]]["count"] += 1
    if len({(state["kT"], state["pressure"]) for state in read.states}) > 1:
        if moving and not all(state["pressure"] for state in read.states):
            raise UsageError(f"{moving}: the volume changes, but the pressure is not recorded", "give --pressure")
        if without and layout.several_temperatures:
            problem = f"{without}: samples at several temperatures, but no potential energy"
            raise UsageError(problem, "name its column with --energy; PLUMED's action ENERGY prints it")
        for state in read.states:
            state["name"] += f", {state['kT'] / KB:g} K"
    return read


def _moves(walker: array[float] | None, columns: Sequence[array[float]]) -> bool:
    """Whether walkers exchange windows or temperatures: a window's samples are then one path of many walkers."""
    if walker is None:
        return False
    seen: dict[float, tuple[float, ...]] = {}
    return any(seen.setdefault(own, now) != now
               for own, *rest in zip(walker, *columns, strict=True) for now in [tuple(rest)])  # fmt: skip


def _columns(request: Request, workspace: Workspace, header: Header, layout: Layout) -> dict[str, array[float]]:
    """All columns that may be needed, of those that the file has."""
    options = [*layout.cvs, *layout.bias, *request.window_biases, *request.windows]
    options += [*request.at, *request.kappa, "walker", *([request.energy] if request.energy else [])]
    wanted = {header.find([name]) for name in options}
    wanted |= {header.find(names) for names in (_TEMPERATURE, _PRESSURE, _VOLUME, _ENERGY, _TIME, RECORDED_BIAS)}
    names = [name for name in header.names if name in wanted]
    if header.is_plumed:
        return source.read_plumed(header, names)
    if header.file.lower().endswith(".csv"):
        return source.read_csv(header, names)
    place = next(place for place, (name, _) in enumerate(workspace.sources) if name == header.file)
    return source.read_frames(header, names, workspace.frames_of(place))


def _scaled(columns: dict[str, array[float]], name: str, unit: float) -> array[float]:
    """An energy in eV: what a name says, or else what --energy-unit says."""
    scale = 1.0 if name.endswith("_eV") or name in RECORDED_BIAS else unit
    return columns[name] if scale == 1 else array("d", (scale * value for value in columns[name]))


def _check_unit_of_bias(
    request: Request, header: Header, columns: dict[str, array[float]], biases: Sequence[str]
) -> None:
    """Raise BadData where psiflow has recorded the only bias also in eV, and the two are not the same.

    A table or a trajectory has PLUMED's own values in PLUMED's unit, without a header that says which one that is.
    """
    recorded, name = header.find(RECORDED_BIAS), header.find(biases[:1]) if biases else None
    actions = [each for each in header.names if each.endswith(".bias")]
    if header.is_plumed or recorded is None or name is None or actions != [name]:
        return
    largest = max(range(len(columns[name])), key=lambda row: abs(columns[recorded][row]), default=0)
    value, eV = columns[name][largest], columns[recorded][largest]
    unit = header.unit(request.energy_unit)
    if abs(eV) > _LEAST_BIAS and not math.isclose(unit * value, eV, rel_tol=0.01):
        hint = f"give --energy-unit for a unit of {eV / value:.4g} eV, or --bias {recorded}" if value else ""
        problem = f"{header.file}: {name} is {value:g} where {recorded} is {eV:g} eV, so its unit is not {unit:.4g} eV"
        raise BadData(problem, hint or f"give --bias {recorded}")


def _energy(request: Request, header: Header, columns: dict[str, array[float]]) -> array[float] | None:
    if request.energy:
        return _scaled(columns, header.need([request.energy], "--energy"), header.unit(request.energy_unit))
    name = header.find(_ENERGY)
    return columns[name] if name else None


def _per_row(
    request: Request, header: Header, columns: dict[str, array[float]], words: Sequence[str], option: str,
    place: int, files: int,
) -> list[Sequence[float]]:  # fmt: skip
    """Centres or force constants (eV) of each restrained CV, for each row."""
    dimensions = len(request.restrained or request.cvs)
    if not words:
        return []
    unit = header.unit(request.energy_unit) if option == "--kappa" else 1.0
    if dimensions == 1 and len(words) == files > 1:
        words = [words[place]]
    if len(words) != dimensions:
        raise UsageError(
            f"{option}: {counted(len(words), 'value')} for {counted(dimensions, 'CV')} and {counted(files, 'file')}",
            "give a number or the name of a column for each CV; for one CV also a number for each file",
        )
    count = len(next(iter(columns.values())))
    values: list[Sequence[float]] = []
    for word in words:
        try:
            values.append(array("d", [unit * number(word)]) * count)
        except ValueError:
            values.append([unit * value for value in columns[header.need([word], option)]])
    return values


def _state(
    request: Request, header: Header, window: Key, conditions: tuple[float, float], at: list[float], kappa: list[float]
) -> State:
    words = [f"{name}={value:g}" for name, value in zip(request.windows, window, strict=True)]
    state: State = {"name": " ".join(words) or header.file, "kT": KB * conditions[0], "pressure": conditions[1]}
    if at and kappa:
        state.update({"at": at, "kappa": kappa})
    return state


def _named(header: Header, walker: object) -> str:
    return header.file if walker == "" else f"{header.file}, walker {walker:g}"


def period(request: Request, header: Header, cv: str) -> tuple[float, float] | None:
    """Where a periodic CV begins and ends: as --periodic or the file says. Raises BadData."""
    if cv in request.periodic:
        return request.periodic[cv]
    low, high = (header.constants.get(f"{end}_{cv}") for end in ("min", "max"))
    if low is None or high is None:
        return None
    try:
        return number(low), number(high)
    except ValueError:
        raise BadData(f"{header.file}: min_{cv} {low}, max_{cv} {high}", "give --periodic") from None
