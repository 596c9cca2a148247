"""MatterSim: its checkpoints, in float32."""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING

from psiflow_cli.worker.models import hardware
from psiflow_cli.worker.models.interfaces import pretrained

if TYPE_CHECKING:
    from ase.calculators.calculator import Calculator
    from torch_sim.models.interface import ModelInterface

    from psiflow_cli.messages import Context

SUMMARY = "MatterSim (mattersim-v1.0.0-1M, ...), run and not trained"
REQUIRES = ("mattersim", "ase")
FILES = (".pth",)
predict = pretrained.predictor(__name__)


@pretrained.opening
def calculator(member: str, context: Context) -> Calculator:
    """*worker*: MatterSim's own ASE calculator."""
    from mattersim.forcefield import MatterSimCalculator

    hardware.set_threads(context)
    ase_calculator: Calculator = MatterSimCalculator.from_checkpoint(load_path=member, device=hardware.device(context))
    return ase_calculator


@pretrained.opening
def torchsim(member: str, context: Context, stress: bool) -> ModelInterface:
    """*worker*: torch-sim's interface to it, which always computes the stress."""
    import torch
    from mattersim.forcefield.potential import Potential, batch_to_dict
    from torch_sim.models import mattersim as interface

    hardware.set_threads(context)
    device = hardware.device(context)
    interface.batch_to_dict = functools.partial(batch_to_dict, device=device)  # which takes a GPU unless told
    model = Potential.from_checkpoint(load_path=member, device=device)
    return interface.MatterSimModel(model, device=torch.device(device), dtype=torch.float32)
