"""Predictions and features of a trained NequIP or Allegro model, equal to those of NequIP's own calculator."""

from __future__ import annotations

from typing import TYPE_CHECKING

from psiflow_cli.models.nequip import nequip_internals
from psiflow_cli.models.nequip.export import cached
from psiflow_cli.models.nequip.files import weights_file
from psiflow_cli.worker.models import batches, hardware

if TYPE_CHECKING:
    import numpy as np
    import torch
    from nequip.integrations.ase import NequIPCalculator

    from psiflow_cli.messages import Context, Frame, PredictionResult

_describing: dict[tuple[str, ...], NequIPCalculator] = {}
"""The last model, which is not compiled: what is compiled gives away no features."""


def calculator(member: str, context: Context) -> NequIPCalculator:
    """*worker*: NequIP's ASE calculator on a member's weights, with the threads of the task; a new one at each call.

    A compiled model that was kept beside the weights is taken in their place.
    """
    from nequip.integrations.ase import NequIPCalculator

    if compiled := cached(member, "ase", context):
        hardware.set_threads(context)
        device = hardware.device(context)
        return NequIPCalculator.from_compiled_model(compiled[0], device=device, chemical_species_to_atom_type_map=True)
    return eager(member, context)


def eager(member: str, context: Context) -> NequIPCalculator:
    """*worker*: the calculator on the weights themselves, also where there is a compiled model."""
    hardware.set_threads(context)
    made = nequip_internals.eager_calculator(weights_file(member), hardware.device(context))
    nequip_internals.cast_model(made.model, context.get("dtype"))
    return made


def predict(frames: list[Frame], members: list[str], context: Context) -> list[list[PredictionResult]]:
    """*worker*: for each member, a prediction or a failure for each frame; see `batches.predict`.

    The stress is None unless the frame is periodic in all three directions.
    """
    return batches.predict(frames, [loaded(member, context) for member in members], context)


def loaded(member: str, context: Context) -> batches.Model:
    """*worker*: a member's calculator, and how it computes many frames at once."""

    def load() -> batches.Model:
        # What is compiled for ASE takes one frame at a time.
        alone = hardware.device(context) == "cpu" and hardware.threads(context) == 1
        compiled = cached(member, "ase", context) if alone else None
        made = calculator(member, context) if compiled else eager(member, context)
        elements = frozenset(compiled[1]["elements"] if compiled else made.model.type_names)
        return batches.Model(made, lambda group: nequip_internals.forward(group, made), elements)

    return batches.keep(weights_file(member), context, load)


def of_atoms(frame: Frame, member: str, context: Context) -> np.ndarray:
    """*worker*: NequIP's last node features, which are invariant, shape (atoms, features)."""
    return _outputs(frame, member, context)["node_features"].detach().cpu().numpy()


def of_pairs(frame: Frame, member: str, context: Context) -> np.ndarray:
    """*worker*: Allegro's invariant edge features, of each atom summed over its neighbours, (atoms, features)."""
    import numpy as np

    output = _outputs(frame, member, context)
    edges = output["edge_features"].detach().cpu().numpy()
    features = np.zeros((len(frame["symbols"]), edges.shape[1]), dtype=edges.dtype)
    np.add.at(features, output["edge_index"][0].cpu().numpy(), edges)
    return features


def _outputs(frame: Frame, member: str, context: Context) -> dict[str, torch.Tensor]:
    key = (member, str(context.get("device")), str(context.get("dtype")))
    if key not in _describing:
        _describing.clear()
        _describing[key] = eager(member, context)
    return nequip_internals.outputs(frame, _describing[key])
