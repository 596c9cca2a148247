"""A walker's noise, its first momenta, and the temperature that its momenta have.

The total momentum of the Maxwell-Boltzmann start is removed where nothing puts it back (see `rests`), so 3N - 3 degrees
of freedom carry the temperature there; the start is not rescaled, so its kinetic energy is distributed as it should be.
Under a thermostat that acts on each atom the centre of mass takes part, and all 3N degrees of freedom are canonical:
temperature = 2 Ekin / (3 N kB). Beside atoms that do not move the total momentum is not conserved, and not removed.
Momenta that a start brings along are treated alike, but for what rounding leaves of a total momentum.
"""

from __future__ import annotations

import hashlib
from collections.abc import Collection
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np

    from psiflow_cli.messages import Frame, MDJob

KB = 8.617330337217213e-05  # eV/K: ase.units.kB, for where there may be no ASE


def generator(seed: int, number: int, start: Frame | None = None) -> np.random.Generator:
    """The noise of one walker: Philox, keyed by the seed and the walker's number alone.

    The momenta of a start are a part of the key: a run that goes on from another one with the same seed would have the
    noise of the first again, and the same noise pulls walkers to the same path.
    """
    import numpy as np

    key: tuple[int, ...] = (number,)
    if start and (from_start := start.get("momenta") or start.get("velocities")):
        key = (number, int.from_bytes(hashlib.sha256(repr(from_start).encode()).digest()[:4], "big"))
    return np.random.Generator(np.random.Philox(np.random.SeedSequence(seed, spawn_key=key)))


def from_start(start: Frame, masses: np.ndarray, rest: bool, fixed: Collection[int] = ()) -> np.ndarray | None:
    """The momenta (sqrt(u·eV), shape (N, 3)) that the start has, or None; `masses` (u) of shape (N,).

    Atoms in `fixed` have none. `rest` removes a total momentum that is more than rounding.
    """
    import numpy as np

    masses = np.asarray(masses)[:, None]
    if "momenta" in start:
        momenta = np.array(start["momenta"], dtype=float)
    elif "velocities" in start:
        momenta = masses * np.array(start["velocities"], dtype=float)
    else:
        return None
    momenta[list(fixed)] = 0.0
    total = momenta.sum(axis=0)
    if rest and len(masses) > 1 and not fixed:
        drift = (total**2).sum() / masses.sum()
        if drift > 1e-9 * (momenta**2 / masses).sum():
            momenta -= total * masses / masses.sum()
    return momenta


def draw(
    masses: np.ndarray, temperature: float, rng: np.random.Generator, rest: bool, fixed: Collection[int] = ()
) -> np.ndarray:
    """Momenta (Å·sqrt(u·eV), shape (N, 3)) from the Maxwell-Boltzmann distribution; `masses` (u) of shape (N,).

    `rest` removes the total momentum of the moving atoms; those in `fixed` stay where they are.
    """
    import numpy as np

    masses = np.asarray(masses)[:, None]
    momenta = rng.standard_normal((len(masses), 3)) * (masses * KB * temperature) ** 0.5
    moving = np.setdiff1d(np.arange(len(masses)), list(fixed))
    if rest and len(moving) > 1 and not fixed:
        momenta -= momenta.sum(axis=0) * masses / masses.sum()
    momenta[list(fixed)] = 0.0
    return momenta


def conserves_momentum(job: MDJob) -> bool:
    """Whether nothing in the dynamics of a job changes the total momentum: NVE, and thermostats that scale momenta."""
    return job["ensemble"] == "nve" or job.get("thermostat", "langevin") != "langevin"


def degrees_of_freedom(moving: int, rest: bool) -> int:
    """Of so many moving atoms, without the total momentum if it is at `rest`."""
    return 3 * moving - (3 if rest and moving > 1 else 0)


def kinetic_energy(momenta: np.ndarray, masses: np.ndarray) -> float:
    """In eV, of momenta of shape (N, 3) in Å·sqrt(u·eV) and masses (u) of shape (N,)."""
    return 0.5 * float((momenta**2 / masses[:, None]).sum())


def temperature(kinetic: float, dof: int) -> float:
    """In K, of a kinetic energy (eV) in so many degrees of freedom."""
    return 2.0 * kinetic / (dof * KB) if dof else 0.0


def generator_state(rng: np.random.Generator) -> dict[str, object]:
    """A generator's state without arrays, as a checkpoint keeps it."""
    return {key: _builtins(value) for key, value in rng.bit_generator.state.items()}


def _builtins(value: object) -> object:
    if isinstance(value, dict):
        return {key: _builtins(inner) for key, inner in value.items()}
    return value.tolist() if hasattr(value, "tolist") else value
