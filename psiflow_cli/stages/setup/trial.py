"""Try the packages of an environment, each in a process of its own: what one loads may hide what another lacks.

    python -m psiflow_cli.stages.setup.trial

tells on stderr which do not work, prints the names of Debian's packages for the libraries that are missing, and ends
with 69 if there is anything to tell.
"""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Collection
from concurrent.futures import ThreadPoolExecutor

from psiflow_cli import registry
from psiflow_cli.errors import NO_RESOURCES
from psiflow_cli.worker.failures import missing_library
from psiflow_cli.worker.process import imports

_OTHERS = ("matplotlib", "phonopy", "spglib", "dscribe", "chemiscope", "pymbar")  # of extras that belong to no back end
_FIND = "import sys; from importlib.util import find_spec; print(*filter(find_spec, sys.argv[1:]))"


def modules(python: str) -> list[str]:
    """The packages that back ends and extras need and that this Python has."""
    families = map(registry.family, (*registry.families(), *registry.names("references")))
    samplers = (registry.load("samplers", name) for name in registry.names("samplers"))
    needs = {name for back_end in (*families, *samplers) if back_end for name in back_end.REQUIRES}
    command = [python, "-I", "-c", _FIND, *sorted({*needs, *_OTHERS})]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout.split()


def faults(python: str, names: Collection[str]) -> dict[str, str]:
    """Why packages cannot be imported, by their names; those that can are not in it."""
    with ThreadPoolExecutor(2) as pool:
        reasons = pool.map(lambda name: _fault(python, name), names)
        return {name: reason for name, reason in zip(names, reasons, strict=True) if reason}


def _fault(python: str, name: str) -> str:
    """The error of a process that imports a package, or "": a missing library rather than what became of it."""
    done = subprocess.run([python, "-I", imports.__file__, name], capture_output=True, text=True, check=False)
    if done.returncode == 0:
        return ""
    lines = [line.strip() for line in done.stderr.splitlines() if line.strip()] or [f"exit status {done.returncode}"]
    return next((line for line in reversed(lines) if missing_library(line)), lines[-1])[:300]


def main() -> int:
    """Try them all; see this file's docstring."""
    reasons = faults(sys.executable, modules(sys.executable))
    for name, reason in reasons.items():
        print(f"{name} cannot be imported: {reason}", file=sys.stderr)
    print(*sorted({package for reason in reasons.values() if (package := missing_library(reason))}))
    return NO_RESOURCES if reasons else 0


if __name__ == "__main__":
    sys.exit(main())
