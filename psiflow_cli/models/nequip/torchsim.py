"""A NequIP or Allegro model behind torch-sim's interface, for many walkers at once."""

from __future__ import annotations

from typing import TYPE_CHECKING

from psiflow_cli.models.nequip import nequip_internals
from psiflow_cli.models.nequip.export import build_cached, cached
from psiflow_cli.models.nequip.files import weights_file
from psiflow_cli.worker.models import hardware
from psiflow_cli.worker.models.kernels.fast_paths import EAGER, FastPath

if TYPE_CHECKING:
    import torch
    from nequip.integrations.torchsim import NequIPTorchSimCalc

    from psiflow_cli.messages import Context
    from psiflow_cli.worker.models.graphs import Graph, GraphModel

_NEIGHBOURS = "matscipy"
"""The neighbour list to use: the default, NVIDIA's, is for GPUs and need not be installed."""

_COMPILED = FastPath("compiled", devices=("cuda", "cpu"))
_TF32 = FastPath("compiled-tf32", if_asked=True)
_CUEQ = ("cuequivariance_torch", "cuequivariance_ops_torch"), "cuequivariance-torch cuequivariance-ops-torch-cu{cuda}"
NEQUIP_PATHS = (
    _COMPILED,
    FastPath("compiled-oeq", ("openequivariance",), "openequivariance", needs_compiler=True),
    FastPath("compiled-cueq", *_CUEQ),
    _TF32,
)
ALLEGRO_PATHS = (
    _COMPILED,
    FastPath("compiled-triton", ("triton",), "triton"),
    FastPath("compiled-cueq-contracter", *_CUEQ),
    _TF32,
)
"""Compiled by AOTInductor for this machine, with kernels for the products of tensors, or with TF32."""


def torchsim(member: str, context: Context, stress: bool, path: str = "", build: bool = False) -> NequIPTorchSimCalc:
    """*worker*: see `protocols.Batches`; by itself, it takes what was compiled for batches in place of the weights."""
    from nequip.integrations.torchsim import NequIPTorchSimCalc

    hardware.set_threads(context)
    device = hardware.device(context)
    compiled = None
    if path != EAGER:
        name = f"torchsim{path.removeprefix('compiled')}"
        compiled = cached(member, name, context)
        if path and compiled is None:
            compiled = build_cached(member, name, context, build)
    if compiled:
        interface = NequIPTorchSimCalc.from_compiled_model(
            compiled[0], device=device, chemical_species_to_atom_type_map=True, neighborlist_backend=_NEIGHBOURS
        )
    else:
        interface = nequip_internals.eager_torchsim(weights_file(member), device, _NEIGHBOURS)
        nequip_internals.cast_model(interface.model, context.get("dtype"))
    interface.compute_stress = stress
    return interface


def graph_model(interface: NequIPTorchSimCalc) -> GraphModel | None:
    """*worker*: see `protocols.TakesGraphs`; None where the model wants its pairs in another form."""
    return NequIPGraphs(interface) if nequip_internals.takes_pairs(interface) else None


class NequIPGraphs:
    """The model of an interface on graphs that are made elsewhere; seen in nequip 0.19.1."""

    def __init__(self, interface: NequIPTorchSimCalc) -> None:
        self.model, self.device = interface.model, interface.device
        self._derivatives = nequip_internals.derivatives(interface.model)
        self.cutoff, self._transforms = nequip_internals.without_neighbours(interface)

    def __call__(self, graph: Graph, stress: bool) -> dict[str, torch.Tensor]:
        import torch
        from nequip.data import AtomicDataDict as names

        structures = graph.structures
        count = len(structures.first) - 1
        data = {
            names.POSITIONS_KEY: graph.positions,
            names.CELL_KEY: graph.cells,
            names.PBC_KEY: torch.tensor(structures.pbc, device=self.device).expand(count, 3),
            names.BATCH_KEY: structures.system,
            names.NUM_NODES_KEY: structures.first[1:] - structures.first[:-1],
            names.ATOMIC_NUMBERS_KEY: structures.numbers,
            names.EDGE_INDEX_KEY: graph.pairs,
            names.EDGE_CELL_SHIFT_KEY: graph.shifts,
        }
        for transform in self._transforms:
            data = transform(data)
        # a compiled model reads its inputs by the strides that it was compiled for
        data = {name: values.contiguous() for name, values in data.items()}
        if self._derivatives is not None and not stress:
            energy, forces = nequip_internals.energy_and_forces(self.model, self._derivatives, data)
            return {"energy": energy.view(-1), "forces": forces}
        output = self.model(data)
        results = {"energy": output[names.TOTAL_ENERGY_KEY].view(-1), "forces": output[names.FORCE_KEY]}
        if stress:
            results["stress"] = output[names.STRESS_KEY]
        return {name: values.detach() for name, values in results.items()}
