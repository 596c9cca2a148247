"""The sections of `gpu.py`, each in a process of its own: what is found is printed as JSON, a line for each part of it.

python gpu_sections.py TASK
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

ATOMS, WALKERS = {24: (3, 2, 1), 64: (4, 2, 2), 192: (4, 4, 3)}, (1, 16, 64, 256)
SIZE = {
    "mace": ["num_channels=64", "max_L=1", "max_num_epochs=1", "batch_size=4"],
    "nequip": ["num_features=32", "num_layers=3", "max_epochs=1", "batch_size=4"],
    "allegro": ["num_scalar_features=64", "num_tensor_features=16", "max_epochs=1", "batch_size=4"],
}
SMALL = {
    "mace": ["num_channels=8", "max_L=0", "max_num_epochs=1", "batch_size=4"],
    "nequip": ["num_features=4", "num_layers=1", "max_epochs=1", "batch_size=4"],
    "allegro": ["num_tensor_features=4", "num_layers=1", "max_epochs=1", "batch_size=4"],
}
SITE = """
[providers.here]
type = "local"
[resources.task]
device = "{device}"
[executors.default]
type = "htex"
provider = "here"
resources = "task"
[use]
default = "default"
"""


def section(task: dict[str, Any]) -> None:
    """Print what is found as JSON, a line for each part of it."""
    kinds = {"device": device, "prepare": prepare, "equal": equal, "speed": speed, "train": train}
    task["ends"] = time.monotonic() + task["seconds"]
    kinds[task["kind"]](task)


def say(**row: Any) -> None:
    print(json.dumps({"rows": [row]}), flush=True)


def copper(atoms: int, count: int, seed: int = 0) -> list[Any]:
    """Rattled crystals."""
    import numpy as np
    from ase.build import bulk

    frames = []
    for number in range(count):
        frame = bulk("Cu", cubic=True).repeat(ATOMS[atoms])
        frame.positions += np.random.default_rng([seed, number]).normal(0.0, 0.05, frame.positions.shape)
        frames.append(frame)
    return frames


def message(frame: Any) -> dict[str, Any]:
    """A frame as workers get it."""
    return {
        "id": "0" * 16, "symbols": frame.get_chemical_symbols(), "positions": frame.positions.tolist(),
        "cell": frame.cell.tolist(), "pbc": frame.pbc.tolist(),
    }  # fmt: skip


def context(task: dict[str, Any], **more: Any) -> dict[str, Any]:
    logs = Path(task["folder"]) / "logs"
    logs.mkdir(exist_ok=True)
    base = {"scratch": "", "keep_scratch": False, "logs": str(logs), "device": task["device"], "dtype": None}
    return {**base, "cores": 1, "threads": 1, "gpus": int(task["device"] != "cpu"), "env": {}, **more}


def member(task: dict[str, Any]) -> str:
    from psiflow_cli import bundle

    return str(bundle.load(task["bundle"]).members[0])


def device(task: dict[str, Any]) -> None:
    import torch

    facts: dict[str, Any] = {"torch": torch.__version__, "cuda": torch.version.cuda, "python": sys.version.split()[0]}
    if task["device"] == "cuda":
        free, total = torch.cuda.mem_get_info()
        facts.update(gpu=torch.cuda.get_device_name(), memory_gb=total / 1e9, free_gb=free / 1e9)
    say(**facts)


def prepare(task: dict[str, Any]) -> None:
    """A bundle of the family, trained for an epoch."""
    began = time.perf_counter()
    psiflow_train(task, task["family"], task["bundle"], (SMALL if task["quick"] else SIZE)[task["family"]])
    say(trained_s=time.perf_counter() - began)


def psiflow_train(task: dict[str, Any], family: str, output: str, settings: list[str]) -> None:
    from ase import Atoms
    from ase.calculators.emt import EMT
    from ase.io import write

    folder = Path(task["folder"])
    frames = [*copper(24, 24), Atoms("Cu", cell=[20.0] * 3)]
    for frame in frames:
        frame.calc = EMT()
        frame.get_forces()
    frames[-1].info["config_type"] = "IsolatedAtom"
    write(folder / "train.xyz", frames, format="extxyz")
    (folder / "site.toml").write_text(SITE.format(device=task["device"]))
    given = [word for setting in settings for word in ("--set", setting)]
    argv = ["train", "train.xyz", "--arch", family, *given, "--site", "site.toml", "-o", output, "--overwrite"]
    psiflow = [sys.executable, "-c", "from psiflow_cli.main import main; main()"]
    done = subprocess.run([*psiflow, *argv], cwd=folder, capture_output=True, text=True, check=False)
    if done.returncode:
        sys.exit(" ".join(done.stderr.strip().splitlines()[-2:]))


def equal(task: dict[str, Any]) -> None:
    """Energies, forces, stresses on the device against those on a CPU."""
    import importlib

    import numpy as np

    family = importlib.import_module(f"psiflow_cli.models.{task['family']}")
    frames = [message(frame) for frame in copper(24, 4)]
    for dtype in ("float64", "float32"):
        here, there = (
            family.predict(frames, [member(task)], context(task, device=each, dtype=dtype))[0]
            for each in ("cpu", task["device"])
        )
        most = {
            name: float(
                max(np.abs(np.array(a[name]) - np.array(b[name])).max() for a, b in zip(here, there, strict=True))
            )
            for name in ("energy", "forces", "stress")
        }
        say(dtype=dtype, energy_ev=most["energy"], forces_ev_a=most["forces"], stress_ev_a3=most["stress"])


def speed(task: dict[str, Any]) -> None:
    """Steps of all walkers a second, in four ways."""
    sizes = [24] if task["quick"] else list(ATOMS)
    for atoms in sizes:
        alone = walker_steps(lambda n, a=atoms: by_ase(task, a, n), task)
        say(atoms=atoms, walkers=1, ase_steps_s=alone)
        for walkers in (1, 2) if task["quick"] else WALKERS:
            if time.monotonic() > task["ends"]:
                say(atoms=atoms, walkers=walkers, skipped="no time left")
                return
            measure(task, atoms, walkers, alone)


def measure(task: dict[str, Any], atoms: int, walkers: int, alone: float) -> None:
    import torch

    row: dict[str, Any] = {"atoms": atoms, "walkers": walkers}
    ways = {"psiflow": by_psiflow, "torchsim": by_torchsim, "bare": by_calls}
    for name, way in ways.items():
        if task["device"] == "cuda":
            torch.cuda.reset_peak_memory_stats()
        try:
            row[f"{name}_steps_s"] = walker_steps(lambda n, way=way: way(task, atoms, walkers, n), task) * walkers
        except Exception as error:  # whatever one way raises, the others are measured
            row[name] = f"{type(error).__name__}: {error}"[:120]
        if task["device"] == "cuda":
            row[f"{name}_gb"] = torch.cuda.max_memory_allocated() / 1e9
    if "psiflow_steps_s" in row:
        row["over_ase"] = row["psiflow_steps_s"] / alone
        row |= {f"over_{n}": row["psiflow_steps_s"] / row[f"{n}_steps_s"] for n in ways if f"{n}_steps_s" in row}
        row.pop("over_psiflow", None)
    if choice := task.pop("kernels", None):
        row["kernels"] = f"{choice['path']} of {choice['ms']}"
    say(**row)


def walker_steps(moves: Any, task: dict[str, Any]) -> float:
    """Steps a second of `moves(steps)`, by the difference of a short and a longer call: without what comes first."""
    moves(2)
    short, least = 4, 0.2 if task["quick"] else 1.0

    def seconds(steps: int) -> float:
        began = time.perf_counter()
        moves(steps)
        return time.perf_counter() - began

    base, steps = seconds(short), 2 * short
    while (took := seconds(short + steps)) - base < least and steps < 4096 and time.monotonic() < task["ends"]:
        steps *= 2
    return float(steps / max(took - base, 1e-9))


def by_ase(task: dict[str, Any], atoms: int, steps: int) -> None:
    import importlib

    from ase import units
    from ase.md.verlet import VelocityVerlet

    if "ase" not in task:
        family = importlib.import_module(f"psiflow_cli.models.{task['family']}")
        task["ase"] = family.calculator(member(task), context(task))
    frame = copper(atoms, 1)[0]
    frame.calc = task["ase"]
    VelocityVerlet(frame, timestep=units.fs).run(steps)


def by_psiflow(task: dict[str, Any], atoms: int, walkers: int, steps: int) -> None:
    from psiflow_cli import bundle
    from psiflow_cli.samplers import torchsim

    model = bundle.load(task["bundle"])
    starts = [message(frame) for frame in copper(atoms, walkers)]
    weights = {str(path): digest for path, digest in model.weights.items()}
    with tempfile.TemporaryDirectory() as folder:
        job: dict[str, Any] = {
            "folder": f"{folder}/group", "steps": steps, "block": steps, "every": 10, "batch": walkers, "seed": 0,
            "walkers": [{"walker": i, "start": each, "temperature": [50.0] * 2} for i, each in enumerate(starts)],
            "model": {"family": f"psiflow_cli.models.{task['family']}", "members": [member(task)], "weights": weights},
            "ensemble": "nve", "thermostat": "langevin", "timestep": 1.0, "friction": 10.0, "thermostat_time": 100.0,
            "chain_length": 3, "barostat_time": 1000.0, "pressure": 1.0, "cell": "isotropic", "masses": {},
            "ramp_steps": None, "exchange": None, "beads": 1, "plumed": None, "fixed": [],
            "limits": {"force": None, "temperature": None, "distance": None, "spread": None},
        }  # fmt: skip
        report: Any = torchsim.advance(job, context(task))  # type: ignore[arg-type]
    task["kernels"] = report.get("kernels")


def states(task: dict[str, Any], atoms: int, walkers: int) -> tuple[Any, Any]:
    """The family's interface to torch-sim, and the walkers as it takes them."""
    import importlib

    import torch
    import torch_sim

    if "interface" not in task:
        family = importlib.import_module(f"psiflow_cli.models.{task['family']}")
        task["interface"] = family.torchsim(member(task), context(task), False)
    model = task["interface"]
    return model, torch_sim.io.atoms_to_state(copper(atoms, walkers), torch.device(task["device"]), model.dtype)


def by_calls(task: dict[str, Any], atoms: int, walkers: int, steps: int) -> None:
    model, state = states(task, atoms, walkers)
    for _ in range(steps):
        output = model(state)
    float(output["energy"].sum())


def by_torchsim(task: dict[str, Any], atoms: int, walkers: int, steps: int) -> None:
    import torch
    import torch_sim

    model, state = states(task, atoms, walkers)
    energy = torch.tensor(50.0 * 8.617333e-5, device=state.device, dtype=state.dtype)
    timestep = torch.tensor(1.0 * 0.09822695, device=state.device, dtype=state.dtype)  # 1 fs, in Å (u/eV)^1/2
    if hasattr(torch_sim, "nve_init"):  # 0.4 and later
        state = torch_sim.nve_init(state, model, kT=energy)
        for _ in range(steps):
            state = torch_sim.nve_step(state, model, dt=timestep)
    else:
        begin, step = torch_sim.integrators.nve(model=model, dt=timestep, kT=energy)
        state = begin(state)
        for _ in range(steps):
            state = step(state)
    float(state.energy.sum())


def train(task: dict[str, Any]) -> None:
    """Epochs a second of `psiflow train`, and of `mace_run_train` on what psiflow wrote for it."""
    settings = [each for each in (SMALL if task["quick"] else SIZE)["mace"] if "epochs" not in each]
    folder = Path(task["folder"])
    few, many = (1, 21) if task["quick"] else (2, 12)
    times: dict[str, list[float]] = {"psiflow": [], "mace": []}
    for epochs in (few, many):
        output = folder / f"train-{epochs}.model"
        began = time.perf_counter()
        psiflow_train(task, "mace", str(output), [*settings, f"max_num_epochs={epochs}"])
        times["psiflow"].append(time.perf_counter() - began)
        (work,) = Path(f"{output}.run").glob("work/*/member-0")
        alone = folder / f"alone-{epochs}"
        alone.mkdir()
        for name in ("train.xyz", "valid.xyz", "mace.yaml"):
            (alone / name).write_bytes((work / name).read_bytes())
        command = str(Path(sys.executable).with_name("mace_run_train"))
        began = time.perf_counter()
        subprocess.run([command, "--config", "mace.yaml"], cwd=alone, capture_output=True, check=True)
        times["mace"].append(time.perf_counter() - began)
    rates = {name: (many - few) / (long - short) for name, (short, long) in times.items()}
    if min(rates.values()) <= 0.0:
        raise RuntimeError(f"{many} epochs took no longer than {few}: a busy machine")
    say(psiflow_epochs_s=rates["psiflow"], mace_epochs_s=rates["mace"], ratio=rates["psiflow"] / rates["mace"])


if __name__ == "__main__":
    section(json.loads(sys.argv[1]))
