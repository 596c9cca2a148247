"""Path integrals: a step of psiflow's i-PI engine against one of the command `i-pi` with the same model and beads:

    python benchmarks/pimd.py [--full] [MODEL]

MODEL is a file of MACE's; without one an untrained model is made (its errors do not matter here). Both sides move a box
of water in one thread, call the model through the same ASE calculator, and write every tenth step; start-up and the
first step do not count. --full measures 24 and 96 atoms and more beads.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from pairs import ratio

STEPS = 100
FEMTOSECOND = 0.5
KELVIN = 300.0
FAMILY = "psiflow_cli.models.mace"
DRIVER = '''"""i-PI's own way to a model: psiflow's ASE calculator in a driver of i-PI's."""

import os

from ipi.pes._ase import ASEDriver
from psiflow_cli.models.mace import calculator

__DRIVER_NAME__ = "custom"
__DRIVER_CLASS__ = "Driver"


class Driver(ASEDriver):
    def check_parameters(self):
        super().check_parameters()
        self.ase_calculator = calculator(os.environ["MODEL"], {"device": "cpu", "dtype": None, "threads": 1})

    def compute_structure(self, cell, pos):
        """As i-PI's own, whose way of asking fails with MACE's calculator and ASE 3.29."""
        atoms = self.template_ase
        atoms.cell[:], atoms.positions[:] = self.convert_units(cell, pos)
        atoms.calc = self.ase_calculator
        found = {"energy": atoms.get_potential_energy(), "forces": atoms.get_forces(), "stress": atoms.get_stress()}
        return self.post_process(found, atoms)
'''
INPUT = f"""<simulation verbosity='medium'>
  <output prefix='out'>
    <trajectory filename='pos' stride='10'> positions </trajectory>
    <properties filename='table' stride='10'> [step, time, temperature, potential, volume] </properties>
  </output>
  <total_steps> {STEPS + 1} </total_steps>
  <prng><seed> 1 </seed></prng>
  <ffdirect name='model'>
    <pes> custom </pes> <pes_path> driver.py </pes_path> <parameters> {{template: start.xyz}} </parameters>
  </ffdirect>
  <system>
    <initialize nbeads='BEADS'>
      <file mode='ase' units='angstrom'> start.xyz </file>
      <velocities mode='thermal' units='kelvin'> {KELVIN} </velocities>
    </initialize>
    <forces><force forcefield='model'/></forces>
    <ensemble><temperature units='kelvin'> {KELVIN} </temperature></ensemble>
    <motion mode='dynamics'>
      <dynamics mode='nvt'>
        <timestep units='femtosecond'> {FEMTOSECOND} </timestep>
        <thermostat mode='pile_l'><tau units='femtosecond'> 100 </tau></thermostat>
      </dynamics>
    </motion>
  </system>
</simulation>
"""


def main(full: bool = False, model: str | None = None) -> None:
    """Pairs of seconds for each size."""
    os.environ.update(OMP_NUM_THREADS="1", MKL_NUM_THREADS="1")
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        model = str(Path(model).absolute()) if model else _untrained(folder / "water.model")
        for atoms, beads in ((24, 4), (24, 16), (96, 4)) if full else ((24, 4),):
            _box(atoms, folder / "start.xyz")
            pairs = [(_ours(folder, model, beads), _theirs(folder, model, beads)) for _ in range(3)]
            ratio(f"path integrals, {beads} beads of {atoms} atoms, s a step", pairs, "<= 1.05")


def _box(atoms: int, path: Path) -> None:
    """So many atoms of water in a box of its density."""
    from ase.build import molecule

    one = molecule("H2O")
    one.set_cell([3.104] * 3)
    one.pbc = True
    box = one * {24: (2, 2, 2), 96: (4, 4, 2)}[atoms]
    box.write(path, format="extxyz")


def _untrained(path: Path) -> str:
    subprocess.run([sys.executable, __file__, "--untrained", str(path)], check=True)
    return str(path)


def _make(path: str) -> None:
    import mace  # noqa: F401  (first: it lets torch load what e3nn has pickled)
    import numpy as np
    import torch
    from e3nn import o3
    from mace import modules

    torch.manual_seed(0)
    torch.set_default_dtype(torch.float64)
    kinds = modules.interaction_classes
    made = modules.ScaleShiftMACE(
        **{"r_max": 5.0, "num_bessel": 8, "num_polynomial_cutoff": 5, "max_ell": 2, "correlation": 2},
        interaction_cls=kinds["RealAgnosticResidualInteractionBlock"],
        interaction_cls_first=kinds["RealAgnosticInteractionBlock"],
        **{"num_interactions": 2, "num_elements": 2, "hidden_irreps": o3.Irreps("16x0e + 16x1o")},
        **{"MLP_irreps": o3.Irreps("16x0e"), "gate": torch.nn.functional.silu, "avg_num_neighbors": 30},
        **{"atomic_energies": np.array([-13.0, -430.0]), "atomic_numbers": [1, 8]},
        **{"atomic_inter_scale": [0.1], "atomic_inter_shift": [0.0]},
    )
    torch.save(made, path)


def _ours(folder: Path, model: str, beads: int) -> float:
    command = [sys.executable, __file__, "--inner", json.dumps({"folder": str(folder), "model": model, "beads": beads})]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    return float(done.stdout.splitlines()[-1])


def _inner(task: dict[str, Any]) -> None:
    from ase.io import read

    from psiflow_cli.samplers import ipi

    start = read(f"{task['folder']}/start.xyz")
    frame = {
        **{"id": "0" * 16, "symbols": start.get_chemical_symbols(), "positions": start.positions.tolist()},
        **{"cell": start.cell.tolist(), "pbc": start.pbc.tolist()},
    }
    job = {
        "folder": tempfile.mkdtemp(dir=task["folder"]),
        "walkers": [{"walker": 0, "start": frame, "temperature": [KELVIN] * 2}],
        "model": {"family": FAMILY, "members": [task["model"]]},
        **{"ensemble": "nvt", "thermostat": "langevin", "timestep": FEMTOSECOND, "friction": 10.0, "seed": 1},
        **{"beads": task["beads"], "plumed": None, "steps": STEPS + 1, "every": 10, "pressure": 0.0},
        "limits": {"force": 1e6, "temperature": 1e6, "distance": 0.1, "spread": None},
    }
    context = {"device": "cpu", "dtype": None, "threads": 1, "scratch": ""}
    for block in (1, STEPS):
        said = ipi.advance({**job, "block": block}, context)
        assert said["walkers"][0]["stopped"] is None, said
    print(said["seconds"] / STEPS)


def _theirs(folder: Path, model: str, beads: int) -> float:
    (folder / "driver.py").write_text(DRIVER)
    (folder / "input.xml").write_text(INPUT.replace("BEADS", str(beads)))
    command = [str(Path(sys.executable).with_name("i-pi")), "input.xml"]
    done = subprocess.run(command, capture_output=True, text=True, cwd=folder, env={**os.environ, "MODEL": model})
    said = re.findall(r"Average timings at MD step +(\d+)\. t/step: (\S+)", done.stdout)
    if not said or said[-1][0] != str(STEPS):
        sys.exit(done.stdout[-2000:] + done.stderr[-2000:])
    return float(said[-1][1])


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="Path integrals against i-pi.")
    parser.add_argument("model", nargs="?", help="a file of MACE's")
    parser.add_argument("--full", action="store_true", help="larger boxes, and more beads")
    parser.add_argument("--inner", help=argparse.SUPPRESS)
    parser.add_argument("--untrained", help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.inner:
        _inner(json.loads(given.inner))
    elif given.untrained:
        _make(given.untrained)
    else:
        main(given.full, given.model)
