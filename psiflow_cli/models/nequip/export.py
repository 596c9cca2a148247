"""NequIP and Allegro models as other files: packaged for other programs, or compiled by `nequip-compile` on the worker.

A compiled model is faster, and psiflow takes it in place of the weights where one was kept beside them.
"""

from __future__ import annotations

import os
import re
import shutil
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from psiflow_cli.errors import BAD_DATA, BUG
from psiflow_cli.models.nequip.files import PACKAGE, describe, weights_file
from psiflow_cli.models.nequip.nequip_internals import NOT_COMPILED
from psiflow_cli.worker.failures import Fatal
from psiflow_cli.worker.models import hardware
from psiflow_cli.worker.models.kernels import compiled_cache
from psiflow_cli.worker.models.kernels.compiled_cache import NotBuilt
from psiflow_cli.worker.process import scratch, subprocesses

if TYPE_CHECKING:
    from psiflow_cli.messages import CompiledModel, CompiledRecord, Context

ENDING = ".nequip.pt2"
COMPILES = dict.fromkeys(("ase", "torchsim", "lammps"), ENDING)
_TARGETS = {"ase": "ase", "torchsim": "batch"}
_OPTIONS = {
    "oeq": ["--modifiers", "enable_OpenEquivariance"],
    "cueq": ["--modifiers", "enable_CuEquivariance"],
    "cueq-contracter": ["--modifiers", "enable_CuEquivarianceContracter"],
    "triton": ["--modifiers", "enable_TritonContracter"],
    "tf32": ["--tf32"],
}
"""Of nequip-compile, by what stands behind a target, as in `torchsim-oeq`; seen in nequip 0.19.1."""
EXPORTS = {
    "ase": {"folder": ""},
    "lammps": {"pair": ENDING},
    "nequip": {"package": PACKAGE},
    "torchsim": {"compiled": ENDING},
}
_SCRIPT = '''"""A model of the NequIP framework as an ASE calculator; it needs nequip{more}, and nothing of psiflow.

    from calculator import calculator
    atoms.calc = calculator()

or, from a shell, energies (eV) and largest forces (eV/Å): python calculator.py FRAMES.xyz

It was compiled for {device} and runs on machines like the one it was compiled on.
"""

import sys
from pathlib import Path

from nequip.integrations.ase import NequIPCalculator


def calculator(device={device!r}):
    """The calculator of these weights."""
    path = Path(__file__).resolve().parent / "model{ending}"
    return NequIPCalculator.from_compiled_model(path, device=device, chemical_species_to_atom_type_map=True)


if __name__ == "__main__":
    from ase.io import iread

    calc = calculator()
    for atoms in iread(sys.argv[1]):
        atoms.calc = calc
        print(f"{{atoms.get_potential_energy():.8f}} {{abs(atoms.get_forces()).max():.6f}}")
'''


def export_member(member: str, target: str, folder: str, context: Context, pair: str) -> str:
    """*worker*: see `protocols.Model.export`; `pair` is the name of the family's pair style in LAMMPS."""
    if target == "nequip":
        source = weights_file(member)
        if not source.name.endswith(PACKAGE):
            raise Fatal(f"{source}: not a packaged model", f"make a {PACKAGE} file of it with nequip-package", BAD_DATA)
        return str(shutil.copyfile(source, Path(folder) / source.name))
    compiled = cached(member, target, context)
    path = compiled[0] if compiled else Path(build(member, target, folder, context, pair)["path"])
    if target != "ase":
        return str(path)
    place = Path(folder) / "folder"
    place.mkdir()
    shutil.copyfile(path, place / f"model{ENDING}")
    more = " and allegro" if pair == "pair_allegro" else ""
    text = _SCRIPT.format(more=more, device=hardware.device(context), ending=ENDING)
    (place / "calculator.py").write_text(text, encoding="utf-8")
    return str(place)


def build(member: str, target: str, folder: str, context: Context, pair: str) -> CompiledModel:
    """*worker*: see `protocols.Model.compile`; `pair` is the name of the family's pair style in LAMMPS.

    Raises Fatal where there is no C++ compiler, or the model cannot be compiled.
    """
    if not any(map(shutil.which, filter(None, (os.environ.get("CXX"), "g++", "clang++")))):
        raise Fatal(
            "nequip-compile needs a C++ compiler, and the worker has none",
            "name a module that has one under [environments] in the site file, or install g++",
        )
    source, device = weights_file(member), hardware.device(context)
    compiled = Path(folder) / f"model{ENDING}"
    argv = [sys.executable, "-m", "nequip.scripts.compile", str(source), str(compiled), "--mode", "aotinductor"]
    program, _, kernels = target.partition("-")
    argv += ["--device", device, "--target", _TARGETS.get(program, pair), *_OPTIONS.get(kernels, ())]
    log = Path(context["logs"]) / "nequip-compile.log"
    with scratch.folder(context, "psiflow-compile") as place:
        env = {**os.environ, **context.get("env", {}), "TORCHINDUCTOR_CACHE_DIR": str(place / "cache")}
        cpus, seconds = context.get("cpus"), context.get("walltime")
        done = subprocesses.run(argv, log, cwd=place, env=env, seconds=seconds, cpus=cpus)
    if done.returncode or not compiled.is_file():
        lines = log.read_text(errors="replace").strip().splitlines() or ["no reason given"]
        reason = next((reason for sign, reason in NOT_COMPILED.items() if re.search(sign, lines[-1])), "")
        hint = f"{reason}; its log: {log}" if reason else f"its log: {log}"
        raise Fatal(f"nequip-compile: {lines[-1][:200]}", hint, BAD_DATA if reason else BUG)
    facts = describe(source)
    return {
        "path": str(compiled),
        "dtype": facts["dtype"],
        "elements": facts["elements"],
        "machine": compiled_cache.machine(device),
    }


def cached(member: str, target: str, context: Context) -> tuple[Path, CompiledRecord] | None:
    """The compiled model beside a member's weights and its record, if it serves this task on this machine."""
    if Path(member).is_file():
        return None
    device = hardware.device(context)
    path = compiled_cache.place(member, device, target, ENDING)
    if not path.is_file():
        return None
    facts = compiled_cache.valid(path, ENDING, compiled_cache.sha256(weights_file(member)))
    if facts is None or facts["machine"] != compiled_cache.machine(device):
        return None
    return (path, facts) if context.get("dtype") in (None, facts["dtype"]) else None


def build_cached(member: str, target: str, context: Context, build_it: bool) -> tuple[Path, CompiledRecord]:
    """A compiled model that is made now, and kept beside the weights for other workers and runs.

    Raises NotBuilt unless that is asked for, and Fatal where it cannot be. One that another worker makes is waited for.
    """
    if not build_it:
        raise NotBuilt
    if Path(member).is_file():
        raise Fatal(f"{member}: compiled models are stored in a model bundle, but this is a file", 'kernels = "eager"')
    source, device = weights_file(member), hardware.device(context)
    if context.get("dtype") not in (None, own := describe(source)["dtype"]):
        raise Fatal(f"nequip-compile supports only the model's own precision, {own}", "leave dtype out of [resources]")
    path = compiled_cache.place(member, device, target, ENDING)
    with compiled_cache.claimed(path):
        if compiled_before := cached(member, target, context):
            return compiled_before
        with scratch.folder(context, "psiflow-compiled") as folder:
            compiled = build(member, target, str(folder), context, "")
            compiled_cache.store(path, ENDING, compiled, compiled_cache.sha256(source))
        compiled_before = cached(member, target, context)
    if compiled_before is None:
        raise Fatal(f"{path}: replaced while it was being written", "run the same command again")
    return compiled_before
