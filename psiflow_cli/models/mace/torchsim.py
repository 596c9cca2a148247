"""A MACE model behind torch-sim's interface, for many walkers at once."""

from __future__ import annotations

from typing import Any

from psiflow_cli.models.mace.inference import native_dtype, weights_file
from psiflow_cli.worker.failures import Fatal
from psiflow_cli.worker.models import batches

Wire = dict[str, Any]


def torchsim(member: str, context: Wire, stress: bool) -> Any:
    """*worker*: see `protocols.Batches`. Raises Fatal for a model with several heads: the interface takes the first.

    MACE has an interface of its own for torch-sim from 0.4 on (which needs Python 3.12), torch-sim 0.3 one for MACE.
    """
    import torch

    torch.set_num_threads(batches.threads(context))
    device = torch.device(context.get("device") or "cpu")
    model = torch.load(weights_file(member), map_location=device, weights_only=False)
    dtype = getattr(torch, context.get("dtype") or native_dtype(model))
    heads = list(getattr(model, "heads", None) or ["Default"])
    if len(heads) > 1:
        raise Fatal(f"this MACE model has {len(heads)} heads, and torch-sim would take the first", "--engine ase")
    return _interface()(model, device=device, dtype=dtype, compute_forces=True, compute_stress=stress)


def _interface() -> Any:
    try:
        from torch_sim.neighbors import torchsim_nl  # noqa: F401  (from 0.4 on)
    except ImportError:
        from torch_sim.models.mace import MaceModel

        return MaceModel
    from mace.calculators.mace_torchsim import MaceTorchSimModel

    return MaceTorchSimModel
