"""What is drawn for the page of `psiflow report`."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from psiflow_cli.worker.plots import parity, style, time_series
from psiflow_cli.worker.structures import conversion

if TYPE_CHECKING:
    from psiflow_cli.messages import DrawnSeries, Frame, Pictures, RmseOfModel, Viewer

_COLUMNS = 5
"""So many frames are drawn side by side."""
_UNITS = {"energy": "meV/atom", "forces": "meV/Å", "stress": "MPa"}


def draw(
    series: list[RmseOfModel],
    frames: list[Frame],
    errors: list[float],
    sources: dict[str, str],
    dynamics: dict[str, DrawnSeries],
    folder: str,
    sheets: list[str],
) -> Pictures:
    """*worker*: the errors of each evaluation, parity plots of the files in `sources`, and series of `dynamics`.

    `frames` are to be looked at, with the largest error of a force in each (eV/Å).
    """
    viewer = _viewer(frames, errors, Path(folder)) if frames else {}
    pictures: Pictures = {"errors": "", "plots": {}, "series": {}, "worst": "", "viewer": viewer}
    try:
        if frames:
            pictures["worst"] = str(Path(folder, "worst.png"))
            with style.applied(sheets):
                _structures(frames, errors, pictures["worst"])
        if len(series) > 1:
            pictures["errors"] = str(Path(folder, "errors.png"))
            with style.applied(sheets):
                _errors(series, pictures["errors"])
        for name, source in sources.items():
            pictures["plots"][name] = str(Path(source).with_suffix(".png"))
            parity.parity_file(source, pictures["plots"][name], sheets)
        for name, drawn in dynamics.items():
            pictures["series"][name] = str(Path(drawn["source"]).with_suffix(".png"))
            time_series.draw(drawn["source"], pictures["series"][name], sheets, **cast("Any", drawn["shown"]))
    except ModuleNotFoundError as error:
        missing = (
            f"No pictures: {error.name} is not installed in the workers' environment (it comes with the extra mace)."
        )
        return {**pictures, "errors": "", "plots": {}, "series": {}, "worst": "", "missing": missing}
    return pictures


def _structures(frames: list[Frame], errors: list[float], path: str) -> None:
    """The frames side by side, each as ASE draws it, seen a little from above."""
    from ase.visualize.plot import plot_atoms

    columns = min(len(frames), _COLUMNS)
    figure, axes = style.axes(-(-len(frames) // columns), columns, 2.2, 2.4)
    for axis in axes.flat:
        axis.set_axis_off()
    for number, (axis, frame, error) in enumerate(zip(axes.flat, frames, errors, strict=False), 1):
        atoms = conversion.to_ase(frame)
        plot_atoms(atoms, axis, rotation="10x,-20y", radii=0.7, show_unit_cell=2 if atoms.cell.rank == 3 else 0)
        axis.set_title(f"{number}: {1e3 * error:.0f} meV/Å", fontsize="small")
    style.save(figure, path)


def _errors(series: list[RmseOfModel], path: str) -> None:
    rmse = [cast("dict[str, float]", each) for each in series]
    quantities = [q for q in _UNITS if any(q in each for each in rmse)]
    figure, axes = style.axes(1, len(quantities), 4.2, 3.2)
    names = _short([each["name"] for each in series])
    for index, (axis, quantity) in enumerate(zip(axes[0], quantities, strict=True)):
        places = [number for number, each in enumerate(rmse) if quantity in each]
        axis.plot(places, [rmse[n][quantity] for n in places], "o-", color=style.colour(index))
        axis.set(title=quantity, ylabel=f"RMSE ({_UNITS[quantity]})")
        turned = max(map(len, names)) > 8
        axis.set_xticks(range(len(names)), names, rotation=30 if turned else 0, ha="right" if turned else "center")
        axis.margins(0.1)
        axis.set_ylim(bottom=0)
        axis.grid(True, alpha=0.25)
    style.save(figure, path)


def _short(names: list[str]) -> list[str]:
    """The parts of paths that tell them apart."""
    parts = [name.split("/") for name in names]
    depth = min(map(len, parts))
    differing = [k for k in range(depth) if len({each[k] for each in parts}) > 1]
    return ["/".join(each[k] for k in differing) if differing else "/".join(each) for each in parts]


def _viewer(frames: list[Frame], errors: list[float], folder: Path) -> Viewer:
    try:
        import chemiscope
    except ImportError:
        missing = "Install chemiscope in the workers' environment (the extra report) to view these structures here."
        return {"missing": missing}
    data = chemiscope.create_input(
        structures=[conversion.to_ase(frame) for frame in frames],
        metadata={"name": "largest force errors of the model"},
        properties={"error": {"target": "structure", "values": errors, "units": "eV/Å"}},
        settings={"structure": [{"unitCell": True}]},
    )
    path = folder / "frames.json"
    path.write_text(json.dumps(data))
    script = shutil.copy(Path(chemiscope.__file__).parent / "sphinx" / "static" / "chemiscope.min.js", folder)
    return {"data": str(path), "script": str(script)}
