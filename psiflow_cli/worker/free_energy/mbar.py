"""MBAR: the free energy of samples of many windows and temperatures, with errors and overlap, by pymbar."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import numpy as np

    from psiflow_cli.messages import WeakLink

    Array = np.ndarray

ENOUGH = 0.03
"""Klimovich, Shirts and Mobley, J. Comput.-Aided Mol. Des. 29, 397 (2015): less overlap of neighbours is too little."""


@dataclass(frozen=True)
class Solution:
    """The weights of N samples of K states in the state that is asked."""

    counts: Array  # samples of each state, shape (K,)
    state_weights: Array  # shape (N, K): of each sample in each state; columns sum to 1
    weights: Array  # shape (N,), sum to 1: in the state that is asked
    free_energies: Array  # shape (K,), of the states, in kT

    def probabilities(self, groups: Array, size: int) -> Array:
        """The probability of each of `size` groups; `groups` has each sample's, or -1."""
        import numpy as np

        inside = groups >= 0
        p: Array = np.bincount(groups[inside], self.weights[inside], size)
        return p

    def covariance(self, groups: Array, size: int, reference: int) -> tuple[Array, Array]:
        """The variance of ln p of each group, and the covariance with that of the group `reference`.

        Both up to a constant that differences do not have. A group is a state without samples in Shirts and Chodera,
        J. Chem. Phys. 129, 124105 (2008), eq. 8, by the Woodbury identity: only matrices of K × K are inverted.
        """
        import numpy as np

        inside = groups >= 0
        p = self.probabilities(groups, size)
        with np.errstate(divide="ignore", invalid="ignore"):
            shares = self.weights[inside] / p[groups[inside]]
        own = np.bincount(groups[inside], shares**2, size)
        mixed = np.stack([
            np.bincount(groups[inside], shares * column[inside], size) for column in self.state_weights.T
        ])  # fmt: skip
        kernel = self._inverse()
        variance = own + np.einsum("ki,kl,li->i", mixed, kernel, mixed)
        covariance = mixed[:, reference] @ kernel @ mixed
        covariance[reference] = variance[reference]
        return variance, covariance

    def _inverse(self) -> Array:
        """(N⁻¹ - WᵀW)⁺, shape (K, K)."""
        import numpy as np

        root = np.sqrt(self.counts)
        gram = self.state_weights.T @ self.state_weights
        scaled = np.eye(len(root)) - root[:, None] * gram * root
        inverse: Array = root[:, None] * np.linalg.pinv(scaled, rcond=1e-10, hermitian=True) * root
        return inverse

    def errors(self, groups: Array, size: int, reference: int) -> Array:
        """The standard error (kT) of each group's free energy with respect to that of `reference`."""
        import numpy as np

        variance, covariance = self.covariance(groups, size, reference)
        errors: Array = np.sqrt(np.maximum(variance + variance[reference] - 2 * covariance, 0.0))
        return errors

    def overlap(self) -> Array:
        """The probability that a sample of a state (row) is one of another (column)."""
        overlap: Array = (self.state_weights.T @ self.state_weights) * self.counts
        return overlap


def solve(reduced: Array, counts: Array, profile: Array, start: Array | None = None) -> Solution:
    """Solve for reduced potentials of shape (K, N), samples in the order of their states, and `profile` (N,)."""
    import numpy as np
    from scipy.special import logsumexp

    pymbar: Any = _pymbar()
    solved = pymbar.MBAR(reduced, counts, initial_f_k=start, solver_protocol="robust")
    free = np.asarray(solved.f_k, dtype=float)
    denominators = logsumexp(free[:, None] - reduced, b=counts[:, None], axis=0)
    weights = -profile - denominators
    weights = np.exp(weights - logsumexp(weights))
    return Solution(counts, np.exp(free[:, None] - reduced - denominators).T, weights, free)


def _pymbar() -> Any:
    """pymbar, without what it says of packages that it does not need."""
    import logging

    logging.getLogger("pymbar").setLevel(logging.ERROR)
    import pymbar

    return pymbar


def weak_links(overlap: Array, names: list[str]) -> list[WeakLink]:
    """Where the windows, each joined to those that it overlaps most, hang together by less than `ENOUGH`.

    These are the weak edges of the maximum spanning tree, so windows along a line, on a grid of two CVs and at several
    temperatures are all asked about their neighbours only.
    """
    symmetric = 0.5 * (overlap + overlap.T)
    inside, outside = [0], set(range(1, len(names)))
    weak: list[WeakLink] = []
    while outside:
        first, second = max(((i, j) for i in inside for j in sorted(outside)), key=lambda pair: symmetric[pair])
        if symmetric[first, second] < ENOUGH:
            i, j = sorted((first, second))
            weak.append({"first": names[i], "second": names[j], "overlap": float(symmetric[i, j])})
        inside.append(second)
        outside.remove(second)
    return weak
