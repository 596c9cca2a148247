"""Predictions of a trained MACE model, many frames at once, equal to those of MACE's own calculator."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from psiflow_cli import voigt
from psiflow_cli.worker.failures import Fatal
from psiflow_cli.worker.models import batches
from psiflow_cli.worker.structures import conversion, labels

Wire = dict[str, Any]


def weights_file(member: str) -> Path:
    """The one model file in a member's folder, or the file that was named in place of one."""
    if Path(member).is_file():
        return Path(member)
    found = sorted(Path(member).glob("*.model"))
    if len(found) != 1:
        raise Fatal(f"{member}: {len(found)} files named *.model in it, not one", "is this a model bundle of MACE?", 66)
    return found[0]


def calculator(member: str, context: Wire) -> Any:
    """*worker*: MACE's ASE calculator on a member's weights, with the threads of the task; a new one at each call."""
    import torch
    from mace.calculators import MACECalculator

    torch.set_num_threads(batches.threads(context))
    device = context.get("device") or "cpu"
    model = torch.load(weights_file(member), map_location=device, weights_only=False)
    dtype = context.get("dtype") or native_dtype(model)
    return MACECalculator(models=[model], device=device, default_dtype=dtype)


def describe(path: str) -> Wire:
    """*worker*: what a model file says of itself: elements, cutoff (Å), dtype, energies of isolated atoms (eV)."""
    import torch
    from ase.data import chemical_symbols

    model: Any = torch.load(path, map_location="cpu", weights_only=False)
    elements = [chemical_symbols[int(z)] for z in model.atomic_numbers]
    energies = model.atomic_energies_fn.atomic_energies.reshape(-1, len(elements))[-1]
    return {
        "elements": elements,
        "cutoff": float(model.r_max),
        "dtype": native_dtype(model),
        "atomic_energies": dict(zip(elements, energies.tolist(), strict=True)),
    }


def native_dtype(model: Any) -> str:
    """`float32` or `float64`: what the weights are in."""
    return str(next(model.parameters()).dtype).removeprefix("torch.")


def predict(frames: list[Wire], members: list[str], context: Wire) -> list[list[Wire]]:
    """*worker*: for each member, a label (energy in eV, forces in eV/Å, stress in eV/Å³) or a failure for each frame.

    The stress is None unless the frame is periodic in all three directions. Batches: see `batches.predict`.
    """
    return batches.predict(frames, [loaded(member, context) for member in members], context)


def loaded(member: str, context: Wire) -> batches.Model:
    def load() -> batches.Model:
        from ase.data import chemical_symbols

        made = calculator(member, context)
        elements = frozenset(chemical_symbols[int(z)] for z in made.z_table.zs)
        return batches.Model(made, lambda group: _forward(group, made), elements)

    return batches.keep(weights_file(member), context, load)


def _forward(frames: list[Wire], model: Any) -> list[Wire]:
    from mace.tools import torch_geometric, torch_tools

    with torch_tools.default_dtype(model.default_dtype):
        make: Any = torch_geometric.Batch.from_data_list
        batch = make([_graph(frame, model) for frame in frames]).to(model.device)
        output = model.models[0](batch.to_dict(), compute_stress=any(all(f["pbc"]) for f in frames), training=False)
    energies = output["energy"].detach().cpu().tolist()
    forces = output["forces"].detach().cpu().split((batch.ptr[1:] - batch.ptr[:-1]).tolist())
    results = []
    for index, frame in enumerate(frames):
        stress = voigt.from_matrix(output["stress"][index].tolist()) if all(frame["pbc"]) else None
        label = labels.label(frame, energies[index], forces[index].tolist(), stress, "")
        label.pop("code", None)
        results.append(label)
    return results


def _graph(frame: Wire, model: Any) -> Any:
    """The frame as MACE's calculator would make it, in the units and with the head of the model."""
    from mace import data

    atoms = conversion.to_ase(frame)
    # What MACE calls the spin is the multiplicity.
    atoms.info.update(
        {ours: frame[key] for key, ours in (("charge", "charge"), ("multiplicity", "spin")) if key in frame}
    )
    keys = data.KeySpecification(info_keys=model.info_keys, arrays_keys=model.arrays_keys)
    config = data.config_from_atoms(atoms, key_specification=keys, head_name=model.head)
    return data.AtomicData.from_config(config, z_table=model.z_table, cutoff=model.r_max, heads=model.available_heads)
