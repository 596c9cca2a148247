"""What a bias remembers beyond one walker: earlier hills (--hills), and the walkers that fill it (--share-bias)."""

from __future__ import annotations

import math
from collections.abc import Collection

from psiflow_cli.errors import UsageError
from psiflow_cli.stages.sample.plumed import earlier_hills, files
from psiflow_cli.worker.md.plumed.actions import OPES, SHARING


def starts_empty(path: str, hills: str | None) -> str:
    """That a bias of an input starts without its history, and what restores it; "" if there is no such bias."""
    for where, each in files.placed(path):
        if (each.name in SHARING and not hills) or (each.name in OPES and not each.get("STATE_RFILE")):
            how = (
                "STATE_RFILE=FILE RESTART=YES" if each.name in OPES else "--hills FILE" if each.name == "METAD" else ""
            )
            return f"{where}: {each.name} starts from zero{f'; {how} restores it' if how else ''}"
    return ""


def other_temperature(path: str, temperatures: Collection[float]) -> str:
    """That a bias is scaled for a temperature which no walker has; "" if there is no such bias."""
    for where, each in files.placed(path):
        try:
            kelvin = float(each.get("TEMP")) if each.name in (*SHARING, *OPES) else 0.0
        except ValueError:  # without TEMP it is that of the walker; @NAME@ is not known yet
            continue
        if kelvin and not any(math.isclose(kelvin, each, rel_tol=1e-3) for each in temperatures):
            given = ", ".join(f"{each:g}" for each in sorted(set(temperatures)))
            return f"warning: {where}: {each.name} has TEMP={kelvin:g}, but --temperature is {given}"
    return ""


def settings(path: str | None, hills: str | None, share: bool) -> dict[str, object]:
    """What `Dynamics` has of both. Raises UsageError where the input has no bias that could do it."""
    options = [option for option, is_given in (("--hills", hills), ("--share-bias", share)) if is_given]
    if not options:
        return {}
    if not path:
        raise UsageError(f"{options[0]} needs --plumed", "use an input with METAD")
    biases = [(where, each) for where, each in files.placed(path) if each.name in (*SHARING, *OPES)]
    if share:
        for where, each in biases:
            if each.name in OPES:
                problem = f"{where}: {each.name} can be shared only within one MPI run, not with --share-bias"
                raise UsageError(problem, "METAD and PBMETAD can be shared")
        if not biases:
            raise UsageError(f"--share-bias: {path} has no METAD or PBMETAD", "other biases have no history to share")
    if hills and [each.name for _, each in biases] != ["METAD"]:
        raise UsageError(
            f"--hills needs an input with exactly one METAD, unlike {path}",
            "for OPES, write STATE_RFILE=FILE in the input",
        )
    return {
        **({"plumed_hills": earlier_hills.read(hills, path, share)} if hills else {}),
        **({"share_bias": True} if share else {}),
    }
