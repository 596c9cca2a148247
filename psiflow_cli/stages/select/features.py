"""Structures as points in a space of features: which function of the worker makes them, and what decides them."""

from __future__ import annotations

from collections.abc import Iterable

from psiflow_cli import protocols, registry
from psiflow_cli.bundle import Bundle
from psiflow_cli.errors import UsageError
from psiflow_cli.stages.core.framewise import Work


def of_model(model: Bundle, dtype: str) -> Work:
    """By what a model's first member knows of the atoms; raises UsageError for a family that gives none away."""
    family = registry.load("models", model.family)
    if not isinstance(family, protocols.Describes):
        raise UsageError(f"{model.path}: models of the family {model.family} have no features", "--descriptor soap")
    payload = {"family": family.__name__, "members": model.members[:1], "weights": model.weights}
    return Work(
        function="psiflow_cli.worker.models.descriptors:of_model",
        payload={**payload, "elements": None if model.is_foreign else list(model.elements)},
        fingerprint=f"features-{model.fingerprint}-{dtype}", task_seconds=2.0, verb="describing",
    )  # fmt: skip


def soap(elements: Iterable[str]) -> Work:
    """By the average SOAP vector; these elements span the space."""
    species = sorted(elements)
    return Work(
        function="psiflow_cli.worker.models.descriptors:soap", payload={"species": species},
        fingerprint=f"soap-{'-'.join(species)}", task_seconds=2.0, verb="describing",
    )  # fmt: skip
