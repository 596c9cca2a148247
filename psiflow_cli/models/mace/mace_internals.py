"""All that psiflow uses of mace-torch beyond its commands and its ASE calculator; seen in mace-torch 0.3.16.

What it replaces in the trainer is in `trainer/internals.py`.

A function that finds another MACE raises ImportError, which says what is missing.
"""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from types import SimpleNamespace
from typing import TYPE_CHECKING, Protocol, TypedDict, cast

from psiflow_cli.errors import BAD_CONFIG, BAD_DATA, NO_RESOURCES
from psiflow_cli.worker import installed
from psiflow_cli.worker.structures import conversion

if TYPE_CHECKING:
    import torch
    from mace.calculators import MACECalculator
    from mace.data import AtomicData
    from torch_sim.models.interface import ModelInterface

    from psiflow_cli.messages import Epoch, Frame, ModelFacts

_PACKAGE, _READER = "mace-torch", "mace_internals.py"


class MaceModel(Protocol):
    """What a model file of MACE 0.3.16 has."""

    atomic_numbers: torch.Tensor
    atomic_energies_fn: SimpleNamespace
    r_max: torch.Tensor


def description(model: torch.nn.Module) -> ModelFacts:
    """What a model says of itself; seen in mace-torch 0.3.16."""
    from ase.data import chemical_symbols

    installed.require_attributes(_PACKAGE, _READER, model, type(model).__name__, MaceModel.__annotations__)
    mace = cast("MaceModel", model)
    elements = [chemical_symbols[int(z)] for z in mace.atomic_numbers]
    rows = mace.atomic_energies_fn.atomic_energies.reshape(-1, len(elements)).tolist()
    energies = [dict(zip(elements, row, strict=True)) for row in rows]
    facts: ModelFacts = {
        "elements": elements,
        "cutoff": float(mace.r_max),
        "dtype": native_dtype(model),
        "atomic_energies": energies[-1],
        "heads": heads(model),
    }
    if len(energies) > 1:
        facts["head_energies"] = dict(zip(facts["heads"], energies, strict=True))
    return facts


def native_dtype(model: torch.nn.Module) -> str:
    """`float32` or `float64`: what the weights are in."""
    return str(next(model.parameters()).dtype).removeprefix("torch.")


def heads(model: torch.nn.Module) -> list[str]:
    """The names of a model's heads; seen in mace-torch 0.3.16, where models of older versions have none."""
    return list(getattr(model, "heads", None) or ["Default"])


def torchsim_interface() -> type[ModelInterface]:
    """torch-sim's interface to MACE: torch-sim 0.3 has it, from 0.4 on (which needs Python 3.12) MACE does."""
    try:
        from torch_sim.neighbors import torchsim_nl  # noqa: F401  (from 0.4 on)
    except ImportError:
        from torch_sim.models.mace import MaceModel

        return cast("type[ModelInterface]", MaceModel)
    installed.require(_PACKAGE, _READER, {"mace.calculators.mace_torchsim": ("MaceTorchSimModel",)})
    from mace.calculators.mace_torchsim import MaceTorchSimModel

    return cast("type[ModelInterface]", MaceTorchSimModel)


def compile_options(interface: type[ModelInterface]) -> dict[str, str]:
    """How an interface compiles its model: with CUDA graphs, padded to fixed sizes; seen in mace-torch 0.3.16."""
    if interface.__module__ != "mace.calculators.mace_torchsim":
        raise ImportError("MACE compiles its models for torch-sim >= 0.6 only, which needs Python >= 3.12")
    return {"compile_mode": "reduce-overhead"}


CONVERSIONS = {"cueq": "mace.cli.convert_e3nn_cueq", "oeq": "mace.cli.convert_e3nn_oeq"}
"""Of a model, to kernels of cuEquivariance or OpenEquivariance."""


def converted(model: torch.nn.Module, kernels: str, device: str) -> torch.nn.Module:
    """The model with other kernels, in its own precision; seen in mace-torch 0.3.16."""
    from mace.tools import torch_tools

    module = CONVERSIONS[kernels]
    installed.require(_PACKAGE, _READER, {f"{module}:run": ("input_model", "device", "return_model")})
    with torch_tools.default_dtype(native_dtype(model)):  # which it would leave changed
        faster = importlib.import_module(module).run(model, device=device, return_model=True)
    return cast("torch.nn.Module", faster.to(device))


def needs_more_than_a_graph(model: torch.nn.Module) -> bool:
    """Whether a model asks for more than atoms, pairs, charge and multiplicity; seen in mace-torch 0.3.16."""
    embedded = set(getattr(model, "embedding_specs", None) or {})
    kinds = {kind.__name__ for kind in type(model).__mro__}
    return "PolarMACE" in kinds or not embedded <= {"total_charge", "total_spin"}


_CALCULATOR = "models z_table r_max device default_dtype head available_heads info_keys arrays_keys".split()  # noqa: SIM905
_DATA = {
    "mace.data": ("AtomicData", "KeySpecification"),
    "mace.data:config_from_atoms": ("key_specification", "head_name"),
    "mace.data:AtomicData": ("from_config",),
    "mace.tools.torch_geometric": ("Batch",),
    "mace.tools.torch_tools": ("default_dtype",),
}


def elements_of(calculator: MACECalculator) -> frozenset[str]:
    """The elements that a calculator, of mace-torch 0.3.16, can compute; what `_graph` needs is there, too."""
    from ase.data import chemical_symbols

    installed.require(_PACKAGE, _READER, _DATA)
    installed.require_attributes(_PACKAGE, _READER, calculator, "MACECalculator", _CALCULATOR)
    return frozenset(chemical_symbols[int(z)] for z in calculator.z_table.zs)


def of_one_head(model: torch.nn.Module, head: str) -> torch.nn.Module:
    """The model with this head of several alone; seen in mace-torch 0.3.16."""
    installed.require(_PACKAGE, _READER, {"mace.tools.scripts_utils": ("remove_pt_head",)})
    from mace.tools import scripts_utils, torch_tools

    device = next(model.parameters()).device
    energies = cast("MaceModel", model).atomic_energies_fn.atomic_energies
    row = energies.reshape(len(heads(model)), -1)[heads(model).index(head)]
    with torch_tools.default_dtype(native_dtype(model)):  # otherwise the new model is made in torch's own
        single = scripts_utils.remove_pt_head(model, head).to(device)
    block = cast("MaceModel", single).atomic_energies_fn
    block.atomic_energies = row.reshape(block.atomic_energies.shape).clone()  # in float64, whatever it computes in
    return single


def own_batch(frames: list[Frame], calculator: MACECalculator) -> dict[str, torch.Tensor]:
    """Frames as MACE's calculator would batch them; within MACE's `default_dtype`, seen in mace-torch 0.3.16."""
    from mace.tools import torch_geometric

    graphs = [_graph(frame, calculator) for frame in frames]
    whole = torch_geometric.Batch.from_data_list(graphs).to(calculator.device)
    return cast("dict[str, torch.Tensor]", whole.to_dict())


def invariants(node_features: torch.Tensor, model: torch.nn.Module) -> torch.Tensor:
    """What MACE's `get_descriptors` takes of the features that a model puts out; seen in mace-torch 0.3.16."""
    installed.require(_PACKAGE, _READER, {"mace.modules.utils": ("extract_invariant",)})
    from e3nn import o3
    from mace.modules.utils import extract_invariant

    irreps = o3.Irreps(str(model.products[0].linear.irreps_out))  # type: ignore[index,union-attr]
    width = irreps.dim // (irreps.lmax + 1) ** 2
    layers = int(model.num_interactions)  # type: ignore[arg-type]
    numbers = extract_invariant(node_features, num_layers=layers, num_features=width, l_max=irreps.lmax)
    return cast("torch.Tensor", numbers)


def _graph(frame: Frame, calculator: MACECalculator) -> AtomicData:
    """The frame as MACE's calculator would make it, in the units and with the head of the model."""
    from mace import data

    atoms = conversion.to_ase(frame)
    if "charge" in frame:
        atoms.info["charge"] = frame["charge"]
    if "multiplicity" in frame:
        atoms.info["spin"] = frame["multiplicity"]  # as MACE calls it
    keys = data.KeySpecification(info_keys=calculator.info_keys, arrays_keys=calculator.arrays_keys)
    config = data.config_from_atoms(atoms, key_specification=keys, head_name=calculator.head)
    return data.AtomicData.from_config(
        config, z_table=calculator.z_table, cutoff=calculator.r_max, heads=calculator.available_heads
    )


_METRICS = {
    "rmse_e_per_atom": "rmse_e_meV_per_atom", "mae_e_per_atom": "mae_e_meV_per_atom",
    "rmse_f": "rmse_f_meV_per_A", "mae_f": "mae_f_meV_per_A", "rmse_stress": "rmse_stress_meV_per_A3",
    "mae_stress": "mae_stress_meV_per_A3",
}  # fmt: skip
"""MACE's metrics of the validation set, in eV and Å, and our names for them."""
CAUSES = (
    (r"No module named", BAD_CONFIG, "install mace-torch in the worker's environment: psiflow env create mace"),
    (r"error: (argument|unrecognized|ambiguous)", BAD_CONFIG, "see `mace_run_train --help` for what the option takes"),
    (r"Atomic number|E0s|in list$", BAD_DATA, "give an energy for every element of the training and validation data"),
    (r"not found in|could not convert|ase\.io|XYZ", BAD_DATA, "check the training data: psiflow check"),
    (r"CUDA|cuda|NVIDIA", NO_RESOURCES, "check the GPU and the torch build of the worker's environment"),
)
"""What a line of the trainer's log says of the cause of its failure; seen in mace-torch 0.3.16."""


class LogEntry(TypedDict, total=False):
    """A line of the results file of mace-torch 0.3.16; it has metrics, too."""

    mode: str  # `opt`: a training batch; `eval`: the validation set; `saved`: psiflow's, an epoch without validation
    epoch: int | None  # None: before the first one
    loss: float
    lr: float  # this and the next are psiflow's: MACE keeps them to itself
    stage: int
    head: str  # of the validation set: there is a line for each


def errors(entry: LogEntry) -> Epoch:
    """The validation errors in a line of the results file; seen in mace-torch 0.3.16."""
    values = cast("Mapping[str, float]", entry)
    return cast("Epoch", {ours: values[key] * 1e3 for key, ours in _METRICS.items() if key in values})
