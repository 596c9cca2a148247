"""Walkers in npt, moved together and one after another in ASE, in one thread of one process:

python benchmarks/moving_cells.py [FAMILY=BUNDLE]

The times are a processor's, so that a busy machine counts for both alike. Without a bundle a MACE model is trained on
the spot (its errors do not matter here).
"""

from __future__ import annotations

import os
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import sampling
from pairs import ratio

WALKERS, ATOMS, BLOCK = 16, 24, 20
KINDS: tuple[dict[str, Any], ...] = (
    {"thermostat": "langevin", "cell": "isotropic"},
    {"thermostat": "langevin", "cell": "flexible"},
    {"thermostat": "nose-hoover", "cell": "flexible"},
)


def main(family: str = "mace", bundle: str | None = None) -> None:
    """Seconds of a step of one walker."""
    from psiflow_cli.samplers import ase, torchsim

    with tempfile.TemporaryDirectory() as name:
        bundle = bundle or sampling._trained(Path(name))
        for kind in KINDS:
            task = {"family": family, "bundle": str(Path(bundle).absolute()), "atoms": ATOMS, "walkers": WALKERS}
            together = _steps(torchsim, task, WALKERS, f"{name}/together-{len(os.listdir(name))}", kind)
            alone = _steps(ase, task, 2, f"{name}/alone-{len(os.listdir(name))}", kind)
            pairs = [(next(alone), next(together)) for _ in range(4)][1:]
            words = " ".join(kind.values())
            ratio(f"npt {words}, {WALKERS} x {ATOMS} atoms: ASE s / batched s", pairs, ">= 2")


def _steps(engine: Any, task: dict[str, Any], walkers: int, folder: str, kind: dict[str, Any]) -> Any:
    """Seconds of a processor for a step of one walker, block by block."""
    more = {"ensemble": "npt", "pressure": 1.0, "barostat_time": 1000.0, "thermostat_time": 100.0, "chain_length": 3}
    job = {**sampling._job({**task, "walkers": walkers}), **more, **kind, "folder": folder, "batch": walkers}
    context = {"scratch": "", "device": "cpu", "dtype": None, "threads": 1, "cores": 1}
    while True:
        begin = time.process_time()
        engine.advance({**job, "steps": 10**6, "block": BLOCK}, context)
        yield (time.process_time() - begin) / BLOCK / walkers


if __name__ == "__main__":
    main(*sys.argv[1].split("=", 1)) if sys.argv[1:] else main()
