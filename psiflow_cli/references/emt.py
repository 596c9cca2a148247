"""ASE's effective medium theory: a toy potential that labels in a millisecond, to try a workflow with."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, TypedDict

from psiflow_cli.errors import BadData, UsageError
from psiflow_cli.worker.failures import failure
from psiflow_cli.worker.structures import conversion, labels, validity

if TYPE_CHECKING:
    from psiflow_cli.messages import Context, Frame, LabelResult

SUMMARY = "effective medium theory of ASE (Al Cu Ag Au Ni Pd Pt, roughly H C N O), for tests"
REQUIRES = ("ase",)
FRAME_INPUTS: tuple[str, ...] = ()
DEFAULT_TASK_SECONDS = 1.0
IN_PROCESS = True

ELEMENTS = ("Al", "Cu", "Ag", "Au", "Ni", "Pd", "Pt", "H", "C", "N", "O")


class Settings(TypedDict):
    method: str


def settings(input_file: Path | None, options: dict[str, str]) -> Settings:
    """EMT has nothing to set."""
    if input_file is not None:
        raise UsageError("the reference emt reads no input file", "leave out --input")
    for key in options:
        raise UsageError(f"unknown option {key!r} of the reference emt", "it has no options")
    return {"method": "EMT"}


def check(settings: Settings, elements: set[str]) -> None:
    """Raise BadData for elements without EMT parameters."""
    for element in sorted(elements - set(ELEMENTS)):
        raise BadData(f"EMT has no parameters for the element {element}", "it has parameters for " + " ".join(ELEMENTS))


def label(frames: list[Frame], settings: Settings, context: Context) -> list[LabelResult]:
    return [_label(frame, context) for frame in frames]


def changed(settings: Settings, changes: dict[str, str]) -> Settings:
    raise UsageError(
        f"the reference emt cannot be changed to {', '.join(changes)}", "its frames cannot fail in this way"
    )


def code(context: Context) -> str:
    import ase

    return f"ASE {ase.__version__} EMT"


def ase_calculator(settings: Settings) -> str:
    """The Python expression for ASE's own calculator."""
    return "__import__('ase.calculators.emt', fromlist=['EMT']).EMT()"


def _label(frame: Frame, context: Context) -> LabelResult:
    from ase.calculators.emt import EMT

    reason = validity.invalid(frame)
    if reason:
        return failure("invalid-input", reason)
    for element in sorted(set(frame["symbols"]) - set(ELEMENTS)):
        return failure("invalid-input", f"EMT has no parameters for the element {element}")
    system = conversion.to_ase(frame)
    system.calc = EMT()
    energy, forces = float(system.get_potential_energy()), system.get_forces().tolist()
    stress = [float(x) for x in system.get_stress()] if all(system.pbc) else None
    return labels.label(frame, energy, forces, stress, code(context))
