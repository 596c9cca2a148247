"""A model that costs nothing, as a family of its own: what is left of a step is the engine's."""

from __future__ import annotations

from typing import Any


def torchsim(member: str, context: dict[str, Any], stress: bool) -> Any:
    """Atoms that feel nothing, behind torch-sim's interface."""
    import torch
    from torch_sim.models.interface import ModelInterface

    class Free(ModelInterface):
        def __init__(self) -> None:
            super().__init__()
            self._device, self._dtype = torch.device("cpu"), torch.float64
            self._compute_forces, self._compute_stress = True, stress

        def forward(self, state: Any) -> dict[str, Any]:
            atoms, walkers = len(state.positions), len(state.cell)
            sizes = {"energy": (walkers,), "forces": (atoms, 3), "stress": (walkers, 3, 3)}
            return {name: torch.zeros(size, dtype=torch.float64) for name, size in sizes.items()}

    return Free()
