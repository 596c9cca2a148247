"""PySCF in the worker's own process: Hartree-Fock, density functional theory and MP2 of molecules.

Positions go in and numbers come out in atomic units, converted once with ASE's constants.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, TextIO, TypedDict, cast

from psiflow_cli import inputs
from psiflow_cli.errors import BAD_DATA, BadData, UsageError
from psiflow_cli.worker.failures import Fatal, failure
from psiflow_cli.worker.process import scratch
from psiflow_cli.worker.process.task_logs import TaskLog
from psiflow_cli.worker.structures import labels, validity

if TYPE_CHECKING:
    from pyscf.gto import Mole
    from pyscf.scf.hf import SCF
    from typing_extensions import NotRequired

    from psiflow_cli.messages import Context, FailureClass, Frame, LabelResult, Vectors

SUMMARY = "Hartree-Fock, density functional theory and MP2 of molecules with PySCF"
REQUIRES = ("pyscf", "ase")
FRAME_INPUTS = ("charge", "multiplicity")
DEFAULT_TASK_SECONDS = 10.0
IN_PROCESS = True

METHODS = ("dft", "hf", "mp2")
OPTIONS: dict[str, inputs.Kind] = {
    "method": METHODS, "xc": str, "basis": dict, "ecp": dict, "disp": ("d3bj", "d3zero", "d4"),
    "unrestricted": bool, "density_fit": bool, "grids_level": int, "grid_response": bool, "conv_tol": float,
    "max_cycle": int, "level_shift": float, "newton": bool,
}  # fmt: skip
"""PySCF's own names, but for `newton` (its second-order solver) and `unrestricted`; what is not said is PySCF's."""
_ONLY = {"dft": ("xc", "grids_level", "grid_response"), "hf": (), "mp2": ()}
"""Options that make sense with one method only."""


class Settings(TypedDict):
    """What was said of `OPTIONS`."""

    method: str
    basis: str | dict[str, str]  # of all elements, or of each
    xc: NotRequired[str]
    ecp: NotRequired[str | dict[str, str]]
    disp: NotRequired[str]
    unrestricted: NotRequired[bool]
    density_fit: NotRequired[bool]
    grids_level: NotRequired[int]
    grid_response: NotRequired[bool]
    conv_tol: NotRequired[float]  # ha
    max_cycle: NotRequired[int]
    level_shift: NotRequired[float]  # ha
    newton: NotRequired[bool]


def settings(input_file: Path | None, options: dict[str, str]) -> Settings:
    """The method and its parameters, from a TOML file and the `--set` pairs over it."""
    return _sensible({"method": "dft", **inputs.options(input_file, options, OPTIONS, "pyscf")})


def _sensible(options: Mapping[str, object]) -> Settings:
    needed = ("basis", "xc") if options["method"] == "dft" else ("basis",)
    for key in needed:
        if key not in options:
            hint = "use --set xc=pbe --set basis=def2-svp, or a TOML file with both: --input pyscf.toml"
            raise UsageError(f"the reference pyscf needs {key}", hint)
    for method, keys in _ONLY.items():
        for key in keys:
            if key in options and method != options["method"]:
                raise UsageError(f"{key} has no effect with method={options['method']}", "leave it out")
    if options["method"] == "mp2" and options.get("density_fit"):
        raise UsageError("density_fit has no gradient with method=mp2", "leave it out")
    return cast("Settings", options)


def check(settings: Settings, elements: set[str]) -> None:
    """Raise BadData for an element that a table of basis sets leaves out."""
    basis = settings["basis"]
    for element in sorted(elements - set(basis)) if isinstance(basis, dict) and "default" not in basis else ():
        raise BadData(f"the basis of the reference pyscf has no {element}", f'add {element} = "…" to its table')


def label(frames: list[Frame], settings: Settings, context: Context) -> list[LabelResult]:
    """*worker*: a label or a failure for each frame, in order. Raises Fatal for a basis or functional nobody has."""
    import pyscf

    pyscf.lib.num_threads(int(context.get("threads") or 1))
    _check_method(settings)
    return [_label(frame, settings, context) for frame in frames]


def changed(settings: Settings, changes: dict[str, str]) -> Settings:
    return _sensible({**settings, **inputs.options(None, changes, OPTIONS, "pyscf")})


def isolated(settings: Settings) -> Settings:
    """The settings for single atoms: unrestricted, without dispersion."""
    atom: Settings = {**settings, "unrestricted": True}
    atom.pop("disp", None)
    return atom


def code(context: Context) -> str:
    from importlib.metadata import version

    return f"PySCF {version('pyscf')}"


def _check_method(settings: Settings) -> None:
    """Raise Fatal for a functional that libxc does not have, and for a dispersion that is not installed."""
    from importlib.util import find_spec

    from pyscf.dft import libxc

    try:
        libxc.parse_xc(settings.get("xc", "hf"))
    except (KeyError, ValueError) as error:
        raise Fatal(f"PySCF does not know xc={settings['xc']}: {error}", "use the names of libxc", BAD_DATA) from None
    if "disp" in settings and find_spec("pyscf.dispersion") is None:
        raise Fatal(
            f"disp={settings['disp']} needs the package pyscf-dispersion", "install it in the environment of PySCF"
        )


def _label(frame: Frame, settings: Settings, context: Context) -> LabelResult:
    from ase.units import Bohr, Hartree

    reason = validity.invalid(frame) or validity.not_a_molecule(frame, "PySCF")
    if reason:
        return failure("invalid-input", reason)
    with scratch.folder(context, "pyscf") as folder:
        log = folder / "pyscf.log"
        try:
            with log.open("w") as stream:
                energy, gradient, problem = _compute(frame, settings, stream, context.get("memory"))
        except MemoryError:
            problem = ("out-of-memory", "PySCF ran out of memory")
        except (RuntimeError, NotImplementedError, ValueError, ArithmeticError) as error:
            problem = ("crashed", f"PySCF: {type(error).__name__}: {error}")
        text = json.dumps({"frame": frame, "settings": settings}, indent=1)
        printed = log.read_text(errors="replace")
    path = TaskLog.of_frame(frame, text, context).write(printed, failed=bool(problem))
    if problem:
        return failure(*problem, path)
    forces = [[-x * Hartree / Bohr for x in row] for row in gradient]
    return labels.label(frame, energy * Hartree, forces, None, code(context))


def _compute(
    frame: Frame, settings: Settings, log: TextIO, memory: int | None
) -> tuple[float, Vectors, tuple[FailureClass, str] | None]:
    """Energy in Ha, its gradient in Ha/bohr, and the class and message of a failure."""
    from pyscf import mp

    molecule = _molecule(frame, settings, log)
    molecule.max_memory = memory or molecule.max_memory
    field = _mean_field(molecule, settings)
    field.kernel()
    if not field.converged:
        return 0.0, [], ("unconverged", f"the SCF did not converge in {field.max_cycle} cycles")
    method = mp.MP2(field).run() if settings["method"] == "mp2" else field
    gradient = method.nuc_grad_method()
    if settings.get("grid_response"):
        gradient.grid_response = True
    return float(method.e_tot), gradient.kernel().tolist(), None


def _molecule(frame: Frame, settings: Settings, log: TextIO) -> Mole:
    from ase.units import Bohr
    from pyscf import gto
    from pyscf.lib.exceptions import BasisNotFoundError

    positions = [[x / Bohr for x in row] for row in frame["positions"]]
    molecule = gto.Mole(
        atom=list(zip(frame["symbols"], positions, strict=True)), unit="Bohr", charge=frame.get("charge") or 0,
        spin=(frame.get("multiplicity") or 1) - 1, basis=settings["basis"], ecp=settings.get("ecp", {}),
        verbose=4, stdout=log,
    )  # fmt: skip
    try:
        return molecule.build(dump_input=False, parse_arg=False)
    except BasisNotFoundError as error:
        raise Fatal(f"PySCF: {error}", "PySCF's documentation lists its basis sets", exit_code=BAD_DATA) from None


def _mean_field(molecule: Mole, settings: Settings) -> SCF:
    from pyscf import dft, scf

    open_shell = molecule.spin != 0 or settings.get("unrestricted", False)
    if settings["method"] == "dft":
        field = (dft.UKS if open_shell else dft.RKS)(molecule, xc=settings["xc"])
        field.grids.level = settings.get("grids_level", field.grids.level)
    else:
        field = (scf.UHF if open_shell else scf.RHF)(molecule)
    if settings.get("density_fit"):
        field = field.density_fit()
    for key in ("conv_tol", "max_cycle", "level_shift", "disp"):
        if key in settings:
            setattr(field, key, settings[key])
    return field.newton() if settings.get("newton") else field
