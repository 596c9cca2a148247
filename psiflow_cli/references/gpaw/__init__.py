"""GPAW, in a Python of its own: whatever `gpaw python` is, one process (or mpirun) for each frame.

Its ASE has the units of ours, so nothing is converted.
"""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

from psiflow_cli import inputs
from psiflow_cli.errors import BadData, UsageError, nearest
from psiflow_cli.worker.failures import failure
from psiflow_cli.worker.process import single_run
from psiflow_cli.worker.process.single_run import Program, Ran
from psiflow_cli.worker.structures import labels, validity

SUMMARY = "projector-augmented-wave density functional theory with GPAW"
REQUIRES = ("ase",)
FRAME_INPUTS = ("charge", "multiplicity")
DEFAULT_TASK_SECONDS = 0.0

PROGRAM = Program(
    name="GPAW",
    executable="gpaw",
    started=re.compile(r"___ ___ ___ _ _ _|gpaw-\d"),
    bad_input=re.compile(r"(?!)"),  # its exceptions do not tell a wrong parameter from a frame it cannot compute
    bad_frame=re.compile(r"PoissonConvergenceError.*|GridBoundsError.*|.*[Tt]oo (?:few|many) (?:electrons|bands).*"),
    unconverged=re.compile(r"psiflow: the SCF did not converge"),
    last_words=re.compile(r"(?m)^\S*(?:Error|Exception): .*$"),
)
_VERSION = re.compile(r"gpaw-(\d\S*)")
_PARAMETERS = (
    *("mode", "xc", "kpts", "basis", "h", "gpts", "occupations", "convergence", "spinpol", "symmetry", "nbands"),
    *("maxiter", "setups", "mixer", "eigensolver", "poissonsolver", "hund", "random", "nbands", "parallel"),
)
"""GPAW's own; `vacuum` (Å around a frame without a cell) is ours."""
_MODES = ("pw", "lcao", "fd")
_HINT = "as in GPAW(...), written as TOML"


def settings(input_file: Path | None, options: dict[str, str]) -> dict[str, Any]:
    """GPAW's parameters, from a TOML file and the `--set` pairs over it."""
    found = inputs.table(input_file, "gpaw")
    for key in found:
        if key not in (*_PARAMETERS, "vacuum"):
            raise BadData(f"{input_file}: unknown parameter {key!r} of GPAW", nearest(key, _PARAMETERS))
    return _sensible(str(input_file), {**found, **_literals(options)})


def _literals(options: dict[str, str]) -> dict[str, Any]:
    """The `--set` pairs, whose values are TOML where they can be, as in kpts=[2,2,2], and text otherwise."""
    found: dict[str, Any] = {}
    for key, value in options.items():
        if key not in (*_PARAMETERS, "vacuum"):
            raise UsageError(f"unknown option {key!r} of the reference gpaw", nearest(key, _PARAMETERS))
        found[key] = inputs.literal(value)
    return found


def _sensible(source: str, found: dict[str, Any]) -> dict[str, Any]:
    if "mode" not in found or "xc" not in found:
        raise BadData(f"{source}: GPAW needs to know mode and xc", 'mode = {name = "pw", ecut = 400} and xc = "PBE"')
    mode = found["mode"].get("name") if isinstance(found["mode"], dict) else found["mode"]
    if mode not in _MODES:
        raise BadData(f"{source}: unknown mode {mode!r} of GPAW", nearest(str(mode), _MODES))
    vacuum = found.pop("vacuum", None)
    if vacuum is not None and (isinstance(vacuum, bool) or not isinstance(vacuum, (int, float)) or not vacuum > 0):
        raise BadData(f"{source}: vacuum must be a positive number of Å, not {vacuum!r}", _HINT)
    try:
        return {"parameters": json.loads(json.dumps(found, sort_keys=True)), "vacuum": vacuum}
    except TypeError:
        raise BadData(f"{source}: a parameter is neither a text nor a number", _HINT) from None


def check(settings: dict[str, Any], elements: set[str]) -> None:
    """Raise BadData for elements beyond radon, for which there are no datasets."""
    for element in validity.beyond(elements, "Rn"):
        raise BadData(f"GPAW has no dataset for {element}", "its datasets go from H to Rn")


def label(frames: list[dict[str, Any]], settings: dict[str, Any], context: dict[str, Any]) -> list[dict[str, Any]]:
    """*worker*: a label or a failure for each frame, in order."""
    return [_label(frame, settings, context) for frame in frames]


def changed(settings: dict[str, Any], changes: dict[str, str]) -> dict[str, Any]:
    """The settings with other parameters, such as `maxiter=500`."""
    return {**settings, "parameters": {**settings["parameters"], **_literals(changes)}}


def isolated(settings: dict[str, Any]) -> dict[str, Any]:
    """The settings for single atoms: spin-polarised, at gamma, in a box."""
    kept = {k: v for k, v in settings["parameters"].items() if k != "kpts"}
    return {"parameters": {**kept, "spinpol": True}, "vacuum": settings["vacuum"] or 6.0}


def code(context: dict[str, Any]) -> str:
    """*worker*: the code and its version, as labels carry it."""
    return single_run.version(PROGRAM, ["--version"], {}, context, _VERSION)


def render(frame: dict[str, Any], settings: dict[str, Any]) -> str:
    """The job that GPAW's Python reads."""
    return json.dumps({"frame": frame, **settings}, indent=1, sort_keys=True)


def _label(frame: dict[str, Any], settings: dict[str, Any], context: dict[str, Any]) -> dict[str, Any]:
    reason = validity.invalid(frame)
    if not reason and frame.get("cell") is None and settings["vacuum"] is None:
        reason = "the frame has no cell: give it one, or --set vacuum=5"
    if reason:
        return failure("invalid-input", reason)
    text = render(frame, settings)
    driver = Path(__file__).with_name("driver.py").read_text()
    files = {"job.json": text, "driver.py": driver}
    ran = single_run.run(PROGRAM, ["python", "driver.py"], files, context, ("numbers.json",))
    return single_run.label(PROGRAM, ran, lambda ran: _read(frame, ran), single_run.kept(frame, text, context))


def _read(frame: dict[str, Any], ran: Ran) -> dict[str, Any]:
    if "numbers.json" not in ran.files:
        return failure("inconsistent", "GPAW left no numbers")
    found = json.loads(ran.files["numbers.json"])
    return labels.label(frame, found["energy"], found["forces"], found["stress"], f"GPAW {found['version']}")
