"""What PLUMED costs in the batched engine: steps of 64 walkers of 24 atoms with and without a bias, in one run.

    python benchmarks/plumed_cost.py [BUNDLE] [--walkers 64] [--repeats 15] [--steps 5]

Times are those of the process on its CPU, in one thread. Without a bundle of MACE a small one is trained. The bias is
METAD on two distances, and ASE's own calculator for PLUMED has the same. PLUMED_KERNEL must name the library.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import tempfile
import time
from pathlib import Path
from typing import Any

import sampling
from pairs import ratio, record

TEXT = (
    "UNITS LENGTH=A ENERGY=eV\nd: DISTANCE ATOMS=1,4\ne: DISTANCE ATOMS=1,7\n"
    "METAD ARG=d,e SIGMA=0.1,0.1 HEIGHT=0.01 PACE=5 BIASFACTOR=10 TEMP=50\nPRINT ARG=d,e FILE=COLVAR STRIDE=10\n"
)


def main(bundle: str | None, walkers: int, repeats: int, steps: int) -> None:
    """The ratio of both times of a step, and the cost for one walker by itself."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        model = bundle or sampling._trained(folder)
        times = _in_turns(folder, model, walkers, repeats, steps)
        ratio(f"P15 PLUMED, {walkers} walkers of 24 atoms, CPU s per step", times, "<= 1.15")
        record("PLUMED, one walker, CPU µs per step", 1e6 * _ours(folder / "ours", model, walkers), "")
        record("the same by ASE's calculator", 1e6 * _ase(folder), "")


def _job(run: Path, model: str, walkers: int, text: str | None) -> dict[str, Any]:
    job: dict[str, Any] = sampling._job({"atoms": 24, "family": "mace", "bundle": model, "walkers": walkers})
    job.update(folder=str(run), plumed=text, batch=walkers, steps=10**6, block=10**6, every=10)
    job["limits"] = {"force": None, "temperature": None, "distance": None, "spread": None}
    return job


def _in_turns(folder: Path, model: str, walkers: int, repeats: int, steps: int) -> list[tuple[float, float]]:
    """CPU seconds of a step with and without PLUMED, of two batches that move by `steps` steps in turns."""
    from psiflow_cli.samplers.torchsim.motion import BatchMotion
    from psiflow_cli.worker.md import checkpoint

    context: Any = {"scratch": "", "device": "cpu", "dtype": None, "threads": 1}

    def move(motion: BatchMotion, end: int) -> float:
        begin, count = time.process_time(), end - motion.step
        motion.move(end)
        return (time.process_time() - begin) / count

    with contextlib.ExitStack() as stack:
        batches = []
        for name, text in (("biased", TEXT), ("free", None)):
            job: Any = _job(folder / name, model, walkers, text)
            group = stack.enter_context(checkpoint.open_group(job))
            group.open()
            batches.append(BatchMotion(job, context, group))
            stack.callback(batches[-1].close)
            move(batches[-1], steps)
        biased, free = batches
        return [(move(biased, n * steps), move(free, n * steps)) for n in range(2, repeats + 2)]


def _ours(run: Path, model: str, walkers: int, steps: int = 200) -> float:
    """Seconds that PLUMED takes for a walker and a step, as the batched engine asks it, without a model."""
    import torch

    from psiflow_cli.samplers.torchsim.biases import Biases
    from psiflow_cli.samplers.torchsim.walkers import BatchedWalker, gathered

    run.mkdir()
    job: Any = _job(run, model, walkers, TEXT)
    group = [BatchedWalker(job, walker, None) for walker in job["walkers"]]
    biases, state = Biases(job, group), gathered(group, torch.device("cpu"))
    for step in range(steps + 10):
        if step == 10:
            begin = time.process_time()
        state.positions = state.positions + 1e-4
        state.forces = torch.zeros_like(state.positions)
        biases.add(state, step)
        biases.update(checkpoint=False)
    return (time.process_time() - begin) / (steps * walkers)


def _ase(folder: Path, steps: int = 200) -> float:
    """Seconds of a call of ASE's calculator, of which almost nothing is the model's."""
    import numpy as np
    from ase import units
    from ase.calculators.calculator import Calculator
    from ase.calculators.plumed import Plumed

    class Free(Calculator):
        implemented_properties = ["energy", "forces", "stress", "free_energy"]  # noqa: RUF012

        def calculate(self, atoms: Any = None, properties: Any = (), system_changes: Any = ()) -> None:
            zero = {"energy": 0.0, "free_energy": 0.0}
            self.results = {**zero, "forces": np.zeros((len(atoms), 3)), "stress": np.zeros(6)}

    os.chdir(folder)
    atoms = sampling._box(24)
    free: Any = Free
    calc = Plumed(free(), TEXT.strip().split("\n"), 0.5 * units.fs, atoms, kT=50.0 * units.kB, log="ase.log")
    for step in range(steps + 10):
        if step == 10:
            begin = time.process_time()
        atoms.positions += 1e-4
        calc.istep = step
        calc.calculate(atoms, ["energy", "forces"], ["positions"])
    return (time.process_time() - begin) / steps


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("bundle", nargs="?")
    parser.add_argument("--walkers", type=int, default=64)
    parser.add_argument("--repeats", type=int, default=15)
    parser.add_argument("--steps", type=int, default=5)
    main(**vars(parser.parse_args()))
