"""What is read from the device: all of it comes through here, since the host waits for the device each time."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np
    import torch


def to_host(values: torch.Tensor) -> torch.Tensor:
    """A tensor on the host, of the same numbers."""
    return values.detach().cpu()


def read(tensors: Mapping[str, torch.Tensor | None]) -> dict[str, np.ndarray]:
    """Arrays of several float64 tensors by name, in one copy; those that are None are left out."""
    flat, shapes = _packed(tensors)
    return _unpacked(to_host(flat).numpy(), shapes)


def read_later(tensors: Mapping[str, torch.Tensor | None]) -> Callable[[], dict[str, np.ndarray]]:
    """The same, where only the thread that calls what is returned waits for a GPU; the next steps go on meanwhile."""
    import torch

    flat, shapes = _packed(tensors)
    if flat.device.type != "cuda":
        return lambda: _unpacked(to_host(flat).numpy(), shapes)
    copy = torch.empty(flat.shape, dtype=flat.dtype, pin_memory=True)
    copy.copy_(flat.detach(), non_blocking=True)
    done = torch.cuda.current_stream(flat.device).record_event()

    def arrays() -> dict[str, np.ndarray]:
        done.synchronize()
        return _unpacked(copy.numpy(), shapes)

    return arrays


def _packed(tensors: Mapping[str, torch.Tensor | None]) -> tuple[torch.Tensor, dict[str, torch.Size]]:
    """All numbers in one tensor, and the shapes by name."""
    import torch

    there = {name: values for name, values in tensors.items() if values is not None}
    flat = torch.cat([values.reshape(-1) for values in there.values()])
    return flat, {name: values.shape for name, values in there.items()}


def _unpacked(flat: np.ndarray, shapes: Mapping[str, torch.Size]) -> dict[str, np.ndarray]:
    arrays, begin = {}, 0
    for name, shape in shapes.items():
        arrays[name] = flat[begin : begin + shape.numel()].reshape(shape)
        begin += shape.numel()
    return arrays
