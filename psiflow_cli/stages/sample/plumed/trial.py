"""PLUMED reads the input before anything is submitted, with the Python of the workers, where it runs here, too."""

from __future__ import annotations

import json
import os
import re
import subprocess
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, cast

from psiflow_cli.console import detail, note
from psiflow_cli.errors import BadConfig, BadData, counted
from psiflow_cli.runtime import container
from psiflow_cli.site.executor import ResolvedExecutor
from psiflow_cli.stages.sample.plumed import files
from psiflow_cli.worker.md.plumed.actions import Action
from psiflow_cli.worker.md.plumed.window import filled

if TYPE_CHECKING:
    from psiflow_cli.messages import Dynamics, PlumedAnswer, PlumedQuestion, WalkerStart

MODULE = "psiflow_cli.worker.md.plumed_trial"
_TIMEOUT_S = 120
_WHILE_READING = re.compile(r"assertion failed|problem with setting")
"""Errors that do not name the action that PLUMED reads: it is the last one in its log."""
_EV = 96.48533212331  # kJ/mol
BOLTZMANN = 8.617333262e-5  # eV/K
NO_PACKAGE = "PLUMED's Python package does not load in"
_PACKAGE = "pip install plumed there, and install PLUMED itself (conda-forge has both)"
_PYTHONPATH = "pip install plumed there, or give workers PYTHONPATH: keep_pythonpath = true in [environments] (site)"
_KERNEL = "set PLUMED_KERNEL to the path of libplumedKernel.so, here and on the workers ([resources] env in the site)"


def check(path: str, dynamics: Dynamics, starts: Sequence[WalkerStart], executor: ResolvedExecutor) -> None:
    """Raise BadData, with file and line where PLUMED's words tell, for an input that PLUMED refuses.

    BadConfig where PLUMED's package or library is missing on workers that run on this machine, as this process does;
    for others a line says that the input could not be tried.
    """
    smallest = min(starts, key=lambda each: len(each["start"]["symbols"]))
    window = smallest.get("window", {})
    question: PlumedQuestion = {
        "text": filled(dynamics["plumed"] or "", window),
        "files": {name: filled(text, window) for name, text in dynamics.get("plumed_files", {}).items()},
        "atoms": len(smallest["start"]["symbols"]), "energy_unit": _EV, "kT": BOLTZMANN * smallest["temperature"][0],
        "timestep": dynamics["timestep"],
    }  # fmt: skip
    answer = _ask(question, executor)
    if isinstance(answer, str):
        note(f"PLUMED could not check {path}: {answer}")
    elif what := _missing(answer, executor):
        if _is_like_here(executor):
            package = _PYTHONPATH if os.environ.get("PYTHONPATH") else _PACKAGE
            raise BadConfig(what, _KERNEL if answer["kind"] == "kernel" else package)
        note(f"PLUMED could not check {path}: {what}")
    elif answer["kind"]:
        raise BadData(*_located(path, answer, question["atoms"]))
    else:
        detail(f"PLUMED {_version(answer['log'])} accepts {path}")


def version_or_problem(executor: ResolvedExecutor) -> tuple[str, str]:
    """("PLUMED 2.9.5", "") for that of the workers' Python, as it is started here; or ("", why there is none)."""
    nothing: PlumedQuestion = {"text": "", "files": {}, "atoms": 1, "energy_unit": _EV, "kT": 0.0, "timestep": 1.0}
    answer = _ask(nothing, executor)
    if isinstance(answer, str):
        return "", f"PLUMED could not be asked: {answer}"
    problem = _missing(answer, executor)
    return "" if problem else f"PLUMED {_version(answer['log'])}", problem


def _missing(answer: PlumedAnswer, executor: ResolvedExecutor) -> str:
    """What PLUMED lacks to be asked at all, or ""."""
    if answer["kind"] == "kernel":
        return f"PLUMED's library does not load: {_short(answer['problem'])}"
    if answer["kind"] == "package":
        return f"{NO_PACKAGE} {executor.python}: {answer['problem']}"
    return ""


def _is_like_here(executor: ResolvedExecutor) -> bool:
    """Whether what is missing here is missing for the workers, too."""
    own = executor.environment
    return executor.provider.type == "local" and not (own.modules or own.source or own.container)


def _ask(question: PlumedQuestion, executor: ResolvedExecutor) -> PlumedAnswer | str:
    """The answer, or why there is none."""
    answer = answer_of(MODULE, question, executor)
    if isinstance(answer, _Ended):  # PLUMED ended the process
        return {"kind": "input", "problem": str(answer), "log": ""}
    return answer if isinstance(answer, str) else cast("PlumedAnswer", answer)


class _Ended(str):
    """Why there is no answer: a signal."""


def answer_of(module: str, question: Mapping[str, object], executor: ResolvedExecutor) -> dict[str, object] | str:
    """What a module of the worker answers in a process with the workers' Python, here; or why there is no answer."""
    isolation = [] if executor.table.type == "threads" else executor.isolation
    argv = [*isolation, *container.words(executor), executor.python, "-m", module]
    environment = {**os.environ, **executor.context["env"]}
    try:
        done = subprocess.run(
            argv, input=json.dumps(question), capture_output=True, text=True, timeout=_TIMEOUT_S, cwd="/", check=False,
            env=environment,
        )  # fmt: skip
    except OSError as error:
        return f"{argv[0]} cannot be run: {error.strerror or error}"
    except subprocess.TimeoutExpired:
        return f"no answer within {_TIMEOUT_S} s"
    lines = done.stdout.strip().splitlines()
    try:
        return cast("dict[str, object]", json.loads(lines[-1]))
    except (ValueError, IndexError):
        last = (done.stderr.strip().splitlines() or lines or ["no reason given"])[-1]
        if done.returncode < 0:
            return _Ended(f"PLUMED ended with signal {-done.returncode}: {last}")
        return last.strip()[:300]


def _located(path: str, answer: PlumedAnswer, atoms: int) -> tuple[str, str]:
    """What is wrong, with the line of the statement that PLUMED names, and a hint."""
    problem, placed = answer["problem"], list(files.placed(path))
    if match := re.search(r"ERROR in input to action (\S+) with label (\S+) : (.*)", problem, re.DOTALL):
        action, what = match[1], f"{match[1]}: {_short(match[3])}"
        where = _nth(placed, action, len(re.findall(rf"Action {re.escape(action)}\s*$", answer["log"], re.MULTILINE)))
    elif match := re.search(r"I cannot understand line: (\S+)", problem):
        what = f"{match[1]}: PLUMED has no such action"
        where = _nth(placed, match[1], 1)
    else:
        where, what = path, _short(re.sub(r"^\s*\(\S+:\d+\)[^\n]*\n", "", problem))
        actions = re.findall(r"Action (\S+)\s*$", answer["log"], re.MULTILINE)
        if actions and _WHILE_READING.search(problem):
            where, what = _nth(placed, actions[-1], actions.count(actions[-1])), f"{actions[-1]}: {what}"
    out_of_range = "out of range" in what
    hint = f"the smallest of FRAMES has {counted(atoms, 'atom')}, which PLUMED numbers from 1" if out_of_range else ""
    return f"{where or path}: {what}", hint or f"correct the input, which PLUMED {_version(answer['log'])} has read"


def _nth(placed: Sequence[tuple[str, Action]], name: str, number: int) -> str:
    """Where the n-th action of a name stands; "" if PLUMED made it of another one."""
    places = [where for where, action in placed if action.name == name.upper()]
    return places[min(number, len(places)) - 1] if places and number else ""


def _short(text: str) -> str:
    return " ".join(text.split())[:400]


def _version(log: str) -> str:
    match = re.search(r"Version: (\S+)", log)
    return match[1] if match else "itself"
