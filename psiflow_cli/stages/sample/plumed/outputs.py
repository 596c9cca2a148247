"""What PLUMED has printed and deposited, beside the trajectory: `OUT.colvar` and `OUT.hills`, in PLUMED's own format.

The walkers come one after another, as in the trajectory, each with `#! SET walker N` behind its first header.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from psiflow_cli.errors import BadData
from psiflow_cli.stages.core import single
from psiflow_cli.stages.sample.plumed import files
from psiflow_cli.stages.sample.trajectories import Recorded
from psiflow_cli.values.quantities import TABLES
from psiflow_cli.worker.md import checkpoint
from psiflow_cli.worker.md.plumed.actions import OPES, SHARING

if TYPE_CHECKING:
    from psiflow_cli.stages.core.workspace import Workspace

WALKER, ENERGY_UNIT, TIME_UNIT = "walker", "energy_unit_eV", "time_unit_ps"
"""Constants in the headers that PLUMED does not write: whose lines follow, and PLUMED's units of energy and time."""
UNIT_NAMES = {ENERGY_UNIT: ("energies", "eV"), TIME_UNIT: ("times", "ps")}
SHARED = "clock"
"""The column of hills of walkers that filled one bias, which PLUMED writes of several walkers."""
_PACKED = (".gz", ".zst")
_KJ_PER_MOL = TABLES["eV"]["kJ/mol"]
_UNITS = {
    "kj/mol": _KJ_PER_MOL, "j/mol": _KJ_PER_MOL / 1000, "kcal/mol": TABLES["eV"]["kcal/mol"], "ev": 1.0,
    "ha": TABLES["eV"]["hartree"],
}  # fmt: skip
"""PLUMED's names of units of energy (its `tools/Units.cpp`), in eV."""
_TIMES = {"ps": 1.0, "ns": 1000.0, "fs": 0.001, "atomic": 2.418884326509e-5}
"""Its units of time, in ps."""


def names(path: str, output: str) -> dict[str, str]:
    """The outputs by what PLUMED's input calls them; none beside frames on stdout.

    The only file of a kind is `OUT.colvar` (PRINT) or `OUT.hills` (a bias), another one `OUT.` with its own name.
    """
    if output == "-":
        return {}
    kinds: dict[str, list[str]] = {"colvar": [], "hills": []}
    for _, action in files.placed(path):
        if action.name in ("PRINT", *SHARING, *OPES):
            kind = kinds["colvar" if action.name == "PRINT" else "hills"]
            kind += [name for name in action.appended_files if "/" not in name]
    place = Path(output)
    stem = place.with_suffix("") if place.suffix in _PACKED else place
    beside = str(stem.with_suffix("") if stem.suffix else stem)
    return {
        name: f"{beside}.{kind if len(written) == 1 else name}" for kind, written in kinds.items() for name in written
    }


def units(path: str) -> dict[str, float]:
    """PLUMED's units under an input, by their constants: kJ/mol and ps if no UNITS says otherwise; no unknown ones."""
    action = next((action for _, action in files.placed(path) if action.name == "UNITS"), None)
    energy, time = (action.get(key, "") if action else "" for key in ("ENERGY", "TIME"))
    known = {
        ENERGY_UNIT: _unit(energy.lower() or "kj/mol", _UNITS, _KJ_PER_MOL),
        TIME_UNIT: _unit(time or "ps", _TIMES, 1.0),
    }
    return {name: unit for name, unit in known.items() if unit}


def constant(place: str, name: str, word: str) -> float:
    """A unit that psiflow has written into a file. Raises BadData where it is no longer one."""
    try:
        unit = float(word)
    except ValueError:
        unit = 0.0
    if not 0 < unit < math.inf:
        raise BadData(f"{place}: {name} is {word!r}", "restore the line that psiflow wrote")
    return unit


def _unit(word: str, table: Mapping[str, float], default: float) -> float | None:
    """A named unit, or a number of PLUMED's default units."""
    try:
        return table[word] if word in table else float(word) * default
    except ValueError:
        return None


def publish(
    workspace: Workspace, paths: Sequence[Recorded], outputs: dict[str, str], constants: Mapping[str, float]
) -> list[str]:
    """Write those that hold something, with `units` as constants; remove what an earlier run wrote of the others."""
    published = []
    for name, output in outputs.items():
        unpublished = workspace.job.folder / "plumed.part"
        with unpublished.open("w", encoding="utf-8") as stream:
            for walker, file, length in _counted(paths, name):
                stream.writelines(_of_walker(walker, file, length, constants))
        if unpublished.stat().st_size:
            single.publish_copy(workspace, unpublished, output)
            published.append(output)
        else:
            workspace.run.remove_own(output)
        unpublished.unlink()
    return published


def _counted(paths: Sequence[Recorded], name: str) -> Iterator[tuple[int, Path, int]]:
    """(walker, file, length) of each walker, as far as its checkpoint counts."""
    folder: Path | None = None
    more: list[dict[str, object]] = []
    first = 0
    for path in paths:
        number = path.walker.number
        if path.folder != folder:
            folder, last, first = path.folder, checkpoint.read(path.folder), number
            more = [state.more for state in last.walkers] if last else []
        state = more[number - first].get("plumed") if more else None
        if not isinstance(state, dict):
            continue
        for own in {name, f"{name}.{number}"} & state["files"].keys():  # the latter is that of a shared bias
            yield number, checkpoint.plumed_folder(path.folder, number) / own, state["files"][own]["bytes"]


def _of_walker(walker: int, file: Path, length: int, constants: Mapping[str, float]) -> Iterator[str]:
    """The lines of a walker's file; a header that PLUMED wrote again, as it does where it goes on, is left out."""
    header: set[str] = set()
    with file.open("rb") as stream:
        while stream.tell() < length:
            line = stream.readline().decode()
            if line.startswith("#"):
                if line in header:
                    continue
                if not header:
                    line += f"#! SET {WALKER} {walker}\n"
                    line += "".join(f"#! SET {name} {unit:.12g}\n" for name, unit in constants.items())
                header.add(line.split("\n", 1)[0] + "\n")
            yield line
