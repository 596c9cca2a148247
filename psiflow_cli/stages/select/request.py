"""What `select` is asked for, and the worker's function that makes structures points in a space of features."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from psiflow_cli import protocols, registry
from psiflow_cli.bundle import Bundle
from psiflow_cli.errors import UsageError
from psiflow_cli.stages.core.framewise import Work
from psiflow_cli.stages.core.model_input import known_elements
from psiflow_cli.stages.core.workspace import Job

if TYPE_CHECKING:
    from psiflow_cli.messages import ErrorScales


@dataclass(frozen=True)
class Selection:
    job: Job  # its frames are the inputs, and behind them what is there already
    competing: int  # how many of the job's files are chosen from
    number: int | None
    by: str  # `random`, `farthest`, `committee` or `error`
    score: str  # `max` or `mean`; see `scores`
    threshold: tuple[float, float] | None  # the least and the largest score of those that compete
    closest: float
    """The least distance of a chosen frame from others, in the space of the features; 0: none."""
    stratify: bool
    seed: int
    keys: dict[str, str] | None
    model: Bundle | None
    """Whose predictions and features count; without one, the frames say what was predicted."""
    descriptor: str | None  # `model` or `soap`: the space in which distances count, if they do
    rest: str | None
    scales: ErrorScales | None = None  # of a calibrated committee, whose expected errors count in place of its spread

    @property
    def has_scores(self) -> bool:
        return self.by in ("committee", "error")

    @property
    def inputs(self) -> tuple[str, ...]:
        """What the model reads of a frame besides its structure."""
        return self.model.frame_inputs if self.model else ()

    def features(self, elements: set[str]) -> Work:
        """What makes the features of frames of these elements, which span the space of SOAP's average vector."""
        if self.descriptor == "model" and self.model:
            return _of_model(self.model, self.job.dtype)
        species = sorted(elements)
        return Work(
            function="psiflow_cli.worker.models.descriptors:soap", payload={"species": species},
            fingerprint=f"soap-{'-'.join(species)}", task_seconds=2.0, verb="describing", inputs=self.inputs,
        )  # fmt: skip


def describer(model: Bundle) -> str | None:
    """Whose features are a model's: "" for its own, or the term of a sum; None where it gives none away."""
    if "terms" not in model.facts:
        return "" if isinstance(registry.potential(model.family), protocols.Describes) else None
    families = ((term["what"], term.get("family")) for term in model.facts["terms"])
    return next((w for w, f in families if f and isinstance(registry.potential(f), protocols.Describes)), None)


def _of_model(model: Bundle, dtype: str) -> Work:
    """By what a model's first member knows of the atoms; raises UsageError for a model that gives none away."""
    if describer(model) is None:
        kind = "no term of this sum has" if "terms" in model.facts else f"models of the family {model.family} have no"
        raise UsageError(f"{model.path}: {kind} features", "--descriptor soap")
    family = registry.potential(model.family)
    payload = {"family": family.__name__, "members": model.members[:1], "weights": model.weights}
    return Work(
        function="psiflow_cli.worker.models.descriptors:of_model",
        payload={**payload, "elements": known_elements(model)},
        fingerprint=f"features-{model.fingerprint}-{dtype}", task_seconds=2.0, verb="describing",
        elements=known_elements(model), inputs=model.frame_inputs,
    )  # fmt: skip
