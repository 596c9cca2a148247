"""All that psiflow uses of nequip and lightning beyond what they promise; seen in nequip 0.19.1 and lightning 2.6.6.

A function that finds another NequIP raises ImportError, which says what is missing.
"""

from __future__ import annotations

import importlib
import math
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Protocol, cast

from psiflow_cli.errors import BAD_CONFIG, BAD_DATA, NO_RESOURCES
from psiflow_cli.worker import installed
from psiflow_cli.worker.models import batches
from psiflow_cli.worker.structures import conversion

if TYPE_CHECKING:
    import torch
    from lightning.pytorch import Trainer
    from nequip.integrations.ase import NequIPCalculator
    from nequip.integrations.torchsim import NequIPTorchSimCalc
    from nequip.train import NequIPLightningModule

    from psiflow_cli.messages import Epoch, Frame, ModelFacts, PredictionResult

_PACKAGE, _READER = "nequip", "nequip_internals.py"
SCALE_SHIFT = "PerTypeScaleShift"
"""The class of the module that has the atomic energies."""
CAUSES = (
    (r"No module named", BAD_CONFIG, "install nequip in the worker's environment: psiflow env create nequip"),
    (r"TypeError|ConfigKeyError|InterpolationKeyError|Error locating target|ConfigAttributeError", BAD_CONFIG,
     "see NequIP's documentation of its configuration"),
    (r"Got an atomic number as input|chemical species", BAD_DATA, "the model does not know an element of the data"),
    (r"ase\.io|XYZError|could not convert", BAD_DATA, "check the training data: psiflow check"),
    (r"CUDA|cuda|NVIDIA|MisconfigurationException", NO_RESOURCES,
     "check the GPU and the torch build of the environment"),
)  # fmt: skip
"""What a line of the trainer's log says of the cause of its failure; seen in nequip 0.19.1 and lightning 2.6.6."""
_EXAMPLE = "nequip-compile uses a training frame as its example, which must have"
NOT_COMPILED = {
    "different input shapes do not agree": f"{_EXAMPLE} more than a few atoms: add larger frames to the training set",
    "nan .* for field `stress`": f'{_EXAMPLE} a cell: give molecules a Lattice, with pbc="F F F", and train again',
}
"""What of the data makes nequip-compile fail, by what it says (a pattern); seen in nequip 0.19.1."""


class NequIPModel(Protocol):
    """What a model of nequip 0.19.1 has."""

    type_names: list[str]
    metadata: dict[str, str]
    model_dtype: torch.dtype


def load(path: str | Path) -> torch.nn.Module:
    """A packaged model or that of a checkpoint; seen in nequip 0.19.1."""
    loader, state = "nequip.model.saved_models.load_utils", "nequip.utils.global_state"
    installed.require(_PACKAGE, _READER, {loader: ("load_saved_model",), state: ("set_global_state",)})
    set_global_state()
    return cast("torch.nn.Module", importlib.import_module(loader).load_saved_model(str(path)))


def set_global_state() -> None:
    """NequIP's settings of torch, which its own commands make first; seen in nequip 0.19.1."""
    importlib.import_module("nequip.utils.global_state").set_global_state()


def description(model: torch.nn.Module) -> ModelFacts:
    """What a model says of itself; seen in nequip 0.19.1."""
    _check_model(model)
    nequip = cast("NequIPModel", model)
    elements = list(nequip.type_names)
    scales = (cast("torch.Tensor", each.shifts) for each in model.modules() if type(each).__name__ == SCALE_SHIFT)
    shifts = next((each.reshape(-1).tolist() for each in scales), [0.0])
    return {
        "elements": elements,
        "cutoff": float(nequip.metadata["r_max"]),
        "dtype": native_dtype(model),
        "atomic_energies": dict(zip(elements, shifts * (len(elements) if len(shifts) == 1 else 1), strict=True)),
    }


def _check_model(model: torch.nn.Module) -> None:
    installed.require_attributes(_PACKAGE, _READER, model, type(model).__name__, NequIPModel.__annotations__)


def native_dtype(model: torch.nn.Module) -> str:
    """`float32` or `float64`: what a model computes in; seen in nequip 0.19.1."""
    return str(cast("NequIPModel", model).metadata["model_dtype"])


def cast_model(model: torch.nn.Module, precision: str | None) -> None:
    """Let a model compute in another precision; NequIP adds the energies of the atoms in float64 in any case.

    Seen in nequip 0.19.1.
    """
    import torch

    _check_model(model)
    if precision is None or precision == native_dtype(model):
        return
    old, dtype = cast("NequIPModel", model).model_dtype, getattr(torch, precision)
    for module in model.modules():
        for name in ("model_dtype", "_output_dtype"):
            if getattr(module, name, None) == old:
                setattr(module, name, dtype)
        if type(module).__name__ == SCALE_SHIFT:
            continue
        for name, parameter in module._parameters.items():
            if parameter is not None and parameter.dtype == old:
                module._parameters[name] = torch.nn.Parameter(parameter.detach().to(dtype))
        for name, buffer in module._buffers.items():
            if buffer is not None and buffer.dtype == old:
                module._buffers[name] = buffer.detach().to(dtype)


_CALCULATOR = ("atoms_to_data", "call_model")


def eager_calculator(path: Path, device: str) -> NequIPCalculator:
    """NequIP's ASE calculator on a model that is not compiled; seen in nequip 0.19.1."""
    module = "nequip.integrations.ase"
    installed.require(_PACKAGE, _READER, {f"{module}:NequIPCalculator": ("_from_saved_model", *_CALCULATOR)})
    from nequip.integrations.ase import NequIPCalculator

    return NequIPCalculator._from_saved_model(path, device=device, chemical_species_to_atom_type_map=True)


def eager_torchsim(path: Path, device: str, neighbours: str) -> NequIPTorchSimCalc:
    """torch-sim's interface to a model that is not compiled; seen in nequip 0.19.1."""
    installed.require(_PACKAGE, _READER, {"nequip.integrations.torchsim:NequIPTorchSimCalc": ("_from_saved_model",)})
    from nequip.integrations.torchsim import NequIPTorchSimCalc

    return NequIPTorchSimCalc._from_saved_model(
        path, device=device, chemical_species_to_atom_type_map=True, neighborlist_backend=neighbours
    )


_NEIGHBOURS = "NeighborListTransform"


def takes_pairs(interface: NequIPTorchSimCalc) -> bool:
    """Whether an interface makes its pairs by one transform that does nothing else; seen in nequip 0.19.1."""
    return [type(each).__name__ for each in interface.transforms if hasattr(each, "r_max")] == [_NEIGHBOURS]


def without_neighbours(
    interface: NequIPTorchSimCalc,
) -> tuple[float, list[Callable[[dict[str, torch.Tensor]], dict[str, torch.Tensor]]]]:
    """The cutoff (Å) of an interface, and its transforms for data that have pairs; seen in nequip 0.19.1.

    Of what makes the pairs there stays what leaves out those beyond the cutoff of their elements.
    """
    cutoff, transforms = 0.0, []
    for transform in interface.transforms:
        if type(transform).__name__ != _NEIGHBOURS:
            transforms.append(transform)
            continue
        cutoff = float(transform.r_max)
        if transform._pruner is not None:
            transforms.append(transform._pruner)
    return cutoff, transforms


def derivatives(model: torch.nn.Module) -> torch.nn.Module | None:
    """What makes forces and stress of the energy, if it may be told not to; None of a compiled model.

    Seen in nequip 0.19.1.
    """
    modules = model.modules() if hasattr(model, "modules") else ()
    there = [each for each in modules if type(each).__name__ == "ForceStressOutput" and hasattr(each, "do_derivatives")]
    return there[0] if len(there) == 1 else None


def energy_and_forces(
    model: torch.nn.Module, derivatives: torch.nn.Module, data: dict[str, torch.Tensor]
) -> tuple[torch.Tensor, torch.Tensor]:
    """Those of a batch, without the derivatives by the cells; seen in nequip 0.19.1."""
    import torch
    from nequip.data import AtomicDataDict as names

    positions = data[names.POSITIONS_KEY].detach().requires_grad_()
    vars(derivatives).update(do_derivatives=False)
    try:
        energy = model({**data, names.POSITIONS_KEY: positions})[names.TOTAL_ENERGY_KEY]
    finally:
        vars(derivatives).update(do_derivatives=True)
    (slope,) = torch.autograd.grad(energy.sum(), positions)
    return energy.detach(), -slope


def graph(frame: Frame, calculator: NequIPCalculator) -> dict[str, torch.Tensor]:
    """A frame as the calculator's own transforms make it; seen in nequip 0.19.1."""
    data = dict(calculator.atoms_to_data(conversion.to_ase(frame)))
    return {**data, batches.ATOMS: data["pos"]}


def outputs(graphs: Sequence[batches.Graph], calculator: NequIPCalculator) -> dict[str, torch.Tensor]:
    """All that a model has to say of a batch; seen in nequip 0.19.1."""
    from nequip.data import AtomicDataDict

    data = [{name: values for name, values in each.items() if name != batches.ATOMS} for each in graphs]
    return cast("dict[str, torch.Tensor]", calculator.call_model(AtomicDataDict.batched_from_list(data)))


def forward(
    frames: list[Frame], graphs: Sequence[batches.Graph], calculator: NequIPCalculator
) -> list[PredictionResult]:
    """One batch through the calculator's own model; seen in nequip 0.19.1."""
    output = outputs(graphs, calculator)
    energies = output["total_energy"].detach().cpu().reshape(-1).tolist()
    forces = batches.by_frame(output["forces"], frames)
    return batches.results(frames, energies, forces, tuple(output["stress"].detach().cpu().reshape(-1, 3, 3)))


_METRICS = {
    "per_atom_energy_rmse": "rmse_e_meV_per_atom",
    "per_atom_energy_mae": "mae_e_meV_per_atom",
    "forces_rmse": "rmse_f_meV_per_A",
    "forces_mae": "mae_f_meV_per_A",
    "stress_rmse": "rmse_stress_meV_per_A3",
    "stress_mae": "mae_stress_meV_per_A3",
}
"""NequIP's metrics of the validation set, in eV and Å, and our names for them."""


def run_trainer(arguments: list[str], callback: type, make: Callable[[type], object]) -> None:
    """Run `nequip-train` with these arguments and a callback of psiflow's that comes last.

    `make` gets `callback` as a class that Lightning takes for one of checkpoints, and returns an instance. Lightning
    makes its own only where the configuration asks for it; seen in nequip 0.19.1 and lightning 2.6.6.
    """
    names = {"nequip.scripts.train": ("instantiate", "main"), "lightning.pytorch.callbacks": ("Checkpoint",)}
    installed.require(_PACKAGE, _READER, names)
    script, callbacks = map(importlib.import_module, names)
    instantiate: Callable[..., object] = script.instantiate

    def with_checkpoints(what: Mapping[str, object], *arguments: object, **named: object) -> object:
        if "inference_mode" not in named:  # it is not the trainer that NequIP makes
            return instantiate(what, *arguments, **named)
        asked = cast("list[Mapping[str, str]]", what.get("callbacks") or [])
        own = any(each["_target_"].endswith("ModelCheckpoint") for each in asked)
        trainer = cast("Trainer", instantiate({"enable_checkpointing": own, **what}, *arguments, **named))
        trainer.callbacks.append(make(type("Checkpoints", (callback, callbacks.Checkpoint), {})))
        return trainer

    vars(script).update(instantiate=with_checkpoints)
    sys.argv[1:] = arguments
    script.main()


def package(checkpoint: str, path: Path) -> None:
    """What `nequip-package build` makes of a checkpoint; seen in nequip 0.19.1."""
    installed.require(_PACKAGE, _READER, {"nequip.scripts.package": ("main",)})
    set_global_state()
    importlib.import_module("nequip.scripts.package").main(["build", checkpoint, str(path)])


def state(trainer: Trainer) -> dict[str, object]:
    """A whole checkpoint of Lightning's, now; seen in lightning 2.6.6."""
    installed.require_attributes("lightning", _READER, trainer, "Trainer", ("_checkpoint_connector",))
    return cast("dict[str, object]", trainer._checkpoint_connector.dump_checkpoint(weights_only=False))


def restore_order(trainer: Trainer) -> None:
    """Put back the order of the data, which NequIP has read from a checkpoint and forgets; seen in nequip 0.19.1."""
    names = ("train_generator", "train_generator_state")
    installed.require_attributes(_PACKAGE, _READER, trainer.datamodule, "NequIPDataModule", names)
    trainer.datamodule.train_generator.set_state(trainer.datamodule.train_generator_state)


def coefficients(module: NequIPLightningModule) -> dict[str, float]:
    """Of each part of the loss, as a schedule has set them; seen in nequip 0.19.1."""
    installed.require_attributes(_PACKAGE, _READER, module.loss, "MetricsManager", ("entries",))
    return {name: entry.coeff for name, entry in module.loss.entries.items()}


def set_coefficients(module: NequIPLightningModule, coefficients: Mapping[str, float]) -> None:
    """Set those of each part of the loss; seen in nequip 0.19.1."""
    for name, coefficient in coefficients.items():
        module.loss.entries[name].coeff = coefficient


def epoch(trainer: Trainer, valid_loss: float) -> Epoch:
    """The finished epoch by the names of the metrics that nequip 0.19.1 gives them."""
    values = {name: float(value) for name, value in trainer.callback_metrics.items()}
    errors = {ours: 1e3 * values.get(f"val0_epoch/{name}", math.nan) for name, ours in _METRICS.items()}
    line: Epoch = {
        "epoch": int(trainer.current_epoch),
        "loss": values.get("train_loss_epoch/weighted_sum"),
        "valid_loss": valid_loss,
        "lr": float(trainer.optimizers[0].param_groups[0]["lr"]),
    }
    return line | cast("Epoch", {name: value for name, value in errors.items() if math.isfinite(value)})
