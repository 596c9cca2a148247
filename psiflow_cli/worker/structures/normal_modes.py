"""Normal modes of a Hessian."""

from __future__ import annotations

from typing import TYPE_CHECKING, cast

if TYPE_CHECKING:
    import numpy as np

_LINEAR = 1e-4  # a moment of inertia so much smaller than the largest is that of a linear molecule about its axis


def frequencies(hessian: np.ndarray, masses: np.ndarray, motions: np.ndarray | None = None) -> list[float]:
    """Wavenumbers (cm^-1) in ascending order, imaginary ones as negative numbers.

    `hessian` (eV/Å²) has shape (3N, 3N), `masses` (u) shape (N,), `motions` the columns that `rigid` gives: they are
    projected out, and there are as many frequencies fewer.
    """
    import numpy as np
    from ase import units

    root = np.repeat(np.sqrt(masses), 3)
    weighted = hessian / np.outer(root, root)
    if motions is not None and motions.shape[1]:
        inside = np.linalg.qr(motions, mode="complete")[0][:, motions.shape[1] :]
        weighted = inside.T @ weighted @ inside
    if not len(weighted):
        return []
    squares = np.linalg.eigvalsh(weighted)
    # as ase.vibrations: ħ sqrt(eV/Å²/u) in eV, then in cm^-1
    unit = units._hbar * 1e10 / np.sqrt(units._e * units._amu) / units.invcm
    return cast("list[float]", (np.sign(squares) * np.sqrt(np.abs(squares)) * unit).tolist())


def rigid(positions: np.ndarray, masses: np.ndarray, rotates: bool) -> np.ndarray:
    """Translations and, if it `rotates`, rotations as mass-weighted displacements, in columns of shape (3N,).

    A molecule has two rotations if it is linear, an atom none.
    """
    import numpy as np

    root = np.sqrt(masses)[:, None]
    columns = [(root * axis).ravel() for axis in np.eye(3)]
    if rotates:
        away = positions - masses @ positions / masses.sum()
        square = (masses[:, None, None] * away[:, :, None] * away[:, None, :]).sum(axis=0)
        moments, axes = np.linalg.eigh(np.trace(square) * np.eye(3) - square)
        for moment, axis in zip(moments, axes.T, strict=True):
            if moment > _LINEAR * moments[-1] and moment > 1e-8:
                columns.append((root * np.cross(axis, away)).ravel())
    return cast("np.ndarray", np.array(columns).T)
