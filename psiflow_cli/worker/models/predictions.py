"""Many frames in one call of a model where its family can do so; else its calculator, frame by frame."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from typing import TYPE_CHECKING, TypeAlias, TypeVar

from psiflow_cli import voigt
from psiflow_cli.worker.environment_faults import environment_fault
from psiflow_cli.worker.failures import Fatal, failure, is_out_of_memory
from psiflow_cli.worker.models import calculators, committee
from psiflow_cli.worker.pool import call
from psiflow_cli.worker.structures import conversion, labels, validity

if TYPE_CHECKING:
    import numpy as np
    from ase.calculators.calculator import Calculator

    from psiflow_cli.messages import Context, Failure, Frame, ModelWeights, Prediction, PredictionResult

Predict: TypeAlias = "Callable[[list[Frame]], list[PredictionResult]]"
Item = TypeVar("Item")
Result = TypeVar("Result")


def predictor(model: ModelWeights, context: Context) -> Predict:
    """What predicts with a model; an exception is the failure of the frame it comes from."""
    try:
        call.resolve(f"{model['family']}:predict")
    except AttributeError:
        calculator = calculators.calculator(model, context)
        return lambda frames: of_calculator(frames, calculator)
    weights = model.get("weights", {})
    return lambda frames: apart(
        frames, lambda some: committee.evaluate(some, model["family"], model["members"], context, weights), crashed
    )


def crashed(error: Exception, item: object = None) -> Failure:
    """The failure that an exception of a model or of ASE is; memory that ran out is the machine's.

    Raises Fatal for what is the environment's fault.
    """
    if fatal := environment_fault(error):
        raise fatal from error
    return failure("out-of-memory" if is_out_of_memory(error) else "crashed", f"{type(error).__name__}: {error}")


def apart(
    items: list[Item],
    compute: Callable[[list[Item]], Sequence[Result | Failure]],
    failed: Callable[[Exception, Item], Failure | None],
) -> list[Result | Failure]:
    """What comes of items (frames) together or, where that fails, of each half: so that only the guilty one suffers.

    `failed` says what an exception means for an item alone; None: it is not the item's, and is raised.
    """
    try:
        return list(compute(items))
    except Fatal:
        raise
    except Exception as error:
        problem = failed(error, items[0])
        if problem is None:
            raise
        if len(items) == 1:
            return [problem]
    half = len(items) // 2
    return apart(items[:half], compute, failed) + apart(items[half:], compute, failed)


def of_calculator(frames: list[Frame], calculator: Calculator) -> list[PredictionResult]:
    """What an ASE calculator says of each frame, or a failure where it says nothing that fits the frame."""

    def one(frame: Frame) -> PredictionResult:
        prediction = labelled(frame, calculator)
        fault = labels.label(frame, prediction["energy"], prediction["forces"], prediction["stress"], "")
        return fault if "failure" in fault else prediction

    return apart(frames, lambda some: [unfit(frame, None) or one(frame) for frame in some], crashed)


def labelled(frame: Frame, calculator: Calculator) -> Prediction:
    """What an ASE calculator says of a frame."""
    from ase.calculators.calculator import PropertyNotImplementedError

    calculator.reset()  # it would take positions that differ by 1e-15 Å from those before for the same
    atoms = conversion.to_ase(frame)
    atoms.calc = calculator
    try:
        stress = atoms.get_stress().tolist() if atoms.cell.rank == 3 and voigt.is_defined(atoms.pbc) else None
    except PropertyNotImplementedError:
        stress = None
    prediction: Prediction = {
        "energy": float(atoms.get_potential_energy()),
        "forces": atoms.get_forces().tolist(),
        "stress": stress,
    }
    if hasattr(calculator, "spread"):
        prediction["energy_std"], prediction["forces_std"] = calculator.spread
    return prediction


def unfit(frame: Frame, elements: Collection[str] | None) -> Failure | None:
    """The failure of a frame that no model, or not one of these elements (None: of any), can describe."""
    if reason := validity.invalid(frame):
        return failure("invalid-input", reason)
    foreign = set(frame["symbols"]) - set(frame["symbols"] if elements is None else elements)
    return failure("invalid-input", f"the model does not know {', '.join(sorted(foreign))}") if foreign else None


def largest(forces: np.ndarray) -> float:
    """The largest norm of the force on an atom; `forces` has shape (N, 3)."""
    import numpy as np

    return float(np.sqrt((np.asarray(forces) ** 2).sum(axis=1).max()))
