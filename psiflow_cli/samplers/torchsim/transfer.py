"""What is read from the device: all of it comes through here, since the host waits for the device each time."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np
    import torch


def to_host(values: torch.Tensor) -> torch.Tensor:
    """A tensor on the host, of the same numbers."""
    return values.detach().cpu()


def read(tensors: Mapping[str, torch.Tensor | None]) -> dict[str, np.ndarray]:
    """Arrays of several float64 tensors by name, in one copy; those that are None are left out."""
    import torch

    there = {name: values for name, values in tensors.items() if values is not None}
    flat = to_host(torch.cat([values.reshape(-1) for values in there.values()])).numpy()
    arrays, begin = {}, 0
    for name, values in there.items():
        arrays[name] = flat[begin : begin + values.numel()].reshape(values.shape)
        begin += values.numel()
    return arrays
