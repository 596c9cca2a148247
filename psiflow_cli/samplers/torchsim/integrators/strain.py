"""Strains and cells of all walkers at once, as tensors of shape (B, 3, 3); nothing here waits for the device."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import torch

_DEGREE, _HALVINGS = 9, 2
"""Of the Taylor series: exact to rounding up to a norm of 0.3, and no cell lasts that grows by so much in a step."""


def exponential_and_average(matrix: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """exp(A) of each matrix A, and the average of exp(sA) for s from 0 to 1, which is (exp(A) - 1) / A.

    By scaling and squaring: PyTorch's own functions of matrices make a GPU report whether they have failed.
    """
    import torch

    scaled = matrix * 0.5**_HALVINGS
    one = torch.eye(3, dtype=matrix.dtype, device=matrix.device).expand_as(matrix)
    average = one
    for order in range(_DEGREE, 1, -1):
        average = torch.baddbmm(one, scaled, average, alpha=1.0 / order)
    result = torch.baddbmm(one, scaled, average)
    for _ in range(_HALVINGS):
        average = 0.5 * torch.baddbmm(average, average, result)
        result = result @ result
    return result, average


def trace(matrix: torch.Tensor) -> torch.Tensor:
    """The trace of each matrix, shape (B,)."""
    return matrix.diagonal(dim1=-2, dim2=-1).sum(dim=-1)


def scaled_identity(factor: torch.Tensor) -> torch.Tensor:
    """The identity matrix times each number; `factor` of shape (B,)."""
    import torch

    return factor[:, None, None] * torch.eye(3, dtype=factor.dtype, device=factor.device)


def without_trace(matrix: torch.Tensor) -> torch.Tensor:
    """Each matrix less a third of its trace on the diagonal."""
    return matrix - scaled_identity(trace(matrix) / 3.0)


def sizes(cells: torch.Tensor) -> torch.Tensor:
    """The volume (Å³) of each cell and its three widths (Å), shape (B, 4); see `limits.cell_lost`."""
    import torch

    faces = torch.linalg.cross(cells.roll(-1, dims=1), cells.roll(-2, dims=1))
    whole = volume(cells)[:, None]
    return torch.cat([whole, whole / faces.norm(dim=-1)], dim=1)


def volume(cells: torch.Tensor) -> torch.Tensor:
    """The volume of each cell in Å³, shape (B,); the vectors are rows, in Å."""
    import torch

    signed: torch.Tensor = (cells[:, 0] * torch.linalg.cross(cells[:, 1], cells[:, 2])).sum(dim=-1)
    return signed.abs()


def with_volume(cells: torch.Tensor, wanted: torch.Tensor) -> torch.Tensor:
    """The cells scaled by what rounding has taken from their volumes (Å³, shape (B,))."""
    return cells * ((wanted / volume(cells)) ** (1.0 / 3.0))[:, None, None]
