"""Environment modules and sourced files around a launched program, without pasting a word of the site into a script."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from psiflow_cli.worker.failures import Fatal

if TYPE_CHECKING:
    from psiflow_cli.messages import Context

REFUSED = 97
"""What the shell exits with when a module or a file cannot be loaded; programs hardly use it."""

# The names come in variables, a line each; nothing of them is read as shell text.
_SCRIPT = """
if [ -n "$PSIFLOW_MODULES" ] && ! type module >/dev/null 2>&1; then
    for init in "${MODULESHOME:-/}/init/bash" "${LMOD_PKG:-/}/init/bash" /etc/profile.d/lmod.sh \
                /etc/profile.d/z00_lmod.sh /etc/profile.d/modules.sh; do
        if [ -r "$init" ]; then . "$init"; break; fi
    done
fi
while IFS= read -r name; do
    [ -z "$name" ] || module load "$name" || { echo "psiflow: module $name cannot be loaded"; exit 97; }
done <<< "$PSIFLOW_MODULES"
while IFS= read -r file; do
    [ -z "$file" ] || . "$file" || { echo "psiflow: $file cannot be sourced"; exit 97; }
done <<< "$PSIFLOW_SOURCE"
exec "$@"
"""


def needed(context: Context) -> bool:
    """Whether this task's environment has modules or files to source."""
    return bool(context.get("modules") or context.get("source"))


def wrap(argv: Sequence[str], context: Context) -> list[str]:
    """The argv that loads what the environment names, then becomes the program."""
    return ["bash", "-c", _SCRIPT, "psiflow", *argv] if needed(context) else list(argv)


def variables(context: Context) -> dict[str, str]:
    """The variables that `wrap`'s shell reads."""
    values = {"PSIFLOW_MODULES": context.get("modules"), "PSIFLOW_SOURCE": context.get("source")}
    return {name: "\n".join(lines) for name, lines in values.items() if lines} if needed(context) else {}


def check(returncode: int, log: str) -> None:
    """Raise Fatal if the shell gave up before the program began."""
    complaints = [line.removeprefix("psiflow: ") for line in log.splitlines() if line.startswith("psiflow: ")]
    if complaints and returncode == REFUSED:
        raise Fatal(complaints[-1], "see [environments] modules and source in the site file")
    if complaints and returncode in (126, 127) and "exec: " in complaints[-1]:
        program = complaints[-1].partition("exec: ")[2]
        raise Fatal(f"{program}, with the modules loaded", "see [resources] executable and launch in the site file")
