"""A MACE model behind torch-sim's interface, for many walkers at once."""

from __future__ import annotations

from typing import TYPE_CHECKING

from psiflow_cli.models.mace import mace_internals
from psiflow_cli.models.mace.inference import load, of_one_head, weights_file
from psiflow_cli.worker.models import hardware

if TYPE_CHECKING:
    from torch_sim.models.interface import ModelInterface

    from psiflow_cli.messages import Context


def torchsim(member: str, context: Context, stress: bool) -> ModelInterface:
    """*worker*: see `protocols.Batches`. Of several heads the interface would take the first, so it gets only one."""
    import torch

    hardware.set_threads(context)
    device = hardware.device(context)
    model = of_one_head(load(weights_file(member), device), context)
    dtype = getattr(torch, context.get("dtype") or mace_internals.native_dtype(model))
    interface = mace_internals.torchsim_interface()
    return interface(model, device=torch.device(device), dtype=dtype, compute_forces=True, compute_stress=stress)
