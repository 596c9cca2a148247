"""Nequix: its model files, by JAX (.nqx) or by torch (.pt)."""

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

    ase_calculator: Calculator = NequixCalculator(
        model_path=member, backend="jax" if member.endswith(".nqx") else "torch",
        use_kernel=hardware.device(context) == "cuda",
    )  # fmt: skip
    return ase_calculator


@pretrained.opening
def torchsim(member: str, context: Context, stress: bool) -> ModelInterface:
    """*worker*: torch-sim's interface (0.6, for Python 3.12) to a model for torch; it always has the stress."""
    import torch
    from torch_sim.models.nequix import NequixModel

    device = hardware.device(context)
    return NequixModel(member, use_kernel=device == "cuda", device=torch.device(device), dtype=torch.float64)
