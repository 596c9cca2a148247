"""GPAW, in a Python of its own: whatever `gpaw python` is, one process (or mpirun) for each frame.

Its ASE has the units of ours, so nothing is converted.
"""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import TYPE_CHECKING, TypedDict

from psiflow_cli import inputs
from psiflow_cli.errors import BadData, nearest
from psiflow_cli.worker.failures import failure
from psiflow_cli.worker.process import single_run
from psiflow_cli.worker.process.single_run import Program, Ran
from psiflow_cli.worker.structures import labels, validity

if TYPE_CHECKING:
    from psiflow_cli.messages import Context, Frame, LabelResult
    from psiflow_cli.references.gpaw.driver import Numbers

SUMMARY = "projector-augmented-wave density functional theory with GPAW"
REQUIRES = ("ase",)
FRAME_INPUTS = ("charge", "multiplicity", "moments")
DEFAULT_TASK_SECONDS = 0.0

PROGRAM = Program(
    name="GPAW",
    executable="gpaw",
    started=re.compile(r"___ ___ ___ _ _ _|gpaw-\d"),
    # its other exceptions do not tell a wrong parameter from a frame it cannot compute
    bad_input=re.compile(
        r"(?m)(?:InputError: .*|NameError: Unknown functional.*|ValueError: Unknown .*|"
        r"TypeError: .*unexpected keyword argument.*)$"
    ),
    bad_frame=re.compile(  # not in the lines of the source that a traceback shows, which are indented
        r"(?m)^\S*(?:PoissonConvergenceError|GridBoundsError).*|^\S.*[Tt]oo (?:few|many) (?:electrons|bands).*|"
        r"(?<=Error: )(?:Charge \S+ is not possible|Magnetic moment larger than number of valence electrons).*"
    ),
    unconverged=re.compile(r"psiflow: the SCF did not converge"),
    last_words=re.compile(r"(?m)^\S*(?:Error|Exception): .*$"),
)
_VERSION = re.compile(r"gpaw-(\d\S*)")
_PARAMETERS = (
    *("mode", "xc", "kpts", "basis", "h", "gpts", "occupations", "convergence", "spinpol", "symmetry", "nbands"),
    *("maxiter", "setups", "mixer", "eigensolver", "poissonsolver", "random", "parallel", "charge"),
)
"""GPAW's own; `vacuum` (Å around a frame without a cell) is ours."""
_MODES = ("pw", "lcao", "fd")
_HINT = "as in GPAW(...), written as TOML"


class Settings(TypedDict):
    parameters: dict[str, object]  # GPAW's own
    vacuum: float | None  # Å around a frame without a cell


def settings(input_file: Path | None, options: dict[str, str]) -> Settings:
    """GPAW's parameters, from a TOML file and the `--set` pairs over it."""
    parameters = inputs.table(input_file, "gpaw")
    for key in parameters:
        if key not in (*_PARAMETERS, "vacuum"):
            assert input_file is not None
            raise BadData(
                f"{inputs.at(input_file, key)}: unknown parameter {key!r} of GPAW", inputs.hint(key, _PARAMETERS)
            )
    return _sensible(str(input_file), {**parameters, **_literals(options)})


def _literals(options: dict[str, str]) -> dict[str, object]:
    """The `--set` pairs, whose values are TOML where they can be, as in kpts=[2,2,2], and text otherwise."""
    inputs.check_options("gpaw", options, (*_PARAMETERS, "vacuum"))
    return {key: inputs.literal(value) for key, value in options.items()}


def _sensible(source: str, options: dict[str, object]) -> Settings:
    if "mode" not in options or "xc" not in options:
        raise BadData(f"{source}: GPAW needs mode and xc", 'mode = {name = "pw", ecut = 400} and xc = "PBE"')
    mode = options["mode"].get("name") if isinstance(options["mode"], dict) else options["mode"]
    if mode not in _MODES:
        raise BadData(f"{source}: unknown mode {mode!r} of GPAW", nearest(str(mode), _MODES))
    vacuum = options.pop("vacuum", None)
    if vacuum is not None and (isinstance(vacuum, bool) or not isinstance(vacuum, (int, float)) or not vacuum > 0):
        raise BadData(f"{source}: vacuum must be a positive number of Å, not {vacuum!r}", _HINT)
    for name in ("setups", "basis"):
        try:
            table = options.get(name)
            for key in table if isinstance(table, dict) else ():
                inputs.of_element(key)
        except ValueError as error:
            raise BadData(
                f"{inputs.at(source, name)}: {name}: {error}", 'as in setups = {Fe = "paw", default = "paw"}'
            ) from None
    if isinstance(charge := options.get("charge", 0), bool) or not isinstance(charge, (int, float)):
        raise BadData(f"{source}: charge must be a number, not {charge!r}", _HINT)
    try:
        return {"parameters": json.loads(json.dumps(options, sort_keys=True)), "vacuum": vacuum}
    except TypeError:
        raise BadData(f"{source}: a parameter is neither text nor a number", _HINT) from None


def check(settings: Settings, elements: set[str]) -> None:
    """Raise BadData for elements beyond radon, for which there are no datasets."""
    for element in validity.beyond(elements, "Rn"):
        raise BadData(f"GPAW has no dataset for {element}", "it has datasets from H to Rn")


def label(frames: list[Frame], settings: Settings, context: Context) -> list[LabelResult]:
    return [_label(frame, settings, context) for frame in frames]


def changed(settings: Settings, changes: dict[str, str]) -> Settings:
    """The settings with other parameters, such as `maxiter=500`."""
    return {**settings, "parameters": {**settings["parameters"], **_literals(changes)}}


def isolated(settings: Settings) -> Settings:
    """The settings for single atoms: neutral, spin-polarised, at gamma, in a box."""
    parameters = {k: v for k, v in settings["parameters"].items() if k not in ("kpts", "charge")}
    return {"parameters": {**parameters, "spinpol": True}, "vacuum": settings["vacuum"] or 6.0}


def code(context: Context) -> str:
    return single_run.version(PROGRAM, ["--version"], {}, context, _VERSION)


def render(frame: Frame, settings: Settings) -> str:
    """The job that GPAW's Python reads."""
    return json.dumps({"frame": frame, **settings}, indent=1, sort_keys=True)


def _label(frame: Frame, settings: Settings, context: Context) -> LabelResult:
    reason = validity.invalid(frame)
    if not reason and frame.get("cell") is None and settings["vacuum"] is None:
        reason = "the frame has no cell: give it one, or --set vacuum=5"
    if not reason and frame.get("cell") is None and "gpts" in settings["parameters"]:
        reason = "gpts need a cell, which the frame lacks: use h instead"
    multiplicity, moments = frame.get("multiplicity"), frame.get("moments")
    if not reason and multiplicity is not None and moments and abs(sum(moments) - multiplicity + 1) > 1e-3:
        reason = f"multiplicity {multiplicity}, but initial_magmoms add up to {sum(moments):g}"
    if reason:
        return failure("invalid-input", reason)
    text = render(frame, settings)
    driver = Path(__file__).with_name("driver.py").read_text()
    files = {"job.json": text, "driver.py": driver}
    ran = single_run.run(PROGRAM, ["python", "driver.py"], files, context, ("numbers.json",))
    return single_run.label(PROGRAM, ran, frame, text, context, _read)


def _read(frame: Frame, ran: Ran) -> LabelResult:
    if "numbers.json" not in ran.files:
        return failure("inconsistent", "GPAW wrote no results")
    numbers: Numbers = json.loads(ran.files["numbers.json"])
    return labels.label(frame, numbers["energy"], numbers["forces"], numbers["stress"], f"GPAW {numbers['version']}")
