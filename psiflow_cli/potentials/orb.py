"""ORB: its published weights. The head is the name of the architecture, where the file has not kept its name."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from psiflow_cli.errors import USAGE
from psiflow_cli.worker.failures import Fatal
from psiflow_cli.worker.models import hardware
from psiflow_cli.worker.models.interfaces import pretrained

if TYPE_CHECKING:
    from ase.calculators.calculator import Calculator
    from torch_sim.models.interface import ModelInterface

    from psiflow_cli.messages import Context

SUMMARY = "ORB (orb-v3-conservative-inf-omat, ...), run and not trained"
REQUIRES = ("orb_models", "ase")
FILES = (".ckpt",)
FRAME_INPUTS = ("charge", "multiplicity")  # of the models for molecules (omol)
heads = pretrained.any_head
predict = pretrained.predictor(__name__)


@pretrained.opening
def calculator(member: str, context: Context) -> Calculator:
    """*worker*: ORB's own ASE calculator."""
    try:
        from orb_models.forcefield.inference.calculator import ORBCalculator
    except ImportError:  # before version 0.6
        from orb_models.forcefield.calculator import ORBCalculator
    ase_calculator: Calculator = ORBCalculator(*_parts(member, context), device=hardware.device(context))
    return ase_calculator


@pretrained.opening
def torchsim(member: str, context: Context, stress: bool) -> ModelInterface:
    """*worker*: torch-sim's interface to it."""
    import torch
    from torch_sim.models.orb import OrbModel

    device = torch.device(hardware.device(context))
    model, *adapter = _parts(member, context)
    dtype = next(model.parameters()).dtype
    return OrbModel(model, *adapter, compute_stress=stress, device=device, dtype=dtype)


def _parts(member: str, context: Context) -> tuple[Any, ...]:
    """The model and, from version 0.6 on, what turns structures into its graphs."""
    from orb_models.forcefield.pretrained import ORB_PRETRAINED_MODELS

    hardware.set_threads(context)
    name = context.get("head") or _architecture(Path(member).name, list(ORB_PRETRAINED_MODELS))
    if name not in ORB_PRETRAINED_MODELS:
        known = ", ".join(ORB_PRETRAINED_MODELS)
        raise Fatal(f"{member}: its architecture cannot be read from its name", f"give it with --head: {known}", USAGE)
    precision = "float64" if context.get("dtype") != "float32" else "float32-high"
    loaded = ORB_PRETRAINED_MODELS[name](
        weights_path=member, device=hardware.device(context), precision=precision, compile=False
    )
    return loaded if isinstance(loaded, tuple) else (loaded,)


def _architecture(file: str, known: list[str]) -> str | None:
    """The longest of the names that the file's begins with: orb-v3-direct-inf-omat-20250404.ckpt."""
    return max((name for name in known if file.startswith(name)), key=len, default=None)
