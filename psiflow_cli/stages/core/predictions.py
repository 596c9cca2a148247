"""A model's predictions of frames as framewise work."""

from __future__ import annotations

from psiflow_cli.bundle import Bundle
from psiflow_cli.stages.core.framewise import Work
from psiflow_cli.stages.core.model_input import model_weights


def predictions(model: Bundle, family: str, dtype: str) -> Work:
    """`Prediction`s of every frame; `family` is the family's module, `dtype` the site's, or `native`."""
    return Work(
        function="psiflow_cli.worker.models.committee:evaluate", payload={**model_weights(model, family)},
        fingerprint=f"{model.fingerprint}-{dtype}", task_seconds=2.0, verb="evaluating",
    )  # fmt: skip
