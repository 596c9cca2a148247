"""A NequIP or Allegro model behind torch-sim's interface, for many walkers at once."""

from __future__ import annotations

from typing import Any

from psiflow_cli.models.nequip import compiling
from psiflow_cli.models.nequip.inference import cast
from psiflow_cli.models.nequip.weights import weights_file
from psiflow_cli.worker.models import batches

Wire = dict[str, Any]

_NEIGHBOURS = "matscipy"
"""What finds neighbours: the default, NVIDIA's, is for GPUs and need not be installed."""


def torchsim(member: str, context: Wire, stress: bool) -> Any:
    """*worker*: see `protocols.Model`; a model that was compiled for batches is taken in place of the weights."""
    import torch
    from nequip.integrations.torchsim import NequIPTorchSimCalc

    torch.set_num_threads(batches.threads(context))
    device = context.get("device") or "cpu"
    options = {"device": device, "chemical_species_to_atom_type_map": True, "neighborlist_backend": _NEIGHBOURS}
    if found := compiling.kept(member, "torchsim", context):
        made = NequIPTorchSimCalc.from_compiled_model(found[0], **options)
    else:
        made = NequIPTorchSimCalc._from_saved_model(weights_file(member), **options)
        cast(made.model, context.get("dtype"))
    made.compute_stress = stress
    return made
