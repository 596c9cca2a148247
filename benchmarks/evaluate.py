"""Predictions and optimisations of many frames, against ASE's calculator and optimiser with the same model:

    python benchmarks/evaluate.py [--full] [--model FILE] [--data FILE ...] [--threads N] [--device cuda]

FILE of --model is a MACE model; without one, a model is trained on the spot (its errors do not matter here). Each side
has loaded it; times are those of the processor in one thread, of the clock otherwise. ASE computes, and moves, one
frame after the other. The parts of a prediction are printed, too: checks, graphs, and what the model takes.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from pairs import ratio
from sampling import _box, _trained

REPEATS = 3


def main(
    full: bool = False, model: str = "", data: tuple[str, ...] = (), threads: int = 1, device: str = "cpu"
) -> None:
    """A thousand frames with --full, else fifty."""
    from ase.io import read

    with tempfile.TemporaryDirectory() as name:
        file = model or next(Path(_trained(Path(name)), "member-0").glob("*.model"))
        context = {"device": device, "dtype": None, "threads": threads}
        sets = {path: read(path, ":") for path in data} or {f"{n} atoms of water": [_box(n)] for n in (3, 24)}
        for what, frames in sets.items():
            count = 1000 if full else 50
            _measure(f"{Path(what).name}", [_rattled(frames[i % len(frames)], i) for i in range(count)], file, context)


def _rattled(atoms: Any, seed: int) -> Any:
    atoms = atoms.copy()
    atoms.rattle(0.01, seed=seed)
    return atoms


def _measure(name: str, frames: list[Any], file: Any, context: dict[str, Any]) -> None:
    from ase.optimize import LBFGS

    from psiflow_cli.models.mace import inference
    from psiflow_cli.worker.models import predictions
    from psiflow_cli.worker.structures import relax

    model, calculator = inference.loaded(str(file), context), inference.calculator(str(file), context)
    wires = [_wire(atoms) for atoms in frames]
    clock = time.process_time if context["threads"] == 1 and context["device"] == "cpu" else time.perf_counter

    def took(act: Callable[[], object]) -> float:
        begin = clock()
        act()
        return 1e3 * (clock() - begin) / len(frames)

    def by_ase() -> None:
        for atoms in frames:
            atoms.calc = calculator
            atoms.get_forces()
            if atoms.pbc.all():
                atoms.get_stress()

    def moved_by_ase() -> None:
        for atoms in frames[:few]:
            atoms = atoms.copy()
            atoms.calc = calculator
            LBFGS(atoms, logfile=None).run(fmax=0.0, steps=10)

    few = max(1, len(frames) // 10)
    settings: Any = {
        **{"fmax": 1e-9, "smax": 1e9, "steps": 10, "cell": "fixed", "pressure": 0.0, "keep_symmetry": False},
        **{"symprec": 0.01, "optimizer": "lbfgs", "elements": None},
    }
    weights: Any = {"family": "psiflow_cli.models.mace", "members": [str(file)]}
    pairs = [(took(lambda: inference.predict(wires, [str(file)], context)), took(by_ase)) for _ in range(REPEATS + 1)][
        1:
    ]
    ratio(f"evaluate, {name}, ms a frame", pairs, "<= 1.05")
    print(f"  checks: {took(lambda: [predictions.unfit(each, model.elements) for each in wires]):.3g} ms a frame")
    print(f"  graphs: {took(lambda: [model.graph(each) for each in wires]):.3g} ms a frame")
    pairs = [
        (took(lambda: relax.relax(wires[:few], weights, settings, context)), took(moved_by_ase)) for _ in range(REPEATS)
    ]
    ratio(f"relax, {name}, ms a frame", pairs, "<= 1.05")


def _wire(atoms: Any) -> dict[str, Any]:
    return {
        "id": "0" * 16, "symbols": atoms.get_chemical_symbols(), "positions": atoms.positions.tolist(),
        "cell": atoms.cell.tolist() if atoms.cell.rank else None, "pbc": atoms.pbc.tolist(),
    }  # fmt: skip


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--full", action="store_true", help="a thousand frames")
    parser.add_argument("--model", default="", metavar="FILE")
    parser.add_argument("--data", action="append", default=[], metavar="FILE")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--device", default="cpu")
    given = parser.parse_args()
    sys.exit(main(given.full, given.model, tuple(given.data), given.threads, given.device))
