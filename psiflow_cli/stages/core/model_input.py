"""A bundle as workers get it, its predictions as framewise work, and whether it fits the frames."""

from __future__ import annotations

from typing import TYPE_CHECKING

from psiflow_cli.bundle import Bundle
from psiflow_cli.errors import BadData
from psiflow_cli.stages.core.framewise import Work
from psiflow_cli.stages.core.results import Survey
from psiflow_cli.stages.core.workspace import Job

if TYPE_CHECKING:
    from psiflow_cli.messages import ModelWeights


def model_weights(model: Bundle, family: str) -> ModelWeights:
    """A model as `worker.models.calculators` loads it; `family` is the family's module."""
    return {"family": family, "members": model.members, "weights": model.weights}


def predictions(model: Bundle, family: str, dtype: str) -> Work:
    """`Prediction`s of every frame; `family` is the family's module, `dtype` the site's, or `native`."""
    return Work(
        function="psiflow_cli.worker.models.committee:evaluate", payload={**model_weights(model, family)},
        fingerprint=f"{model.fingerprint}-{dtype}", task_seconds=2.0, verb="evaluating",
        elements=known_elements(model), inputs=model.frame_inputs,
    )  # fmt: skip


def known_elements(model: Bundle) -> list[str] | None:
    """The elements that a model knows, None where nobody says."""
    return list(model.elements) or None


def check_elements(survey: Survey, model: Bundle, job: Job) -> None:
    """Raise BadData where the model knows none of the elements: then it is the wrong one."""
    if model.elements and survey.elements and survey.elements.isdisjoint(model.elements):
        problem = f"{job.frames[0]}: the model knows none of these elements: {', '.join(sorted(survey.elements))}"
        raise BadData(problem, f"{model.path} knows {', '.join(model.elements)}")
