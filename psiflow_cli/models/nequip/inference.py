"""Predictions of a trained NequIP or Allegro model, many frames at once, equal to those of NequIP's own calculator."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from psiflow_cli.worker.failures import Fatal
from psiflow_cli.worker.models import batches
from psiflow_cli.worker.structures import frames as wire

Wire = dict[str, Any]

PACKAGE = ".nequip.zip"
_SCALE_SHIFT = "PerTypeScaleShift"


def weights_file(member: str) -> Path:
    """The one packaged model in a member's folder, or the file that was named in place of one."""
    if Path(member).is_file():
        return Path(member)
    found = sorted(Path(member).glob(f"*{PACKAGE}"))
    if len(found) != 1:
        said = f"{member}: {len(found)} files named *{PACKAGE} in it, not one"
        raise Fatal(said, "is this a model bundle of NequIP or Allegro?", 66)
    return found[0]


def calculator(member: str, context: Wire) -> Any:
    """*worker*: NequIP's ASE calculator on a member's weights, with the threads of the task; a new one at each call.

    A compiled model that was kept beside the weights is taken in their place.
    """
    from nequip.integrations.ase import NequIPCalculator

    from psiflow_cli.models.nequip import compiling

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


def _dtype(model: Any) -> str:
    return str(model.metadata["model_dtype"])


def cast(model: Any, wanted: str | None) -> None:
    """Let a model compute in another precision; NequIP adds the energies of the atoms in float64 in any case."""
    import torch

    if wanted is None or wanted == _dtype(model):
        return
    old, dtype = model.model_dtype, getattr(torch, wanted)
    for module in model.modules():
        for name in ("model_dtype", "_output_dtype"):
            if getattr(module, name, None) == old:
                setattr(module, name, dtype)
        if type(module).__name__ == _SCALE_SHIFT:
            continue
        for tensors in (module._parameters, module._buffers):
            for name, tensor in tensors.items():
                if tensor is not None and tensor.dtype == old:
                    tensors[name] = _as(tensor, dtype)


def _as(tensor: Any, dtype: Any) -> Any:
    import torch

    cast = tensor.detach().to(dtype)
    return torch.nn.Parameter(cast) if isinstance(tensor, torch.nn.Parameter) else cast


def describe(path: str) -> Wire:
    """*worker*: what a model file says of itself: elements, cutoff (Å), dtype, energies of isolated atoms (eV)."""
    from nequip.model.saved_models.load_utils import load_saved_model
    from nequip.utils.global_state import set_global_state

    set_global_state()
    model = load_saved_model(path)
    elements = list(model.type_names)
    shifts: list[float] = next(
        (m.shifts.reshape(-1).tolist() for m in model.modules() if type(m).__name__ == _SCALE_SHIFT), []
    )
    if len(shifts) == 1:
        shifts *= len(elements)
    return {
        "elements": elements,
        "cutoff": float(model.metadata["r_max"]),
        "dtype": _dtype(model),
        "atomic_energies": dict(zip(elements, shifts or [0.0] * len(elements), strict=True)),
    }


def predict(frames: list[Wire], members: list[str], context: Wire) -> list[list[Wire]]:
    """*worker*: for each member, a label (energy in eV, forces in eV/Å, stress in eV/Å³) or a failure for each frame.

    The stress is None unless the frame is periodic in all three directions. Batches: see `batches.predict`.
    """
    return batches.predict(frames, [_keep(member, context) for member in members], context)


def _keep(member: str, context: Wire) -> batches.Model:
    def load() -> batches.Model:
        from psiflow_cli.models.nequip import compiling

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

    data = [model.atoms_to_data(wire.atoms(frame)) for frame in group]
    output = model.call_model(AtomicDataDict.batched_from_list(data))
    energies = output["total_energy"].detach().cpu().reshape(-1).tolist()
    forces = output["forces"].detach().cpu().split([len(frame["symbols"]) for frame in group])
    stresses = output["stress"].detach().cpu().reshape(-1, 3, 3).tolist()
    results = []
    for index, frame in enumerate(group):
        stress = wire.voigt(stresses[index]) if all(frame["pbc"]) else None
        label = wire.label(frame, energies[index], forces[index].tolist(), stress, "")
        label.pop("code", None)
        results.append(label)
    return results
