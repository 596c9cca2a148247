"""Predictions and features of a trained NequIP or Allegro model, equal to those of NequIP's own calculator."""

from __future__ import annotations

from typing import TYPE_CHECKING

from psiflow_cli.models.nequip import nequip_internals
from psiflow_cli.models.nequip.export import cached
from psiflow_cli.models.nequip.files import weights_file
from psiflow_cli.worker.models import batches, hardware
from psiflow_cli.worker.models.batches import Model
from psiflow_cli.worker.models.batching.batch_size import BatchSize

if TYPE_CHECKING:
    import numpy as np
    import torch
    from nequip.integrations.ase import NequIPCalculator

    from psiflow_cli.messages import Context, Failure, Frame, PredictionResult

_describing: dict[tuple[str, ...], Model] = {}
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
    ase_calculator = nequip_internals.eager_calculator(weights_file(member), hardware.device(context))
    nequip_internals.cast_model(ase_calculator.model, context.get("dtype"))
    return ase_calculator


def predict(frames: list[Frame], members: list[str], context: Context) -> list[list[PredictionResult]]:
    """*worker*: for each member, a prediction or a failure for each frame; see `batches.predict`.

    The stress is None unless the frame is periodic in all three directions.
    """
    return batches.predict(frames, [loaded(member, context) for member in members], context)


def loaded(member: str, context: Context) -> Model:
    """*worker*: a member's calculator, and how it computes many frames at once."""

    def load() -> batches.Model:
        # What is compiled for ASE takes one frame at a time.
        alone = hardware.device(context) == "cpu" and hardware.threads(context) == 1
        compiled = cached(member, "ase", context) if alone else None
        ase_calculator = calculator(member, context) if compiled else eager(member, context)
        elements = frozenset(compiled[1]["elements"] if compiled else ase_calculator.model.type_names)
        return _model(ase_calculator, elements, context)

    return batches.load_once(weights_file(member), context, load)


def _model(calculator: NequIPCalculator, elements: frozenset[str], context: Context, by_pairs: bool = False) -> Model:
    features = _of_pairs if by_pairs else _of_atoms
    return Model(
        calculator=calculator,
        elements=elements,
        graph=lambda frame: nequip_internals.graph(frame, calculator),
        forward=lambda frames, graphs: nequip_internals.forward(frames, graphs, calculator),
        describe=lambda frames, graphs: features(frames, nequip_internals.outputs(graphs, calculator)),
        size=BatchSize(hardware.device(context)),
    )


def of_atoms(frames: list[Frame], member: str, context: Context) -> list[np.ndarray | Failure]:
    """*worker*: NequIP's last node features, which are invariant; of each frame, shape (atoms, features)."""
    return batches.describe(frames, _describes(member, context, by_pairs=False), context)


def of_pairs(frames: list[Frame], member: str, context: Context) -> list[np.ndarray | Failure]:
    """*worker*: Allegro's invariant edge features, of each atom summed over its neighbours; as `of_atoms`."""
    return batches.describe(frames, _describes(member, context, by_pairs=True), context)


def _of_atoms(frames: list[Frame], output: dict[str, torch.Tensor]) -> list[np.ndarray]:
    return [each.numpy() for each in batches.by_frame(output["node_features"], frames)]


def _of_pairs(frames: list[Frame], output: dict[str, torch.Tensor]) -> list[np.ndarray]:
    import numpy as np

    edges = output["edge_features"].detach().cpu().numpy()
    counts = [len(frame["symbols"]) for frame in frames]
    features = np.zeros((sum(counts), edges.shape[1]), dtype=edges.dtype)
    np.add.at(features, output["edge_index"][0].cpu().numpy(), edges)
    return np.split(features, np.cumsum(counts)[:-1])


def _describes(member: str, context: Context, by_pairs: bool) -> Model:
    key = (member, str(context.get("device")), str(context.get("dtype")), str(by_pairs))
    if key not in _describing:
        _describing.clear()
        ase_calculator = eager(member, context)
        _describing[key] = _model(ase_calculator, frozenset(ase_calculator.model.type_names), context, by_pairs)
    return _describing[key]
