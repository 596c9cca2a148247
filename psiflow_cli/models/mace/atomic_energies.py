"""The energies of isolated atoms, added in float64 also by a model that computes in float32; seen in mace-torch 0.3.16.

64 water molecules have -3·10⁴ eV: float32 resolves 2 meV there, and a sum of 192 such numbers is 50 meV off.
"""

from __future__ import annotations

import importlib
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import torch
    from torch.utils.hooks import RemovableHandle


def add_in_float64(model: torch.nn.Module, result: torch.dtype | None = None) -> list[RemovableHandle]:
    """Let a model compute without the energies of its atoms, and add these to its output, in float64.

    They are read from the model now: convert it to float32 afterwards. `result` is the type of the sum, if another one.
    Exported scripts contain this function as it is.
    """
    import torch

    block = model.get_submodule("atomic_energies_fn")
    table = block.get_buffer("atomic_energies").double()  # [heads][elements], or [elements]
    table = table.reshape(-1, table.shape[-1])

    def leave_out(_: torch.nn.Module, inputs: tuple[torch.Tensor], output: torch.Tensor) -> torch.Tensor:
        return torch.zeros_like(output)

    def add(_: torch.nn.Module, inputs: tuple[dict[str, torch.Tensor]], output: dict[str, torch.Tensor]) -> None:
        kinds, system = inputs[0]["node_attrs"], inputs[0]["batch"]
        head = inputs[0]["head"][system] if "head" in inputs[0] else torch.zeros_like(system)
        of_atoms = (kinds.double() @ table.to(kinds.device).T).gather(1, head[:, None])[:, 0]
        energy = output["energy"].double()
        if "interaction_energy" in output:  # the sum of the atoms' own, which float32 rounds as well
            energy = energy - output["interaction_energy"].double()
            energy = energy.index_add(0, system, output["node_energy"].double())
        output["energy"] = energy.index_add(0, system, of_atoms).to(result or torch.float64)
        output["node_energy"] = output["node_energy"].double() + of_atoms

    return [block.register_forward_hook(leave_out), model.register_forward_hook(add)]


@contextmanager
def trained_in_float64(model: torch.nn.Module) -> Iterator[None]:
    """Meanwhile, a float32 model adds its atoms' energies in float64; MACE's losses take what float32 makes of it."""
    import torch

    dtype = next(model.parameters()).dtype
    has_energies = hasattr(model, "atomic_energies_fn")  # a model of dipoles has none
    handles = add_in_float64(model, dtype) if dtype == torch.float32 and has_energies else []
    try:
        yield
    finally:
        for handle in handles:  # before the model is saved
            handle.remove()


def without_hooks(model: torch.nn.Module) -> torch.nn.Module:
    """The model, which was copied while it was trained, as it can be saved."""
    for module in model.modules():
        module._forward_hooks.clear()
    return model


def keep_in_float64() -> None:
    """Let every model that this process makes hold the energies of atoms in float64, whatever it computes in."""
    import torch

    block = importlib.import_module("mace.modules.blocks").AtomicEnergiesBlock
    make = block.__init__

    def initialise(self: torch.nn.Module, atomic_energies: object) -> None:
        make(self, atomic_energies)
        self.register_buffer("atomic_energies", torch.as_tensor(atomic_energies, dtype=torch.float64))

    block.__init__ = initialise
