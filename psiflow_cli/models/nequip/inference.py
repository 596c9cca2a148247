"""Predictions of a trained NequIP or Allegro model, many frames at once, equal to those of NequIP's own calculator."""

from __future__ import annotations

from typing import Any

from psiflow_cli import voigt
from psiflow_cli.models.nequip import compiling
from psiflow_cli.models.nequip.weights import SCALE_SHIFT, native_dtype, weights_file
from psiflow_cli.worker.models import batches
from psiflow_cli.worker.structures import conversion, labels

Wire = dict[str, Any]


def calculator(member: str, context: Wire) -> Any:
    """*worker*: NequIP's ASE calculator on a member's weights, with the threads of the task; a new one at each call.

    A compiled model that was kept beside the weights is taken in their place.
    """
    from nequip.integrations.ase import NequIPCalculator

    if found := compiling.kept(member, "ase", context):
        _set_threads(context)
        device = context.get("device") or "cpu"
        return NequIPCalculator.from_compiled_model(found[0], device=device, chemical_species_to_atom_type_map=True)
    return eager(member, context)


def _set_threads(context: Wire) -> None:
    import torch

    torch.set_num_threads(batches.threads(context))


def eager(member: str, context: Wire) -> Any:
    """*worker*: the calculator on the weights themselves, also where there is a compiled model."""
    from nequip.integrations.ase import NequIPCalculator

    _set_threads(context)
    path, device = weights_file(member), context.get("device") or "cpu"
    made = NequIPCalculator._from_saved_model(path, device=device, chemical_species_to_atom_type_map=True)
    cast(made.model, context.get("dtype"))
    return made


def cast(model: Any, wanted: str | None) -> None:
    """Let a model compute in another precision; NequIP adds the energies of the atoms in float64 in any case."""
    import torch

    if wanted is None or wanted == native_dtype(model):
        return
    old, dtype = model.model_dtype, getattr(torch, wanted)
    for module in model.modules():
        for name in ("model_dtype", "_output_dtype"):
            if getattr(module, name, None) == old:
                setattr(module, name, dtype)
        if type(module).__name__ == SCALE_SHIFT:
            continue
        for tensors in (module._parameters, module._buffers):
            for name, tensor in tensors.items():
                if tensor is not None and tensor.dtype == old:
                    tensors[name] = _as(tensor, dtype)


def _as(tensor: Any, dtype: Any) -> Any:
    import torch

    cast = tensor.detach().to(dtype)
    return torch.nn.Parameter(cast) if isinstance(tensor, torch.nn.Parameter) else cast


def predict(frames: list[Wire], members: list[str], context: Wire) -> list[list[Wire]]:
    """*worker*: for each member, a label (energy in eV, forces in eV/Å, stress in eV/Å³) or a failure for each frame.

    The stress is None unless the frame is periodic in all three directions. Batches: see `batches.predict`.
    """
    return batches.predict(frames, [_keep(member, context) for member in members], context)


def _keep(member: str, context: Wire) -> batches.Model:
    def load() -> batches.Model:
        # What is compiled for ASE takes one frame at a time.
        alone = (context.get("device") or "cpu") == "cpu" and batches.threads(context) == 1
        found = compiling.kept(member, "ase", context) if alone else None
        made = calculator(member, context) if found else eager(member, context)
        elements = frozenset(found[1]["elements"] if found else made.model.type_names)
        return batches.Model(made, lambda group: _forward(group, made), elements)

    return batches.keep(weights_file(member), context, load)


def _forward(group: list[Wire], model: Any) -> list[Wire]:
    """One batch through the calculator's own transforms and model."""
    from nequip.data import AtomicDataDict

    data = [model.atoms_to_data(conversion.to_ase(frame)) for frame in group]
    output = model.call_model(AtomicDataDict.batched_from_list(data))
    energies = output["total_energy"].detach().cpu().reshape(-1).tolist()
    forces = output["forces"].detach().cpu().split([len(frame["symbols"]) for frame in group])
    stresses = output["stress"].detach().cpu().reshape(-1, 3, 3).tolist()
    results = []
    for index, frame in enumerate(group):
        stress = voigt.from_matrix(stresses[index]) if all(frame["pbc"]) else None
        label = labels.label(frame, energies[index], forces[index].tolist(), stress, "")
        label.pop("code", None)
        results.append(label)
    return results
