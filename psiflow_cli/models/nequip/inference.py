"""Predictions of a trained NequIP or Allegro model, many frames at once, equal to those of NequIP's own calculator."""

from __future__ import annotations

from typing import TYPE_CHECKING

from psiflow_cli.models.nequip import compiling, nequip_internals
from psiflow_cli.models.nequip.weights import weights_file
from psiflow_cli.worker.models import batches, hardware

if TYPE_CHECKING:
    from nequip.integrations.ase import NequIPCalculator

    from psiflow_cli.messages import Context, Frame, PredictionResult


def calculator(member: str, context: Context) -> NequIPCalculator:
    """*worker*: NequIP's ASE calculator on a member's weights, with the threads of the task; a new one at each call.

    A compiled model that was kept beside the weights is taken in their place.
    """
    from nequip.integrations.ase import NequIPCalculator

    if compiled := compiling.cached(member, "ase", context):
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
    """*worker*: for each member, a prediction or a failure for each frame; see `batches.predict`."""
    return batches.predict(frames, [loaded(member, context) for member in members], context)


def loaded(member: str, context: Context) -> batches.Model:
    """*worker*: a member's calculator, and how it computes many frames at once."""

    def load() -> batches.Model:
        # What is compiled for ASE takes one frame at a time.
        alone = hardware.device(context) == "cpu" and hardware.threads(context) == 1
        compiled = compiling.cached(member, "ase", context) if alone else None
        made = calculator(member, context) if compiled else eager(member, context)
        elements = frozenset(compiled[1]["elements"] if compiled else made.model.type_names)
        return batches.Model(made, lambda group: nequip_internals.forward(group, made), elements)

    return batches.keep(weights_file(member), context, load)
