"""An analysis: every quantity in each block, their means over blocks, and the standard errors of these."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, cast

from psiflow_cli.errors import BAD_DATA, USAGE
from psiflow_cli.worker.analysis import dynamics, paths, structure
from psiflow_cli.worker.failures import Fatal

if TYPE_CHECKING:
    import numpy as np

    from psiflow_cli.messages import AnalysedCurve, AnalysedValue, Analysis, AnalysisResult

_DENSITY = 1.66053906892  # g/cm³ of a u/Å³
_DIFFUSIVE = (0.8, 1.2)  # exponents of the time that a mean squared displacement in the fit may have


def compute(analysis: Analysis) -> AnalysisResult:
    """*worker*: means over blocks of all that is asked for."""
    cut = paths.blocks(analysis["paths"], analysis["blocks"])
    result: AnalysisResult = {
        "values": [], "curves": [], "remarks": [], "blocks": len(cut), "block_frames": len(cut[0].rows),
    }  # fmt: skip
    symbols = sorted({symbol for path in analysis["paths"] for symbol in path["symbols"]})
    _series(result, cut)
    if analysis["rdf"]:
        _radial(result, analysis, cut)
    if analysis["msd"] or analysis["vacf"]:
        _check_length(analysis, cut)
    if analysis["msd"]:
        _displacements(result, analysis, cut, symbols)
    if analysis["vacf"]:
        _vibrations(result, analysis, cut, symbols)
    return result


def _mean(parts: Sequence[np.ndarray | float]) -> tuple[np.ndarray, np.ndarray | None]:
    """Over blocks, without those that do not have it; and its standard error, None for one block."""
    import numpy as np

    values = np.array(parts, dtype=float)
    values = values[~np.isnan(values.reshape(len(values), -1)).any(axis=1)]
    if len(values) < 2:
        return values.mean(axis=0), None
    return values.mean(axis=0), values.std(axis=0, ddof=1) / len(values) ** 0.5


def _value(result: AnalysisResult, quantity: str, of: str, unit: str, parts: Sequence[float]) -> None:
    mean, error = _mean(parts)
    row: AnalysedValue = {
        "quantity": quantity, "of": of, "value": float(mean), "unit": unit,
        "error": None if error is None else float(error),
    }  # fmt: skip
    result["values"].append(row)


def _curve(
    result: AnalysisResult, quantity: str, of: str, x: np.ndarray, parts: Sequence[np.ndarray], scale: float = 1.0
) -> np.ndarray:
    mean, error = _mean(parts)
    curve: AnalysedCurve = {
        "quantity": quantity, "of": of, "x": x.tolist(), "y": (mean / scale).tolist(),
        "error": [] if error is None else (error / scale).tolist(),
    }  # fmt: skip
    result["curves"].append(curve)
    return mean


def _series(result: AnalysisResult, cut: list[paths.Block]) -> None:
    import numpy as np

    for name, unit in (("temperature", "K"), ("pressure", "bar")):
        if not np.isnan(np.array([block.series(name).sum() for block in cut])).any():
            _value(result, name, "all", unit, [float(block.series(name).mean()) for block in cut])
    if all(all(block.path["pbc"]) for block in cut):
        volumes = [np.abs(np.linalg.det(block.cells())) for block in cut]
        _value(result, "volume", "all", "Å³", [float(each.mean()) for each in volumes])
        densities = [
            float((block.masses().sum() / each).mean()) * _DENSITY for block, each in zip(cut, volumes, strict=True)
        ]
        _value(result, "density", "all", "g/cm³", densities)


def _radial(result: AnalysisResult, analysis: Analysis, cut: list[paths.Block]) -> None:
    import numpy as np

    rmax = analysis["rmax"] or 0.0
    edges = np.linspace(0.0, rmax, analysis["bins"] + 1)
    pairs = tuple(tuple(pair) for pair in analysis["rdf"])
    parts = [structure.radial(block, cast("tuple[tuple[str, str], ...]", pairs), edges) for block in cut]
    middle = 0.5 * (edges[1:] + edges[:-1])
    for pair in pairs:
        pair_name = "-".join(pair)
        density = _curve(result, "rdf", pair_name, middle, [part[pair][0] for part in parts])  # type: ignore[index]
        _curve(result, "coordination", pair_name, edges[1:], [part[pair][1] for part in parts])  # type: ignore[index]
        top = int(density.argmax())
        if not density[top]:  # no pair is that near
            continue
        _value(result, "highest peak at", pair_name, "Å", [float(middle[top])])
        _value(result, "g there", pair_name, "", [float(part[pair][0][top]) for part in parts])  # type: ignore[index]
        if bottom := _minimum(middle, density, top):
            _value(result, "next minimum at", pair_name, "Å", [float(middle[bottom])])
            counts = [float(part[pair][1][bottom]) for part in parts]  # type: ignore[index]
            _value(result, "neighbours up to there", pair_name, "", counts)


def _minimum(middle: np.ndarray, density: np.ndarray, top: int) -> int:
    """The first of the lowest shells from the highest peak to 1.6 times its distance, smoothed over five; or 0."""
    import numpy as np

    end = int(np.searchsorted(middle, 1.6 * middle[top]))
    smooth = np.convolve(density, np.ones(5) / 5.0, "same")
    return top + int(smooth[top:end].argmin()) if end <= len(middle) - 2 else 0


def _check_length(analysis: Analysis, cut: list[paths.Block]) -> None:
    frames = len(cut[0].rows)
    if frames < 6:
        problem = f"too few frames for --msd and --vacf: {frames} in each of {len(cut)} blocks"
        raise Fatal(problem, "use --blocks 1, which gives no errors, or write more frames", BAD_DATA)
    far = max(block.displacements(next(block.chunks()))[1] for block in cut)
    if far > paths.FAR:
        problem = f"an atom moves by {far:.2f} of the cell between two frames: its direction is not known"
        raise Fatal(problem, "record frames more often (psiflow sample --every)", BAD_DATA)


def _displacements(result: AnalysisResult, analysis: Analysis, cut: list[paths.Block], elements: list[str]) -> None:
    import numpy as np

    interval = analysis["interval"] or 1.0
    parts = [dynamics.mean_squared_displacements(block, elements) for block in cut]
    times = interval * np.arange(len(next(iter(parts[0].values()))))
    low, high = analysis["fit"] or (0.2 * times[-1], times[-1])
    chosen = (times >= low - 1e-9) & (times <= high + 1e-9) & (times > 0)
    if chosen.sum() < 2:
        problem = f"--fit {low:g}:{high:g} fs has {chosen.sum()} of the times up to {times[-1]:g} fs"
        raise Fatal(problem, "fewer blocks reach longer times (--blocks)", USAGE)
    for element in elements:
        mean = _curve(result, "msd", element, times, [part[element] for part in parts])
        slopes = [dynamics.slope(times[chosen], part[element][chosen]) / 6.0 for part in parts]
        _value(result, "diffusion", element, "Å²/fs", slopes)
        _value(result, "diffusion", element, "1e-9 m²/s", [dynamics.TO_SI * each for each in slopes])
        if (mean[chosen] > 0).all():
            exponent = dynamics.slope(np.log(times[chosen]), np.log(mean[chosen]))
            if not _DIFFUSIVE[0] < exponent < _DIFFUSIVE[1]:
                result["remarks"].append(
                    f"{element}: the mean squared displacement grows with the time to the power of {exponent:.2f} from "
                    f"{low:g} to {high:g} fs, not 1: it does not diffuse there (--fit), or the trajectory is too short"
                )


def _vibrations(result: AnalysisResult, analysis: Analysis, cut: list[paths.Block], elements: list[str]) -> None:
    import numpy as np

    interval = analysis["interval"] or 1.0
    parts = [dynamics.velocities(block, elements, interval) for block in cut]
    if not all(block.path["velocities"] for block in cut):
        result["remarks"].append(
            "the frames have no velocities: they are computed from the positions of neighbouring frames, which "
            f"weakens high frequencies and loses those above {500.0 / interval * dynamics.PER_CM:.0f} cm^-1 "
            "(psiflow sample --velocities)"
        )
    frequencies = parts[0][1]
    for element in elements:
        correlations = [part[0][element] for part in parts]
        times = interval * np.arange(len(correlations[0]))
        first = float(_mean([each[0] for each in correlations])[0])
        if first > 0:
            _curve(result, "vacf", element, times, correlations, first)
    for element in elements:
        _curve(result, "spectrum", element, frequencies, [part[2][element] for part in parts])
    total = _curve(result, "spectrum", "all", frequencies, [sum(part[2].values()) for part in parts])  # type: ignore[misc]
    top = float(frequencies[total.argmax()])
    _value(result, "strongest vibration", "all", "THz", [top])
    _value(result, "strongest vibration", "all", "cm^-1", [top * dynamics.PER_CM])
    _value(result, "resolution", "all", "cm^-1", [float(frequencies[1]) * dynamics.PER_CM])
