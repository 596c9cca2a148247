"""metatomic: exported atomistic models of metatrain and others (PET-MAD, ...), in the precision that they name."""

from __future__ import annotations

from typing import TYPE_CHECKING

from psiflow_cli.worker.models import hardware
from psiflow_cli.worker.models.interfaces import pretrained

if TYPE_CHECKING:
    from ase.calculators.calculator import Calculator
    from torch_sim.models.interface import ModelInterface

    from psiflow_cli.messages import Context

SUMMARY = "metatomic models (PET-MAD, ...), run and not trained"
REQUIRES = ("metatomic", "ase")
FILES = (".pt",)
predict = pretrained.predictor(__name__)


@pretrained.opening
def calculator(member: str, context: Context) -> Calculator:
    """*worker*: metatomic's own ASE calculator."""
    try:
        from metatomic_ase import MetatomicCalculator
    except ImportError:  # part of metatomic-torch at first
        from metatomic.torch.ase_calculator import MetatomicCalculator

    hardware.set_threads(context)
    ase_calculator: Calculator = MetatomicCalculator(member, device=hardware.device(context))
    return ase_calculator


@pretrained.opening
def torchsim(member: str, context: Context, stress: bool) -> ModelInterface:
    """*worker*: torch-sim's interface to it."""
    import torch
    from torch_sim.models.metatomic import MetatomicModel

    return MetatomicModel(member, device=torch.device(hardware.device(context)), compute_stress=stress)
