"""Time correlations: mean squared displacements, autocorrelation of velocities, and the spectrum of vibrations."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np

    from psiflow_cli.worker.analysis.paths import Block

TO_SI = 1e4  # from Å²/fs to 1e-9 m²/s
PER_CM = 33.35640951981521  # cm^-1 of a THz


def _correlated(values: np.ndarray, lags: int) -> np.ndarray:
    """The sum over atoms and directions of <x(0) x(t)> over all origins, for `values` [frames, atoms, 3]; [lags]."""
    import numpy as np
    from scipy import fft

    frames = len(values)
    size = fft.next_fast_len(2 * frames, real=True)
    power = np.abs(fft.rfft(values, size, axis=0)) ** 2
    sums = fft.irfft(power.sum(axis=(1, 2)), size)[:lags]
    return np.asarray(sums / (frames - np.arange(lags)))


def mean_squared_displacements(block: Block, elements: list[str]) -> dict[str, np.ndarray]:
    """In Å², of each element at each lag up to half the block, over all atoms and origins.

    By Fourier transforms: <|r(t) - r(0)|²> = <r(t)²> + <r(0)²> - 2 <r(0) r(t)> (Calandrini et al., nMoldyn, 2011).
    """
    import numpy as np

    symbols = np.array(block.path["symbols"])
    frames, lags = len(block.rows), len(block.rows) // 2 + 1
    sums = {element: np.zeros(lags) for element in elements}
    for atoms, moved in block.without_drift("displacements"):
        for element in elements:
            if not (chosen := symbols[atoms] == element).any():
                continue
            places = moved[:, chosen] - moved[:, chosen].mean(axis=0)
            squares = (places**2).sum(axis=(1, 2))
            ends = np.concatenate([[0.0], squares.cumsum()])
            lag = np.arange(lags)
            both = (ends[-1] - ends[lag] + ends[frames - lag]) / (frames - lag)
            sums[element] += both - 2.0 * _correlated(places, lags)
    for total in sums.values():
        total[0] = 0.0  # but for rounding
    return {e: np.maximum(total, 0.0) / (symbols == e).sum() if (symbols == e).any() else total * np.nan
            for e, total in sums.items()}  # fmt: skip


def velocities(
    block: Block, elements: list[str], interval: float
) -> tuple[dict[str, np.ndarray], np.ndarray, dict[str, np.ndarray]]:
    """<v(0) v(t)> of each element (Å²/fs², [lags]), frequencies (THz), and the spectrum of each, which are summed.

    The spectrum is that of the mass-weighted velocities (Welch's periodogram with a Hann window); the area of the sum
    over all elements is 1.
    """
    import numpy as np
    from scipy import signal

    symbols, masses = np.array(block.path["symbols"]), block.masses()
    frames = len(block.rows) - (0 if block.path["velocities"] else 2)
    lags = frames // 2 + 1
    sums = {element: np.zeros(lags) for element in elements}
    powers = {element: np.zeros(frames // 2 + 1) for element in elements}
    for atoms, values in block.without_drift("velocities", interval):
        for element in elements:
            if not (chosen := symbols[atoms] == element).any():
                continue
            sums[element] += _correlated(values[:, chosen], lags)
            _, power = signal.welch(values[:, chosen], 1.0, "hann", frames, detrend=False, axis=0)
            powers[element] += (power * masses[atoms][chosen][None, :, None]).sum(axis=(1, 2))
    frequencies = 1000.0 * np.fft.rfftfreq(frames, interval)
    area = sum(powers.values()).sum() * (frequencies[1] - frequencies[0])  # type: ignore[union-attr]
    mean = {e: sums[e] / max(1, (symbols == e).sum()) for e in elements}
    return mean, frequencies, {element: power / area for element, power in powers.items()}


def slope(times: np.ndarray, values: np.ndarray) -> float:
    """Of the straight line through the points (Å²/fs)."""
    import numpy as np

    return float(np.polyfit(times, values, 1)[0])
