"""GRACE: the saved_model.pb of a folder that gracemaker or GRACE's foundation models have made, with all beside it."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from psiflow_cli.worker.models.interfaces import pretrained

if TYPE_CHECKING:
    from ase.calculators.calculator import Calculator

    from psiflow_cli.messages import Context

SUMMARY = "GRACE (GRACE-2L-OMAT, ...), run and not trained"
REQUIRES = ("tensorpotential", "ase")
FILES = ("saved_model.pb",)
predict = pretrained.predictor(__name__)


def parts(file: Path) -> list[str]:
    """*command*: what else belongs to the model: all that TensorFlow keeps beside it."""
    folder = file.absolute().parent
    return sorted(str(path) for path in folder.rglob("*") if path.is_file() and path != folder / file.name)


@pretrained.opening
def calculator(member: str, context: Context) -> Calculator:
    """*worker*: GRACE's own ASE calculator; TensorFlow finds the device."""
    from tensorpotential.calculator import TPCalculator

    ase_calculator: Calculator = TPCalculator(model=str(Path(member).parent))
    return ase_calculator
