"""A MACE model that takes a graph made elsewhere, past the neighbour lists of its interface to torch-sim."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from psiflow_cli.models.mace import mace_internals

if TYPE_CHECKING:
    import torch
    from torch_sim.models.interface import ModelInterface

    from psiflow_cli.worker.models.graphs import Graph, GraphModel, Structures


def graph_model(interface: ModelInterface) -> GraphModel | None:
    """*worker*: see `protocols.TakesGraphs`; None for one that needs more than a graph, or is compiled with its own."""
    if getattr(interface, "_use_compile", False) or mace_internals.needs_more_than_a_graph(interface.model):
        return None
    return MaceGraphs(interface)


class MaceGraphs:
    """The model of an interface; seen in mace-torch 0.3.16."""

    def __init__(self, interface: Any) -> None:
        self.model, self.device, self.dtype = interface.model, interface.device, interface.dtype
        self.model.requires_grad_(False)  # derivatives by the weights are nobody's here
        self.cutoff = float(interface.r_max)
        self._head = int(getattr(interface, "_head_index", 0))
        self._structures: Structures | None = None
        self._fixed: dict[str, torch.Tensor] = {}  # of those structures, as the model takes it

    def __call__(self, graph: Graph, stress: bool) -> dict[str, torch.Tensor]:
        import torch

        if graph.structures is not self._structures:
            self._structures, self._fixed = graph.structures, self._prepared(graph.structures)
        cells, shifts = graph.cells.to(self.dtype), graph.shifts.to(self.dtype)
        vectors = torch.einsum("be,bec->bc", shifts, cells[graph.structures.system[graph.pairs[0]]])
        data = {
            **self._fixed, "positions": graph.positions.to(self.dtype, copy=True), "cell": cells,
            "edge_index": graph.pairs, "unit_shifts": shifts, "shifts": vectors,
        }  # fmt: skip
        output = self.model(data, compute_force=True, compute_stress=stress, training=False)
        names = ("energy", "forces", "stress") if stress else ("energy", "forces")
        return {name: output[name].detach() for name in names}

    def _prepared(self, structures: Structures) -> dict[str, torch.Tensor]:
        import torch

        elements = structures.numbers[:, None] == self.model.atomic_numbers[None]
        if not bool(elements.any(dim=1).all()):
            raise ValueError("the model does not know an element of these structures")
        return {
            "node_attrs": elements.to(self.dtype),
            "total_charge": structures.charge.to(self.dtype),
            "total_spin": structures.multiplicity.to(self.dtype),
            "batch": structures.system,
            "ptr": structures.first,
            "pbc": torch.tensor(structures.pbc, device=self.device).expand(len(structures.first) - 1, 3),
            "head": torch.full_like(structures.first[1:], self._head),
        }
