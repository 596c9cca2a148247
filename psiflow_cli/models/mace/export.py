"""MACE models for other programs: LAMMPS, ASE scripts, torch-sim, and MACE's own tools."""

from __future__ import annotations

import importlib.util
import inspect
import shutil
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from psiflow_cli.errors import BUG
from psiflow_cli.models.mace import atomic_energies, mace_internals
from psiflow_cli.models.mace.inference import describe, load, of_one_head, weights_file
from psiflow_cli.worker.failures import Fatal
from psiflow_cli.worker.process import scratch, subprocesses

if TYPE_CHECKING:
    from psiflow_cli.messages import Context

EXPORTS = {
    "ase": {"folder": ""},
    "lammps": {"libtorch": "-lammps.pt", "mliap": "-mliap_lammps.pt"},
    "mace": {"model": ".model"},
    "torchsim": {"model": ".model"},
}
WHOLE_COMMITTEES = ("ase",)
_SCRIPT = '''"""{members} of MACE as an ASE calculator; it needs mace-torch, and nothing of psiflow.

    from calculator import calculator
    atoms.calc = calculator()

or, from a shell, energies (eV) and largest forces (eV/Å): python calculator.py FRAMES.xyz
"""

from __future__ import annotations

import sys
from pathlib import Path

import torch
from mace.calculators import MACECalculator

FILES = {files}


def calculator(device="cpu", dtype={dtype!r}):
    """The calculator of these weights; of several, it gives the mean."""
    here = Path(__file__).resolve().parent
    models = [torch.load(here / name, map_location=device, weights_only=False) for name in FILES]
    if dtype == "float32":
        for model in models:
            add_in_float64(model)
    return MACECalculator(models=models, device=device, default_dtype=dtype)


{in_float64}

if __name__ == "__main__":
    from ase.io import iread

    calc = calculator()
    for atoms in iread(sys.argv[1]):
        atoms.calc = calc
        print(f"{{atoms.get_potential_energy():.8f}} {{abs(atoms.get_forces()).max():.6f}}")
'''


def export(members: list[str], target: str, form: str, folder: str, context: Context) -> str:
    """*worker*: see `protocols.Model.export`. Raises Fatal where the environment lacks what a form needs."""
    place = Path(folder)
    if target == "ase":
        return str(_folder(members, place / "model", context))
    source = weights_file(members[0])
    if target == "lammps":
        return str(_lammps(source, form, place, context))
    return str(_of_one_head(source, place / source.name, context))


def _of_one_head(source: Path, target: Path, context: Context) -> Path:
    """The model file; of a model of several heads, a new one with the chosen head alone."""
    model = load(source)
    if len(mace_internals.heads(model)) == 1:
        return Path(shutil.copyfile(source, target))
    import torch

    torch.save(of_one_head(model, context), target)
    return target


def _folder(members: list[str], folder: Path, context: Context) -> Path:
    """A script and the weights that it loads."""
    folder.mkdir()
    files = []
    for index, member in enumerate(members):
        source = weights_file(member)
        files.append(f"{source.stem}-{index}.model" if len(members) > 1 else source.name)
        _of_one_head(source, folder / files[-1], context)
    dtype = describe(folder / files[0])["dtype"]
    title = f"A committee of {len(members)} models" if len(members) > 1 else "A model"
    rule = inspect.getsource(atomic_energies.add_in_float64)
    script = _SCRIPT.format(members=title, files=files, dtype=dtype, in_float64=rule)
    (folder / "calculator.py").write_text(script, encoding="utf-8")
    return folder


def _lammps(source: Path, form: str, folder: Path, context: Context) -> Path:
    """The model as MACE's own `mace_create_lammps_model` makes it, in its own precision."""
    if form == "mliap" and importlib.util.find_spec("cuequivariance_torch") is None:
        problem = "the format mliap needs cuequivariance, which is not installed in the worker's environment"
        raise Fatal(problem, "pip install cuequivariance cuequivariance-torch there, or choose --format libtorch")
    copy = folder / source.name
    _of_one_head(source, copy, context)
    argv = [sys.executable, "-m", "mace.cli.create_lammps_model", str(copy)]
    argv += ["--format", form, "--dtype", describe(copy)["dtype"]]
    log = Path(context["logs"]) / "create_lammps_model.log"
    with scratch.folder(context, "psiflow-export") as place:
        done = subprocesses.run(argv, log, cwd=place, seconds=context.get("walltime"), cpus=context.get("cpus"))
    exported = copy.with_name(copy.name + EXPORTS["lammps"][form])
    if done.returncode or not exported.is_file():
        lines = log.read_text(errors="replace").strip().splitlines() or ["no reason given"]
        raise Fatal(f"mace_create_lammps_model: {lines[-1]}", f"its log: {log}", BUG)
    return exported
