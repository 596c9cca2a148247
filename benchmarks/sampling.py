"""P7 and P8: molecular dynamics of many walkers, and of one, against ASE's loop with the same model:

    python benchmarks/sampling.py [--full] [FAMILY=BUNDLE ...] [--python FAMILY=PYTHON ...] [--site FILE]

P7 is `psiflow sample` with K walkers, as its own measurement plans them, against K runs of ASE's Langevin integrator,
one after another in a process that may use all cores, too; the start of both is left out. P8 is one walker, in one
thread, against as many bare calls of the model. Both sides write every tenth frame. Without a bundle a MACE model is
trained on the spot (its errors do not matter here).
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import water
from pairs import ratio, seconds

SIZES = (3, 24, 96)
WALKERS = (8, 32)
GOALS = {3: ">= 4", 24: ">= 2", 96: ">= 0.95"}
STEPS = {3: 200, 24: 40, 96: 10}
"""Of P7, which takes the difference of two runs."""
BLOCK_STEPS = {3: 400, 24: 160, 96: 40}
"""Of P8: a block of seconds, as the files at its end take 0.1 s; in a real run one takes minutes."""
KELVIN = 50.0
REPEATS = 3


def main(
    full: bool = False,
    bundles: dict[str, str] | None = None,
    pythons: dict[str, str] | None = None,
    site: str = "local",
) -> None:
    """More walkers with --full."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        for family, bundle in (bundles or {"mace": _trained(folder)}).items():
            python = (pythons or {}).get(family, sys.executable)
            for atoms in SIZES:
                task = {"family": family, "bundle": str(Path(bundle).absolute()), "atoms": atoms, "walkers": 1}
                ratio(f"P8 {family}, {atoms} atoms, s", _inner(python, folder, task, "P8")["pairs"], "<= 1.05")
                for walkers in WALKERS if full else WALKERS[:1]:
                    pairs, how = _many(python, folder, {**task, "walkers": walkers}, site)
                    name = f"P7 {family}, {walkers} walkers of {atoms} atoms ({how}), steps/s"
                    ratio(name, pairs, GOALS[atoms])


def _many(python: str, folder: Path, task: dict[str, Any], site: str) -> tuple[list[tuple[float, float]], str]:
    """Pairs of steps a second (psiflow, ASE), and how psiflow moved the walkers."""
    from ase.io import write

    write(folder / "start.xyz", _box(task["atoms"]), format="extxyz")
    steps, count = STEPS[task["atoms"]], task["walkers"]
    command = [water.PSIFLOW, "sample", "start.xyz", "--model", task["bundle"], "--walkers", str(count), "--json"]
    command += ["--site", site, "--temperature", str(KELVIN), "--max-temperature", "1e6", "--max-force", "1e4"]

    def took(length: int, *more: str) -> tuple[float, dict[str, Any]]:
        shutil.rmtree(folder / "o.xyz.run", ignore_errors=True)
        (folder / "o.xyz").unlink(missing_ok=True)
        begin = time.perf_counter()
        argv = [*command, "--steps", str(length), "-o", "o.xyz", *more]
        done = subprocess.run(argv, cwd=folder, capture_output=True, text=True)
        if done.returncode:
            sys.exit(done.stderr)
        return time.perf_counter() - begin, json.loads(done.stdout)

    _, said = took(10)
    plan = ["--engine", said["engine"], *(["--batch", str(said["batch"])] if said["engine"] != "ase" else [])]
    pairs = []
    for _ in range(REPEATS):
        short, _ = took(10, *plan)
        long, _ = took(10 + 5 * steps, *plan)
        peer = _inner(python, folder, task, "P7")["rate"]
        pairs.append((5 * steps * count / (long - short), peer))
    return pairs, f"{said['engine']}, {said['batch']} together"


def _trained(folder: Path) -> str:
    water.write(folder / "water.xyz", 1)
    for command in (
        ["rattle", "water.xyz", "-n", "12", "-o", "rattled.xyz"],
        ["label", "rattled.xyz", "--reference", "xtb", "-o", "labelled.xyz"],
        ["train", "labelled.xyz", "--arch", "mace", "--e0s", "average", "--set", "max_num_epochs=2", "-o", "m.model"],
    ):
        seconds([water.PSIFLOW, *command], cwd=str(folder))
    return str(folder / "m.model")


def _inner(python: str, folder: Path, task: dict[str, Any], what: str) -> dict[str, Any]:
    """A measurement in a process of the family's own environment; P8 in one thread."""
    command = [python, __file__, "--inner", what, json.dumps({**task, "folder": str(folder)})]
    env = {**os.environ, **({"OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"} if what == "P8" else {})}
    done = subprocess.run(command, capture_output=True, text=True, env=env)
    if done.returncode:
        sys.exit(done.stderr)
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return found


def _one(task: dict[str, Any]) -> dict[str, Any]:
    """{"pairs": seconds of one walker by psiflow's engine, and of as many calls of the model}."""
    from psiflow_cli.samplers.ase import advance

    context = {"scratch": task["folder"], "device": "cpu", "dtype": None, "threads": 1, "cores": 1}
    steps, count = BLOCK_STEPS[task["atoms"]], iter(range(10**6))
    job = {**_job(task), "steps": steps}

    def ours() -> float:
        one = {**job, "block": steps, "folder": f"{task['folder']}/{os.getpid()}-{next(count)}"}
        begin = time.perf_counter()
        (walker,) = advance(one, context)["walkers"]
        assert walker["step"] == steps, walker
        return time.perf_counter() - begin

    peer = _bare(task, steps)
    ours(), peer()
    return {"pairs": [(ours(), peer()) for _ in range(5)]}


def _job(task: dict[str, Any]) -> dict[str, Any]:
    box = _box(task["atoms"])
    start = {
        "id": "0" * 16,
        "symbols": box.get_chemical_symbols(),
        "positions": box.positions.tolist(),
        "cell": box.cell.tolist() if box.pbc.all() else None,
        "pbc": box.pbc.tolist(),
    }
    members = sorted(str(path) for path in Path(task["bundle"]).glob("member-*"))
    return {
        "walkers": [{"walker": i, "start": start, "temperature": [KELVIN] * 2} for i in range(task["walkers"])],
        "model": {"family": f"psiflow_cli.models.{task['family']}", "members": members},
        **{"ensemble": "nvt", "thermostat": "langevin", "timestep": 0.5, "friction": 10.0, "pressure": 1.0},
        **{"steps": STEPS[task["atoms"]], "every": 10, "seed": 0, "beads": 1, "plumed": None},
        **{"ramp_steps": None, "exchange": None, "limits": {"force": 1e4, "temperature": 1e6, "distance": 0.4}},
    }


def _box(atoms: int) -> Any:
    """A water molecule, or as many in a cubic box at the density of water."""
    from ase.build import molecule

    one = molecule("H2O")
    count = atoms // 3
    if count == 1:
        return one
    edge = 3.104  # Å, of the cube that one molecule has to itself
    one.set_cell([edge] * 3)
    one.pbc = True
    return one * {8: (2, 2, 2), 32: (4, 4, 2)}[count]


def _calculator(task: dict[str, Any], threads: int) -> Any:
    from psiflow_cli.worker.models.calculators import calculator

    return calculator(_job(task)["model"], {"device": "cpu", "dtype": None, "threads": threads})


def _loop(task: dict[str, Any]) -> dict[str, Any]:
    """{"rate": steps a second of ASE's own loop}: each walker after the other, every tenth frame appended to a file."""
    import numpy as np
    from ase import units
    from ase.io import write
    from ase.md.langevinbaoab import LangevinBAOAB
    from ase.md.velocitydistribution import MaxwellBoltzmannDistribution

    steps, path = STEPS[task["atoms"]], f"{task['folder']}/ase-{os.getpid()}.xyz"
    calc = _calculator(task, len(os.sched_getaffinity(0)))

    def run() -> float:
        begin = time.perf_counter()
        for number in range(min(task["walkers"], 8)):
            atoms, rng = _box(task["atoms"]), np.random.default_rng(number)
            MaxwellBoltzmannDistribution(atoms, temperature_K=KELVIN, rng=rng)
            atoms.calc = calc
            options = {"temperature_K": KELVIN, "T_tau": 100.0 * units.fs, "hydrostatic": True, "rng": rng}
            md = LangevinBAOAB(atoms, 0.5 * units.fs, **options)
            md.attach(lambda atoms=atoms: write(path, atoms, append=True, format="extxyz"), interval=10)
            md.run(steps)
        return min(task["walkers"], 8) * steps / (time.perf_counter() - begin)

    run()
    return {"rate": run()}


def _bare(task: dict[str, Any], steps: int) -> Any:
    """As many calls of the model's calculator, and nothing else."""
    import numpy as np

    atoms, calc = _box(task["atoms"]), _calculator(task, 1)
    moves = np.random.default_rng(0).normal(0.0, 1e-3, (steps + 1, len(atoms), 3))

    def run() -> float:
        begin = time.perf_counter()
        for move in moves:
            atoms.positions += move
            calc.calculate(atoms, ["energy", "forces"])
        return time.perf_counter() - begin

    return run


def _pairs(words: list[str]) -> dict[str, str]:
    return dict(word.split("=", 1) for word in words)


if __name__ == "__main__":
    if "--inner" in sys.argv:
        given = {"P7": _loop, "P8": _one}[sys.argv[2]](json.loads(sys.argv[3]))
        print(json.dumps(given))
        sys.exit()
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("bundles", nargs="*", metavar="FAMILY=BUNDLE")
    parser.add_argument("--python", action="append", default=[], metavar="FAMILY=PYTHON")
    parser.add_argument("--site", default="local")
    parser.add_argument("--full", action="store_true")
    options = parser.parse_args()
    main(options.full, _pairs(options.bundles), _pairs(options.python), options.site)
