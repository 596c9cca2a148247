"""A NequIP or Allegro model behind torch-sim's interface, for many walkers at once."""

from __future__ import annotations

from typing import TYPE_CHECKING

from psiflow_cli.models.nequip import nequip_internals
from psiflow_cli.models.nequip.export import cached
from psiflow_cli.models.nequip.files import weights_file
from psiflow_cli.worker.models import hardware

if TYPE_CHECKING:
    from nequip.integrations.torchsim import NequIPTorchSimCalc

    from psiflow_cli.messages import Context

_NEIGHBOURS = "matscipy"
"""What finds neighbours: the default, NVIDIA's, is for GPUs and need not be installed."""


def torchsim(member: str, context: Context, stress: bool) -> NequIPTorchSimCalc:
    """*worker*: see `protocols.Batches`; a model that was compiled for batches is taken in place of the weights."""
    from nequip.integrations.torchsim import NequIPTorchSimCalc

    hardware.set_threads(context)
    device = hardware.device(context)
    if compiled := cached(member, "torchsim", context):
        interface = NequIPTorchSimCalc.from_compiled_model(
            compiled[0], device=device, chemical_species_to_atom_type_map=True, neighborlist_backend=_NEIGHBOURS
        )
    else:
        interface = nequip_internals.eager_torchsim(weights_file(member), device, _NEIGHBOURS)
        nequip_internals.cast_model(interface.model, context.get("dtype"))
    interface.compute_stress = stress
    return interface
