"""Reweighting of biased samples: weights exp(V/kT), and errors by a bootstrap over blocks."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np

    Array = np.ndarray

_RESAMPLES = 400


@dataclass(frozen=True)
class Weighted:
    """Samples with weights, in the order of their series."""

    weights: Array  # shape (N,), sum to 1
    block_of: Array  # shape (N,): the number of each sample's block

    def probabilities(self, groups: Array, size: int) -> Array:
        """The probability of each of `size` groups; `groups` has each sample's, or -1."""
        import numpy as np

        inside = groups >= 0
        p: Array = np.bincount(groups[inside], self.weights[inside], size)
        return p

    def errors(self, groups: Array, size: int, reference: int) -> Array:
        """The standard error (kT) of each group's free energy with respect to `reference`; NaN where unknown."""
        import numpy as np

        blocks = int(self.block_of.max()) + 1
        inside = groups >= 0
        place = self.block_of[inside] * size + groups[inside]
        table = np.bincount(place, self.weights[inside], blocks * size).reshape(blocks, size)
        drawn = np.random.default_rng(0).multinomial(blocks, np.full(blocks, 1 / blocks), _RESAMPLES)
        with np.errstate(divide="ignore", invalid="ignore"):
            resampled = drawn @ table
            differences = np.log(resampled) - np.log(resampled[:, [reference]])
        lost = ~np.isfinite(differences).all(axis=0)  # in some resamples: too few blocks have been there
        # a bootstrap of M blocks sees a variance that is M - 1 over M too small
        errors = np.where(lost, 0.0, differences).std(axis=0) * np.sqrt(blocks / max(blocks - 1, 1))
        errors[lost | (blocks < 2)] = np.nan
        return np.asarray(errors)

    @property
    def effective(self) -> float:
        """Kish's effective number of samples, (Σw)²/Σw²."""
        return float(1 / (self.weights**2).sum())


def weigh(bias: Array, kT: float, counts: Sequence[int], blocks: int) -> Weighted:
    """Weights of samples whose bias (eV) is known, of series with so many samples each, in `blocks` blocks or more."""
    import numpy as np

    weights = np.exp((bias - bias.max()) / kT)
    length = max(1, sum(counts) // blocks)
    block_of, first = [], 0
    for count in counts:
        own = min(max(1, round(count / length)), count)
        block_of.append(first + np.arange(count) * own // count)
        first += own
    return Weighted(weights / weights.sum(), np.concatenate(block_of))
