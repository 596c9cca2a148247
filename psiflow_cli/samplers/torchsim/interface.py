"""A model that torch-sim's own interface is asked about, with the lists of neighbours that it makes itself."""

from __future__ import annotations

from typing import TYPE_CHECKING

from psiflow_cli.worker.failures import Fatal
from psiflow_cli.worker.models.interfaces import from_torchsim

if TYPE_CHECKING:
    import torch
    from torch_sim import SimState
    from torch_sim.models.interface import ModelInterface

    from psiflow_cli.worker.models.graphs import Graph, Structures


class InterfaceModel:
    """An interface as a `graphs.GraphModel` that looks at the places and cells of a graph, and at no pairs."""

    cutoff = 0.0

    def __init__(self, interface: ModelInterface) -> None:
        self.interface, self.device = interface, interface.device
        self._structures: Structures | None = None
        self._cells: torch.Tensor | None = None  # those that the state has
        self._state: SimState

    def __call__(self, graph: Graph, stress: bool) -> dict[str, torch.Tensor]:
        if graph.structures is not self._structures:
            self._structures, self._state, self._cells = graph.structures, self._prepared(graph), graph.cells
        state, dtype = self._state, self.interface.dtype
        state.positions = graph.positions.to(dtype)
        if graph.cells is not self._cells:
            self._cells = graph.cells
            state.cell = graph.cells.mT.contiguous().to(dtype)  # torch-sim has the vectors as columns
        output = from_torchsim.predicted(self.interface, state)
        return {name: values for name, values in output.items() if stress or name != "stress"}

    def _prepared(self, graph: Graph) -> SimState:
        """The state of these structures, of which the interface is told whose the atoms are.

        torch-sim's for MACE looks at the list of elements only.
        """
        import torch
        import torch_sim

        structures, dtype = graph.structures, self.interface.dtype
        if bool((structures.charge != 0.0).any()) or bool((structures.multiplicity != 1.0).any()):
            raise Fatal("torch-sim does not pass charge and multiplicity to this kind of model", "use --engine ase")
        state = torch_sim.SimState(
            positions=graph.positions.to(dtype),
            masses=torch.ones(len(structures.numbers), device=self.device, dtype=dtype),
            cell=graph.cells.mT.contiguous().to(dtype),
            pbc=_pbc(structures),
            atomic_numbers=structures.numbers,
            system_idx=structures.system,
        )
        if hasattr(self.interface, "setup_from_system_idx"):
            self.interface.setup_from_system_idx(structures.numbers, structures.system)
        return state


def _pbc(structures: Structures) -> bool | torch.Tensor:
    """What is periodic, as torch-sim takes it. Raises Fatal where its version knows all directions or none."""
    import torch
    from torch_sim import neighbors

    if len(set(structures.pbc)) == 1:
        return structures.pbc[0]
    if not hasattr(neighbors, "torchsim_nl"):  # from 0.4 on
        problem = "torch-sim 0.3 cannot tell this kind of model that only some directions are periodic"
        raise Fatal(problem, "use --engine ase, or torch-sim 0.6 with Python 3.12")
    return torch.tensor(structures.pbc, device=structures.numbers.device)
