"""Does the Python of an executor's workers fit the command, and has it what the model families need?"""

from __future__ import annotations

import json
import subprocess
import sys
from importlib.metadata import version
from typing import TypedDict, cast

from psiflow_cli import registry
from psiflow_cli.runtime import container
from psiflow_cli.site.executor import ResolvedExecutor
from psiflow_cli.worker.process import gpu_probe

_TIMEOUT_S = 300  # importing torch from a slow disk for the first time takes minutes
# All modules are imported for real: a package that is there but does not work is no better than one that is not.
_ASK = """
import importlib, json, sys
def why(name):
    try:
        importlib.import_module(name)
    except ModuleNotFoundError as error:
        return "absent" if error.name == name else f"cannot be imported: {error}"
    except BaseException as error:
        return f"cannot be imported: {type(error).__name__}: {error}"
    return ""
wrong = {name: why(name) for name in MODULES}
found = "" if wrong["parsl"] else getattr(sys.modules["parsl"], "__version__", "?")
torch = None if wrong.get("torch", "absent") else sys.modules["torch"]
only_cpus = bool(torch) and not torch.version.cuda and not getattr(torch.version, "hip", None)
print()
print(json.dumps({
    "python": list(sys.version_info[:2]), "parsl": found, "wrong": wrong, "prefix": sys.prefix,
    "torch_only_for_cpus": torch.__version__ if only_cpus else "",
}))
"""


class Answer(TypedDict):
    python: list[int]  # major and minor version
    parsl: str  # version, or ""
    wrong: dict[str, str]  # by module: "", "absent", or why it cannot be imported
    prefix: str
    torch_only_for_cpus: str  # version of a torch that is built without CUDA and ROCm, or ""


class Interpreters:
    """The answers of interpreters, each asked once."""

    def __init__(self) -> None:
        self._answers: dict[tuple[str, ...], Answer | str] = {}

    def ask(self, executor: ResolvedExecutor, modules: set[str]) -> Answer | str:
        """What the executor's Python says of itself and of these modules, or why it cannot be run."""
        code = f"MODULES = {['parsl', 'psiflow_cli', *sorted(modules)]!r}{_ASK}"
        argv = [*executor.isolation, *container.words(executor), executor.python, "-c", code]
        if tuple(argv) not in self._answers:
            self._answers[tuple(argv)] = _answer(argv, executor.python)
        return self._answers[tuple(argv)]


def _answer(argv: list[str], python: str) -> Answer | str:
    try:
        done = subprocess.run(argv, capture_output=True, text=True, timeout=_TIMEOUT_S, cwd="/", check=False)
    except OSError as error:
        return f"{argv[0]} cannot be run: {error.strerror or error}"
    except subprocess.TimeoutExpired:
        return f"{python} does not answer within {_TIMEOUT_S} s"
    try:
        return cast("Answer", json.loads(done.stdout.strip().splitlines()[-1]))
    except (ValueError, IndexError):
        last = (done.stderr.strip().splitlines() or [f"exit code {done.returncode}"])[-1]
        return f"{python} cannot be run: {last.strip()[:300]}"


def problems(interpreters: Interpreters, executor: ResolvedExecutor, families: dict[str, tuple[str, ...]]) -> list[str]:
    """Sentences on what does not fit: HTEX wants the command's minor version of Python and its version of Parsl."""
    answer = interpreters.ask(executor, {module for needs in families.values() for module in needs})
    if isinstance(answer, str):
        return [answer]
    python, sentences, wrong = executor.python, [], answer["wrong"]
    ours = list(sys.version_info[:2])
    if answer["python"] != ours:
        sentences.append(f"{python} is Python {_dotted(answer['python'])}, but psiflow runs on {_dotted(ours)}")
    if wrong["parsl"]:
        sentences.append(f"{python} has no parsl")
    elif answer["parsl"] != version("parsl"):
        sentences.append(f"{python} has parsl {answer['parsl']}, but psiflow runs with {version('parsl')}")
    if wrong["psiflow_cli"]:
        sentences.append(f"{python} has no psiflow_cli")
    for family, needs in families.items():
        if text := lacking(family, {name: wrong[name] for name in needs}, answer["prefix"]):
            sentences.append(text)
    if answer["torch_only_for_cpus"] and executor.context["gpus"] and executor.context["device"] == "cuda":
        sentences.append(gpu_probe.only_for_cpus(answer["torch_only_for_cpus"], answer["prefix"]))
    return sentences


def lacking(family: str, wrong: dict[str, str], prefix: str) -> str:
    """What a family misses in an environment, and what to do about it; empty if it misses nothing."""
    absent = [name for name, why in wrong.items() if why == "absent"]
    broken = [f"{name} {why}" for name, why in wrong.items() if why not in ("", "absent")]
    if not absent:
        return f"{family}: in {prefix} {broken[0]}" if broken else ""
    words = " and ".join(filter(None, (", ".join(absent[:-1]), absent[-1])))
    hint = f": psiflow env create {family}" if family in registry.families() else ""
    return f"{family}: {words} {'is' if len(absent) == 1 else 'are'} not installed in {prefix}{hint}"


def _dotted(numbers: list[int]) -> str:
    return ".".join(map(str, numbers))
