"""Nequix: its model files, in float32, by JAX (.nqx) or by torch (.pt)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from psiflow_cli.worker.models import hardware
from psiflow_cli.worker.models.interfaces import pretrained

if TYPE_CHECKING:
    from ase.calculators.calculator import Calculator
    from torch_sim.models.interface import ModelInterface

    from psiflow_cli.messages import Context

SUMMARY = "Nequix (nequix-mp-1, ...), run and not trained"
REQUIRES = ("nequix", "ase")
FILES = (".nqx", ".pt")
predict = pretrained.predictor(__name__)


@pretrained.opening
def calculator(member: str, context: Context) -> Calculator:
    """*worker*: Nequix's own ASE calculator."""
    from nequix.calculator import NequixCalculator

    made: Calculator = NequixCalculator(model_path=member, backend="jax" if member.endswith(".nqx") else "torch")
    return made


@pretrained.opening
def torchsim(member: str, context: Context, stress: bool) -> ModelInterface:
    """*worker*: torch-sim's interface to it (torch-sim 0.6, for Python 3.12), of a model for torch."""
    import torch
    from torch_sim.models.nequix import NequixModel

    return NequixModel(member, device=torch.device(hardware.device(context)), compute_stress=stress)
