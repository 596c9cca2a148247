"""Predictions of a trained MACE model, many frames at once, equal to those of MACE's own calculator."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from psiflow_cli.worker import frames as wire
from psiflow_cli.worker.calculators import same_digits
from psiflow_cli.worker.guard import Fatal, failure

Wire = dict[str, Any]

_BATCH_ATOMS = {"cpu": 256, "cuda": 8192}
"""How many atoms are computed at once: on a CPU, more gains nothing and takes memory."""
_LOADED_MODELS = 16
_loaded: dict[tuple[str, float, str, str], Any] = {}


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

    torch.set_num_threads(_threads(context))
    device = context.get("device") or "cpu"
    model = torch.load(weights_file(member), map_location=device, weights_only=False)
    dtype = context.get("dtype") or _dtype(model)
    return MACECalculator(models=[model], device=device, default_dtype=dtype)


def _threads(context: Wire) -> int:
    return int(context.get("threads") or context.get("cores") or 1)


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
        "dtype": _dtype(model),
        "atomic_energies": dict(zip(elements, energies.tolist(), strict=True)),
    }


def _dtype(model: Any) -> str:
    return str(next(model.parameters()).dtype).removeprefix("torch.")


def predict(frames: list[Wire], members: list[str], context: Wire) -> list[list[Wire]]:
    """*worker*: for each member, a label (energy in eV, forces in eV/Å, stress in eV/Å³) or a failure for each frame.

    The stress is None unless the frame is periodic in all three directions. Which frames share a batch shows in the
    last digits (1e-15 eV/Å). So there are batches on a GPU or with several threads, where a repeat is no more exact
    than that; with one thread of a CPU, a frame's numbers do not depend on the frames it comes with.
    """
    import torch

    torch.set_num_threads(_threads(context))
    alone = (context.get("device") or "cpu") == "cpu" and _threads(context) == 1
    return [_predict(frames, _keep(member, context), alone) for member in members]


def _keep(member: str, context: Wire) -> Any:
    """The member's calculator, loaded once for all the tasks of this process."""
    path = weights_file(member).resolve()
    key = (str(path), path.stat().st_mtime, str(context.get("device")), str(context.get("dtype")))
    if key not in _loaded:
        while len(_loaded) >= _LOADED_MODELS:
            del _loaded[next(iter(_loaded))]
        _loaded[key] = calculator(member, context)
        if context.get("device") != "cuda":
            same_digits()
    return _loaded[key]


def _predict(frames: list[Wire], model: Any, alone: bool) -> list[Wire]:
    results: list[Wire | None] = [_unfit(frame, model) for frame in frames]
    good = [i for i, result in enumerate(results) if result is None]
    for batch in _batches(good, frames, 0 if alone else _BATCH_ATOMS.get(model.device.type, 256)):
        for index, result in zip(batch, _evaluate([frames[i] for i in batch], model), strict=True):
            results[index] = result
    return [result for result in results if result is not None]


def _unfit(frame: Wire, model: Any) -> Wire | None:
    """The failure of a frame that the model cannot compute, or None."""
    from ase.data import atomic_numbers

    known = {int(z) for z in model.z_table.zs}
    foreign = sorted({s for s in frame["symbols"] if atomic_numbers.get(s) not in known})
    if foreign:
        return failure("invalid-input", f"the model does not know {', '.join(foreign)}")
    wrong = wire.invalid(frame)
    return failure("invalid-input", wrong) if wrong else None


def _batches(indices: Sequence[int], frames: list[Wire], atoms: int) -> Iterator[list[int]]:
    """Groups of at most `atoms` atoms, or of one larger frame."""
    batch: list[int] = []
    held = 0
    for index in indices:
        size = len(frames[index]["symbols"])
        if batch and held + size > atoms:
            yield batch
            batch, held = [], 0
        batch.append(index)
        held += size
    if batch:
        yield batch


def _evaluate(frames: list[Wire], model: Any) -> list[Wire]:
    """One batch; halved where it does not fit into memory."""
    try:
        return _forward(frames, model)
    except RuntimeError as error:
        if "out of memory" not in str(error) and "can't allocate memory" not in str(error):
            raise
    if len(frames) == 1:
        return [failure("out-of-memory", f"{len(frames[0]['symbols'])} atoms do not fit into the memory")]
    half = len(frames) // 2
    return _evaluate(frames[:half], model) + _evaluate(frames[half:], model)


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
        stress = wire.voigt(output["stress"][index].tolist()) if all(frame["pbc"]) else None
        label = wire.label(frame, energies[index], forces[index].tolist(), stress, "")
        label.pop("code", None)
        results.append(label)
    return results


def _graph(frame: Wire, model: Any) -> Any:
    """The frame as MACE's calculator would make it, in the units and with the head of the model."""
    from mace import data

    atoms = wire.atoms(frame)
    # What MACE calls the spin is the multiplicity.
    atoms.info.update(
        {ours: frame[key] for key, ours in (("charge", "charge"), ("multiplicity", "spin")) if key in frame}
    )
    keys = data.KeySpecification(info_keys=model.info_keys, arrays_keys=model.arrays_keys)
    config = data.config_from_atoms(atoms, key_specification=keys, head_name=model.head)
    return data.AtomicData.from_config(config, z_table=model.z_table, cutoff=model.r_max, heads=model.available_heads)
