"""Models compiled by `nequip-compile`, which a C++ compiler on the worker makes faster."""

from __future__ import annotations

import os
import re
import shutil
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from psiflow_cli.errors import BAD_DATA, BUG
from psiflow_cli.models.nequip.nequip_internals import NOT_COMPILED
from psiflow_cli.models.nequip.weights import describe, weights_file
from psiflow_cli.worker.failures import Fatal
from psiflow_cli.worker.models import compiled_cache, hardware
from psiflow_cli.worker.process import scratch, subprocesses

if TYPE_CHECKING:
    from psiflow_cli.messages import CompiledModel, CompiledRecord, Context

ENDING = ".nequip.pt2"
COMPILES = dict.fromkeys(("ase", "torchsim", "lammps"), ENDING)
_TARGETS = {"ase": "ase", "torchsim": "batch"}


def build(pair: str, member: str, target: str, folder: str, context: Context) -> CompiledModel:
    """*worker*: see `protocols.Compiles`; `pair` is the family's pair style in LAMMPS. Raises Fatal where it fails."""
    if not any(map(shutil.which, filter(None, (os.environ.get("CXX"), "g++", "clang++")))):
        problem = "nequip-compile needs a C++ compiler on the worker, and there is none"
        raise Fatal(problem, "name a module that has one under [environments] in the site file, or install g++")
    source, device = weights_file(member), hardware.device(context)
    compiled = Path(folder) / f"model{ENDING}"
    argv = [sys.executable, "-m", "nequip.scripts.compile", str(source), str(compiled), "--mode", "aotinductor"]
    argv += ["--device", device, "--target", _TARGETS.get(target, pair)]
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
    facts, machine = describe(source), compiled_cache.machine(device)
    return {"path": str(compiled), "dtype": facts["dtype"], "elements": facts["elements"], "machine": machine}


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
