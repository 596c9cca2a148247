"""Defaults that train well on one core and on one GPU, after NequIP's own tutorial, for both families.

A training that starts from a model has its architecture, and small steps for as long as they help.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import TYPE_CHECKING

from psiflow_cli.errors import Refusal
from psiflow_cli.models.nequip import settings
from psiflow_cli.models.nequip.keys import SHORT

if TYPE_CHECKING:
    from psiflow_cli.messages import Config, TrainingData

STEPS = 20_000
"""How many optimiser steps a training takes by default."""
ENERGY = 100.0
"""How much more the square of an energy error per atom (eV) counts than that of a force (eV/Å), in the end."""
STRESS = 10.0
"""The same of the stress (eV/Å³)."""
LR_FALL = 0.01
"""The last learning rate over the first."""
SHORTER = 4
"""Into how many parts the epochs are divided, of which one is enough for a training that starts from a model."""
TUNING_LR = 2e-3
"""A fifth of the rate from scratch: larger steps first undo what was learned."""
TUNING_PATIENCE = 20
"""Epochs without a lower validation loss after which the training ends."""
_OWN = ("compile_mode", "per_type_energy_scales_trainable", "per_type_energy_shifts_trainable")
"""Keys of the model that a model to start from does not decide."""
SIZES: dict[str, dict[str, Config]] = {
    "nequip.model.NequIPGNNModel": {
        "small": {},
        "medium": {"num_features": 64, "l_max": 2},
        "large": {"num_features": 128, "l_max": 2, "radial_mlp_width": 128},
    },
    "allegro.model.AllegroModel": {
        "small": {},
        "medium": {"num_scalar_features": 128, "num_tensor_features": 32, "allegro_mlp_hidden_layers_width": 128},
        "large": {
            **{"l_max": 3, "num_scalar_features": 128, "num_tensor_features": 64, "radial_chemical_embed_dim": 64},
            **{"scalar_embed_mlp_hidden_layers_width": 128, "allegro_mlp_hidden_layers_width": 256},
        },
    },
}
"""What the sizes of a model have that the small ones below have not."""
NEQUIP: Config = {
    "_target_": "nequip.model.NequIPGNNModel",
    "r_max": 5.0,
    "num_layers": 4,
    "l_max": 1,
    "parity": False,
    "num_features": 32,
    "radial_mlp_depth": 1,
    "radial_mlp_width": 64,
}
ALLEGRO: Config = {
    "_target_": "allegro.model.AllegroModel",
    "r_max": 5.0,
    "radial_chemical_embed": {"_target_": "allegro.nn.TwoBodyBesselScalarEmbed", "num_bessels": 8},
    "radial_chemical_embed_dim": 32,
    "scalar_embed_mlp_hidden_layers_depth": 1,
    "scalar_embed_mlp_hidden_layers_width": 64,
    "l_max": 2,
    "parity": True,
    "num_layers": 2,
    "num_scalar_features": 64,
    "num_tensor_features": 16,
    "tp_path_channel_coupling": False,
    "allegro_mlp_hidden_layers_depth": 1,
    "allegro_mlp_hidden_layers_width": 64,
    "readout_mlp_hidden_layers_depth": 1,
    "readout_mlp_hidden_layers_width": 32,
}
FILLED: Config = {
    "avg_num_neighbors": "${training_data_stats:num_neighbors_mean}",
    "per_type_energy_scales": "${training_data_stats:forces_rms}",
}
"""What NequIP computes of the training data, in every model that does not say otherwise."""


def defaults(architecture: Config, summary: TrainingData, chosen: Config) -> Config:
    """The whole configuration less what depends on where it runs; `chosen` is what the user asks for.

    A training that starts from a model is shorter. To a loss of the user's own nothing is added.
    """
    frames = summary["frames"]
    asked = [settings.resolved(chosen, settings.get(chosen, SHORT[key])) for key in ("batch_size", "max_epochs")]
    batch, epochs = (value if isinstance(value, int) and value > 0 else None for value in asked)
    batch = batch or max(min(2, frames), min(16, frames // 90))
    shorter = SHORTER if "init" in summary else 1
    epochs = epochs or max(20, min(400, STEPS * batch // max(1, frames))) // shorter
    own_loss = settings.get(chosen, "training_module.loss") is not None
    has_stress = bool(summary.get("some_stress", summary["stress"]))
    loader = "torch.utils.data.DataLoader"
    return {
        "run": ["train"],
        "data": {
            "_target_": "nequip.data.datamodule.ASEDataModule",
            "train_dataloader": {"_target_": loader, "batch_size": batch, "shuffle": True, "num_workers": 0},
            "val_dataloader": {"_target_": loader, "batch_size": 2 * batch, "num_workers": 0},
            "stats_manager": {
                "_target_": "nequip.data.CommonDataStatisticsManager",
                "dataloader_kwargs": {"batch_size": 2 * batch},
            },
        },
        "trainer": {
            "_target_": "lightning.Trainer",
            "max_epochs": epochs,
            "gradient_clip_val": 10.0,
            "logger": False,
            "enable_progress_bar": False,
            "enable_model_summary": False,
            "num_sanity_val_steps": 0,
            "log_every_n_steps": 100,
            "callbacks": [] if own_loss else [_energies_later(epochs, has_stress)],
        },
        "training_module": {
            "_target_": "nequip.train.EMALightningModule",
            "ema_decay": 0.99,
            **_losses(has_stress, has_stress and summary.get("valid_stress", True)),
            "optimizer": {"_target_": "torch.optim.Adam", "lr": 0.01, "amsgrad": True},
            "lr_scheduler": {
                "scheduler": {"_target_": "torch.optim.lr_scheduler.ExponentialLR", "gamma": _gamma(epochs)},
                "interval": "epoch",
                "frequency": 1,
            },
            "model": {**architecture, **SIZES[architecture["_target_"]][summary.get("size", "small")]},
        },
    }


def _gamma(epochs: int) -> float:
    """By what the learning rate falls with every epoch, so that it is low wherever the clock ends the training."""
    return round(math.exp(math.log(LR_FALL) / epochs), 6)


def _energies_later(epochs: int, has_stress: bool) -> Config:
    """Forces first, and energies in two steps once the learning rate is lower, or their noise would slow both down.

    Without, slow degrees of freedom such as dihedrals, of which forces tell little, keep their errors (on 3BPA).
    """
    others = {"forces_mse": 1.0, **({"stress_mse": STRESS} if has_stress else {})}
    steps = {max(1, epochs // 4): ENERGY / 10, max(2, epochs // 2): ENERGY}
    return {
        "_target_": "nequip.train.callbacks.LossCoefficientScheduler",
        "schedule": {str(at): {"per_atom_energy_mse": weight, **others} for at, weight in steps.items()},
    }


def _losses(has_stress: bool, is_validated: bool) -> Config:
    """Energies per atom, forces, stress: errors of the last are some meV/Å³, of forces some ten meV/Å.

    Where no validation frame has a stress, its error is not a number, and may not count among the others.
    """
    name = "EnergyForceStress" if has_stress else "EnergyForce"
    ignore = {"ignore_nan": {"stress": True}} if has_stress else {}
    return {
        "loss": {
            "_target_": f"nequip.train.{name}Loss",
            "per_atom_energy": True,
            "coeffs": {"total_energy": 1.0, "forces": 1.0, **({"stress": STRESS} if has_stress else {})},
            **ignore,
        },
        "val_metrics": {
            "_target_": f"nequip.train.{name}Metrics",
            "coeffs": {
                "per_atom_energy_rmse": 1.0,
                "forces_rmse": 1.0,
                **({"stress_rmse": 1.0 if is_validated else None} if has_stress else {}),
            },
            **ignore,
        },
    }


def contradictions(chosen: Mapping[str, object], old: Mapping[str, object]) -> list[Refusal]:
    """What contradicts the model to start from, whose configuration is `old`, empty if unknown."""
    refusals = []
    asked, built = settings.table(chosen, settings.MODEL), settings.architecture({**old})
    for key in asked:
        value, before = settings.resolved(chosen, asked[key]), built.get(key)
        if key not in _OWN and value != before:
            what = f"is {before!r} in" if key in built else "is decided by"
            problem = f"model.{key} {value!r} is not possible: it {what} the model to start from"
            refusals.append(Refusal(f"{settings.MODEL}.{key}", problem, "leave it out, or train without --init"))
    return refusals


def tuned(full: Config, chosen: Config, old: Config, as_given: bool) -> Config:
    """The configuration `full` for a model to start from that was made with the configuration `old`, empty if unknown.

    Nothing but the architecture is added to what the user asks for if that is to be taken `as_given`.
    """
    module = full["training_module"]
    asked, before = settings.table(chosen, settings.MODEL), settings.architecture(old)
    before.pop("per_type_energy_shifts", None)
    full = {**full, "training_module": {**module, "model": {**before, **{k: asked[k] for k in asked if k in _OWN}}}}
    if as_given:
        return full
    if settings.get(chosen, "training_module.optimizer") is None:
        settings.put(full, "training_module.optimizer.lr", TUNING_LR)
    if settings.get(chosen, "training_module.loss") is None:
        settings.put(full, "training_module.loss.coeffs.total_energy", ENERGY)
    if settings.get(chosen, "trainer.callbacks") is None:
        stop = {
            "_target_": "lightning.pytorch.callbacks.EarlyStopping",
            "monitor": settings.monitor(full),
            "patience": TUNING_PATIENCE,
        }
        if settings.is_highest_best(full):
            stop["mode"] = "max"
        settings.put(full, "trainer.callbacks", [stop])
    return full
