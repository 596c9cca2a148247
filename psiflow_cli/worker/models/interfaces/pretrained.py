"""What families that others train have in common: their model files are opened by their own packages."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import TYPE_CHECKING, ParamSpec, TypeVar

from psiflow_cli.errors import BAD_DATA
from psiflow_cli.worker.environment_faults import environment_fault
from psiflow_cli.worker.failures import Fatal
from psiflow_cli.worker.models import calculators, predictions

if TYPE_CHECKING:
    from psiflow_cli.messages import Context, Frame, PredictionResult

P = ParamSpec("P")
T = TypeVar("T")


def predictor(family: str) -> Callable[[list[Frame], list[str], Context], list[list[PredictionResult]]]:
    """The `predict` of a family (a module with `calculator`): one frame after another, by its ASE calculator."""

    def predict(frames: list[Frame], members: list[str], context: Context) -> list[list[PredictionResult]]:
        return [
            predictions.of_calculator(frames, calculators.calculator({"family": family, "members": [member]}, context))
            for member in members
        ]

    return predict


def any_head(file: object) -> list[str]:
    """*command*: the `heads` of a family whose heads are not known before its own package opens the file."""
    return []


def opening(make: Callable[P, T]) -> Callable[P, T]:
    """A function that opens a model file, its first argument; its exceptions are no frame's fault, and raise Fatal."""

    @functools.wraps(make)
    def opened(*args: P.args, **kwargs: P.kwargs) -> T:
        try:
            return make(*args, **kwargs)
        except Fatal:
            raise
        except Exception as error:
            family = make.__module__.rpartition(".")[2]
            reason = " ".join(f"{type(error).__name__}: {error}".split())[:300]
            problem = f"{args[0]}: {family} cannot open this model: {reason}"
            hint = (
                "give the family of the model with --family, and its task or data set, if it has several, with --head"
            )
            raise environment_fault(error) or Fatal(problem, hint, BAD_DATA) from error

    return opened
