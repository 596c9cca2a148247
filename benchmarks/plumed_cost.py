"""What PLUMED costs in the batched engine: steps of 64 walkers of 24 atoms with and without a bias, in one run.

    python benchmarks/plumed_cost.py [BUNDLE] [--walkers 64] [--repeats 3]

Without a bundle of MACE a small one is trained. The bias is METAD on two distances. PLUMED_KERNEL must name the
library.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from pathlib import Path
from typing import Any

import sampling
from pairs import ratio

STEPS = 12
TEXT = (
    "UNITS LENGTH=A ENERGY=eV\nd: DISTANCE ATOMS=1,4\ne: DISTANCE ATOMS=1,7\n"
    "METAD ARG=d,e SIGMA=0.1,0.1 HEIGHT=0.01 PACE=5 BIASFACTOR=10 TEMP=50\nPRINT ARG=d,e FILE=COLVAR STRIDE=10\n"
)


def main(bundle: str | None, walkers: int, repeats: int) -> None:
    """The ratio of both times of a step."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        model = bundle or sampling._trained(folder)
        times = [
            tuple(_step(folder / f"{number}-{bool(text)}", model, walkers, text) for text in (TEXT, None))
            for number in range(repeats)
        ]
    ratio(f"P15 PLUMED, {walkers} walkers of 24 atoms, s per step", times, "<= 1.15")  # type: ignore[arg-type]


def _step(run: Path, model: str, walkers: int, text: str | None) -> float:
    """Seconds of a step: of a long block less those of a short one."""
    from psiflow_cli.samplers import torchsim

    job: dict[str, Any] = sampling._job({"atoms": 24, "family": "mace", "bundle": model, "walkers": walkers})
    job.update(folder=str(run), plumed=text, batch=walkers, steps=10**6, every=10)
    job["limits"] = {"force": None, "temperature": None, "distance": None, "spread": None}
    context: Any = {"scratch": "", "device": "cpu", "dtype": None, "threads": 1, "cores": 1}
    seconds = []
    for block in (1, 1, 1 + STEPS):
        begin = time.perf_counter()
        torchsim.advance({**job, "block": block}, context)  # type: ignore[typeddict-item]
        seconds.append(time.perf_counter() - begin)
    return (seconds[2] - seconds[1]) / STEPS


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("bundle", nargs="?")
    parser.add_argument("--walkers", type=int, default=64)
    parser.add_argument("--repeats", type=int, default=3)
    main(**vars(parser.parse_args()))
