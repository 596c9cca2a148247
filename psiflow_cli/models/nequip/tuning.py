"""Defaults of a training that starts from a model: its architecture, and small steps for as long as they help."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from psiflow_cli.errors import UsageError
from psiflow_cli.models.nequip import settings
from psiflow_cli.models.nequip.defaults import ENERGY

if TYPE_CHECKING:
    from psiflow_cli.messages import Config

LR = 2e-3  # a fifth of the rate from scratch: larger steps first undo what was learned
PATIENCE = 20  # epochs without a lower validation loss after which the training ends
_OWN = ("compile_mode", "per_type_energy_scales_trainable", "per_type_energy_shifts_trainable")
"""Keys of the model that a model to start from does not decide."""


def check(chosen: Mapping[str, object], old: Mapping[str, object]) -> None:
    """Raise UsageError for what contradicts the model to start from, whose configuration is `old`, empty if unknown."""
    asked, built = settings.table(chosen, settings.MODEL), settings.table(old, settings.MODEL)
    for key in asked:
        value, before = settings.resolved(chosen, asked[key]), settings.resolved(old, built.get(key))
        if key not in _OWN and value != before:
            what = f"is {before!r} in" if key in built else "is decided by"
            problem = f"model.{key} {value!r} cannot be: it {what} the model to start from"
            raise UsageError(problem, "leave it out, or train without --init")


def tuned(full: Config, chosen: Config, old: Config) -> Config:
    """The configuration `full` for a model to start from that was made with the configuration `old`."""
    module = full["training_module"]
    asked, before = settings.table(chosen, settings.MODEL), dict(settings.table(old, settings.MODEL))
    before.pop("per_type_energy_shifts", None)
    model = {**before, **{key: asked[key] for key in asked if key in _OWN}} if before else module["model"]
    full = {**full, "training_module": {**module, "model": model}}
    if settings.get(chosen, "training_module.optimizer") is None:
        settings.put(full, "training_module.optimizer.lr", LR)
    if settings.get(chosen, "training_module.loss") is None:
        settings.put(full, "training_module.loss.coeffs.total_energy", ENERGY)
    if settings.get(chosen, "trainer.callbacks") is None:
        stop = {"_target_": "lightning.pytorch.callbacks.EarlyStopping", "monitor": settings.monitor(full)}
        settings.put(full, "trainer.callbacks", [{**stop, "patience": PATIENCE}])
    return full
