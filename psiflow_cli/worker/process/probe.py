"""What a worker sees, for `psiflow site check --submit`: cores, GPU, scratch, and its launcher's ranks and threads."""

from __future__ import annotations

import importlib.util
import os
import shlex
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, TypedDict

from psiflow_cli.errors import counted
from psiflow_cli.worker.pool import gpu_slots
from psiflow_cli.worker.process import environment_modules, gpu_probe, imports, launcher

if TYPE_CHECKING:
    from psiflow_cli.messages import Context

_LAUNCH_S = 60.0


class Findings(TypedDict):
    """What a worker sees of the machine."""

    python: str
    """Its version."""
    host: str
    cpus: list[int]
    problems: list[str]
    """Sentences."""


def probe(context: Context, families: dict[str, list[str]] | None = None, slots: int = 0) -> Findings:
    """Everything that can be tried without the science.

    `families` are the modules that each model family or reference needs, `slots` the tasks that the site has GPUs for.
    """
    problems = [
        *_scratch(context),
        *_gpu(context, families or {}, slots),
        *_launched(context),
        *_imported(families or {}),
    ]
    cpus = context.get("cpus") or []
    if len(cpus) and len(cpus) < context["cores"]:
        problems.append(f"has {counted(len(cpus), 'core')}, but the site asks for {context['cores']}")
    return {"python": sys.version.split()[0], "host": os.uname().nodename, "cpus": cpus, "problems": problems}


def _scratch(context: Context) -> list[str]:
    folder = Path(context["scratch"])
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.NamedTemporaryFile(dir=folder) as stream:
            stream.write(b"x")
    except OSError as error:
        return [f"cannot write its scratch folder {folder}: {error.strerror}"]
    return []


def _gpu(context: Context, families: dict[str, list[str]], slots: int) -> list[str]:
    """By the environment's own torch, if the families need it; else by what the maker's program shows."""
    if not context["gpus"]:
        return []
    problems, count = [], len(gpu_slots.slots(os.environ))
    if 0 < count < slots:
        problems.append(f"its node has GPUs for {counted(count, 'task')} at a time instead of {slots}")
    # tasks in threads see all GPUs
    names = (gpu_slots.CUDA, gpu_slots.HIP, gpu_slots.ROCR) if count else ()
    seen = ", ".join(f"{name}={os.environ[name]}" for name in names if name in os.environ)
    own = os.environ.get("PSIFLOW_GPU_PROBE", "")
    needed = not families or any("torch" in needs for needs in families.values())
    if not own and context["device"] == "cuda" and needed and importlib.util.find_spec("torch"):
        return problems + gpu_probe.problems(context["gpus"], seen)
    return problems + _shown(own)


def _shown(command: str) -> list[str]:
    """What is wrong by a program that lists GPUs, by default the maker's."""
    makers = ("nvidia-smi -L", "rocm-smi --showid", "amd-smi list")
    there = [words for words in makers if shutil.which(words.split()[0])]
    command = command or next(iter(there), makers[0])
    try:
        done = subprocess.run(shlex.split(command), capture_output=True, text=True, timeout=_LAUNCH_S, check=False)
    except (OSError, subprocess.TimeoutExpired) as error:
        return [f"cannot query its GPU with {command!r}: {error}"]
    return [] if done.returncode == 0 and done.stdout.strip() else [f"sees no GPU: {command!r} shows none"]


def _imported(families: dict[str, list[str]]) -> list[str]:
    problems = []
    for family, needs in families.items():
        for module in needs:
            try:
                imports.load(module)
            except Exception as error:  # whatever a broken package raises
                problems.append(f"{family}: {module} cannot be imported on {os.uname().nodename}: {error}")
                break
    return problems


def _launched(context: Context) -> list[str]:
    """Start a line of shell under the launch template in place of the executable; each rank says its threads."""
    executable, launch = context["executable"], context["launch"]
    if not executable and not launch:
        return []
    prefix = launcher.prefix(context)
    find = f"command -v {shlex.quote(executable)} >/dev/null || echo missing; " if executable else ""
    argv = environment_modules.wrap([*prefix, "sh", "-c", f"{find}echo threads=$OMP_NUM_THREADS"], context)
    env = launcher.environment(context)
    try:
        done = subprocess.run(
            argv, env=env, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=_LAUNCH_S, check=False
        )
    except OSError as error:
        return [f"cannot launch with {launch!r}: {argv[0]}: {error.strerror}"]
    except subprocess.TimeoutExpired:
        return [f"{launch!r} did not end within {_LAUNCH_S:.0f} s"]
    printed = done.stdout.split()
    if "missing" in printed:
        return [f"executable {executable!r} was not found on the worker"]
    ranks = printed.count(f"threads={context['threads']}")
    if ranks != context["ranks"]:
        words = [line for line in done.stdout.splitlines() if any(map(str.isalpha, line))]
        last = (words or [f"exit code {done.returncode}"])[-1].removeprefix("psiflow: ")
        return [
            f"{launch or executable!r} started {counted(ranks, 'rank')} instead of {context['ranks']}: {last[:200]}"
        ]
    return []
