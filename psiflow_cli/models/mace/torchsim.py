"""A MACE model behind torch-sim's interface, for many walkers at once."""

from __future__ import annotations

from typing import TYPE_CHECKING

from psiflow_cli.models.mace import mace_internals
from psiflow_cli.models.mace.inference import computing, load, weights_file
from psiflow_cli.worker.failures import Fatal
from psiflow_cli.worker.models import hardware

if TYPE_CHECKING:
    from torch_sim.models.interface import ModelInterface

    from psiflow_cli.messages import Context


def torchsim(member: str, context: Context, stress: bool) -> ModelInterface:
    """*worker*: see `protocols.Batches`. Raises Fatal for a model with several heads: the interface takes the first."""
    import torch

    hardware.set_threads(context)
    device = hardware.device(context)
    model = computing(load(weights_file(member), device), context)
    dtype = getattr(torch, mace_internals.native_dtype(model))
    heads = mace_internals.heads(model)
    if len(heads) > 1:
        raise Fatal(f"this MACE model has {len(heads)} heads, and torch-sim would take the first", "--engine ase")
    interface = mace_internals.torchsim_interface()
    return interface(model, device=torch.device(device), dtype=dtype, compute_forces=True, compute_stress=stress)
