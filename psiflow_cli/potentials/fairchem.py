"""fairchem: the checkpoints of UMA and eSEN. The head is the task of one that has several: omol, omat, oc20, ..."""

from __future__ import annotations

from typing import TYPE_CHECKING

from psiflow_cli.worker.models import hardware
from psiflow_cli.worker.models.interfaces import pretrained

if TYPE_CHECKING:
    from ase.calculators.calculator import Calculator
    from torch_sim.models.interface import ModelInterface

    from psiflow_cli.messages import Context

SUMMARY = "fairchem (UMA, eSEN), run and not trained"
REQUIRES = ("fairchem", "ase")
FILES = (".pt",)
FRAME_INPUTS = ("charge", "multiplicity")  # of the task omol
heads = pretrained.any_head
predict = pretrained.predictor(__name__)


@pretrained.opening
def calculator(member: str, context: Context) -> Calculator:
    """*worker*: fairchem's own ASE calculator.

    Its default settings compile the model for each composition, and multiply in TF32 on a GPU (fairchem 2.24).
    """
    from fairchem.core import FAIRChemCalculator
    from fairchem.core.units.mlip_unit import InferenceSettings, load_predict_unit

    hardware.set_threads(context)
    settings = InferenceSettings(tf32=False, merge_mole=False, compile=False, external_graph_gen=False)
    unit = load_predict_unit(member, inference_settings=settings, device=hardware.device(context))
    ase_calculator: Calculator = FAIRChemCalculator(unit, task_name=context.get("head"))
    return ase_calculator


@pretrained.opening
def torchsim(member: str, context: Context, stress: bool) -> ModelInterface:
    """*worker*: torch-sim's interface to it (torch-sim 0.6, for Python 3.12)."""
    import torch
    from torch_sim.models.fairchem import FairChemModel

    device = torch.device(hardware.device(context))
    return FairChemModel(member, task_name=context.get("head"), device=device, compute_stress=stress)
