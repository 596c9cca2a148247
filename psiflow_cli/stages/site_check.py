"""Is a site what it says? Everything that can be known without a job, and what a tiny job sees."""

from __future__ import annotations

import json
import shlex
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path

from psiflow_cli.errors import PsiflowError
from psiflow_cli.registry import load
from psiflow_cli.runtime import container
from psiflow_cli.runtime.session import Session, Task
from psiflow_cli.site import resolve, schema
from psiflow_cli.site.detect import Machine

_ASK = """
import json, sys
try:
    import parsl
    found = parsl.__version__
except ImportError:
    found = ""
try:
    import psiflow_cli
    ours = True
except ImportError:
    ours = False
print(json.dumps({"python": list(sys.version_info[:2]), "parsl": found, "psiflow": ours}))
"""


@dataclass(frozen=True)
class Finding:
    """One thing that was looked at."""

    executor: str
    problem: str
    """A sentence; empty if all is well."""


def without_job(site: schema.Site, machine: Machine) -> Iterator[Finding]:
    """What can be known of each executor from here."""
    for label in site.executors:
        try:
            target = resolve.of_executor(site, label, machine)
        except PsiflowError as error:
            yield Finding(label, error.message)
            continue
        problems = [*_environment(target), *_programs(target), *_queue(target)]
        yield from (Finding(label, problem) for problem in problems or [""])


def with_job(site: schema.Site, machine: Machine) -> Iterator[Finding]:
    """What a tiny task in a real block of each executor sees; the blocks are given back at once."""
    for label in site.executors:
        try:
            target = resolve.of_executor(site, label, machine)
            # in the working directory, since the nodes of a cluster do not see this host's /tmp
            folder = tempfile.TemporaryDirectory(prefix="psiflow-check-", dir=Path.cwd())
            with folder, Session(target, Path(folder.name)) as session:
                session.submit(Task("psiflow_cli.worker.probe:probe", {"context": target.context}))
                _, outcome = session.next()
        except PsiflowError as error:
            yield Finding(label, error.message)
            continue
        problems = [outcome.error or outcome.lost] if outcome.value is None else outcome.value["problems"]
        yield from (Finding(label, problem) for problem in problems or [""])


def _environment(target: resolve.Target) -> Iterator[str]:
    """The workers' Python is of the command's minor version and has the command's Parsl: HTEX refuses others."""
    try:
        done = subprocess.run(
            [*container.words(target), target.python, "-c", _ASK],
            capture_output=True,
            text=True,
            timeout=120,
            cwd="/",
            check=True,
        )
        found = json.loads(done.stdout)
    except (OSError, ValueError, subprocess.SubprocessError) as error:
        yield f"{target.python} cannot be run: {error}"
        return
    ours = list(sys.version_info[:2])
    if found["python"] != ours:
        yield f"{target.python} is Python {_dotted(found['python'])}, but psiflow runs on {_dotted(ours)}"
    if not found["parsl"]:
        yield f"{target.python} has no parsl"
    elif found["parsl"] != version("parsl"):
        yield f"{target.python} has parsl {found['parsl']}, but psiflow runs with {version('parsl')}"
    if not found["psiflow"]:
        yield f"{target.python} has no psiflow_cli"


def _dotted(numbers: list[int]) -> str:
    return ".".join(map(str, numbers))


def _programs(target: resolve.Target) -> Iterator[str]:
    """Launchers and executables of this host; those of other nodes, or of modules, only a job can find."""
    context = target.context
    if target.provider.type != "local" or context["modules"] or context["source"]:
        return
    path = context["env"].get("PATH")
    for program in filter(None, [*shlex.split(context["launch"])[:1], context["executable"]]):
        if shutil.which(program, path=path) is None:
            yield f"{program!r} is not found"


def _queue(target: resolve.Target) -> Iterator[str]:
    """What the batch system itself says of partition and account, where its provider can ask."""
    module = load("runtime.providers", target.provider.type)
    ask = getattr(module, "problems", None)
    if ask is not None:
        yield from ask(target.provider)
