"""SevenNet: its checkpoints, in float32. The head is the `modal` of a model that was trained on several data sets."""

from __future__ import annotations

from typing import TYPE_CHECKING

from psiflow_cli.errors import USAGE
from psiflow_cli.worker.failures import Fatal
from psiflow_cli.worker.models import hardware
from psiflow_cli.worker.models.interfaces import pretrained

if TYPE_CHECKING:
    from ase.calculators.calculator import Calculator
    from torch_sim.models.interface import ModelInterface

    from psiflow_cli.messages import Context

SUMMARY = "SevenNet (7net-0, 7net-mf-ompa, ...), run and not trained"
REQUIRES = ("sevenn", "ase")
FILES = (".pth",)
heads = pretrained.any_head
predict = pretrained.predictor(__name__)


@pretrained.opening
def calculator(member: str, context: Context) -> Calculator:
    """*worker*: SevenNet's own ASE calculator."""
    from sevenn.calculator import SevenNetCalculator

    hardware.set_threads(context)
    ase_calculator: Calculator = SevenNetCalculator(member, device=hardware.device(context), modal=context.get("head"))
    return ase_calculator


@pretrained.opening
def torchsim(member: str, context: Context, stress: bool) -> ModelInterface:
    """*worker*: torch-sim's interface to it, which always computes the stress."""
    import torch
    from sevenn.util import load_checkpoint

    try:
        from sevenn.torchsim import SevenNetModel
    except ImportError:  # before version 0.13, or with a torch-sim before 0.6
        from sevenn import calculator as own
        from torch_sim.models.sevennet import SevenNetModel

        if not hasattr(own, "torch_script_type"):  # torch-sim 0.3 would fail at the first step
            problem = "torch-sim before version 0.6 has no interface to SevenNet 0.13 and later"
            raise Fatal(problem, "use --engine ase, or install sevenn==0.12.0 there", USAGE) from None
    device = torch.device(hardware.device(context))
    model = load_checkpoint(member).build_model()
    return SevenNetModel(model, modal=context.get("head"), device=device, dtype=torch.float32)
