"""Molecular dynamics of one walker with ASE's own integrators, in blocks that can be killed at any moment.

NVE is velocity Verlet. The total momentum of the Maxwell-Boltzmann start is removed (for more than one atom) and
nothing puts it back, so 3N - 3 degrees of freedom carry the temperature, and the start is not rescaled: its kinetic
energy is distributed as it should be.

NVT is Langevin in the BAOAB splitting (Leimkuhler and Matthews, J. Chem. Phys. 138, 174102 (2013)), whose positions
are exact for harmonic forces at any stable timestep. The momenta between two steps are too cold by a fraction
(timestep * frequency)² / 4, so the temperature is taken from those after the next half kick, p + F timestep / 2, which
for harmonic forces are canonical, too: their variance gains (k timestep / 2)² kT / k. The centre of mass takes part, so
all 3N degrees of freedom are canonical and temperature = 2 Ekin / (3 N kB).

The noise is Philox keyed by (seed, walker), and its state is in the checkpoint: how a trajectory is cut into blocks
leaves no trace in it, as long as the model's forces depend on the positions alone. A calculator that remembers
earlier positions (ASE's EMT keeps its neighbour list) is reset at each block, so it is repeatable for equal blocks.
For the same reason distances are looked at where frames are recorded, and not at the end of a block.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from psiflow_cli.worker import frames, limits, walker
from psiflow_cli.worker.calculators import calculator
from psiflow_cli.worker.frametext import frame_text
from psiflow_cli.worker.guard import Fatal

SUMMARY = "ASE's velocity Verlet (NVE) and BAOAB Langevin (NVT), one walker at a time"
REQUIRES = ("ase",)

Wire = dict[str, Any]


def advance(job: Wire, context: Wire) -> Wire:
    """*worker*: move one walker from its last checkpoint by `job["block"]` steps at most.

    job: {"folder": the walker's own, "walker": int, "start": frame, "model": {"family": name or file.py, "members":
    [folders]} (more than one: the mean of their energies and forces, and their spread in each frame), "ensemble":
    "nve" | "nvt", "temperature": K (None: at rest, NVE only), "timestep": fs, "friction": 1/ps (NVT only), "steps": in
    all, "every": steps between recorded frames, "block": int, "seed": int, "limits": {"force": eV/Å, "temperature": K,
    "distance": Å}, each None for no limit}.

    Returns {"step": reached, "frames": recorded in all, "bytes": of the trajectory that hold them, "stopped": None or
    {"reason", "kind": "force" | "temperature" | "distance" | "nan", "step"}, "seconds": of this call}.
    """
    began = time.perf_counter()
    _check(job)
    folder = Path(job["folder"])
    with walker.hold(folder):
        state = walker.load(folder, walker.fingerprint(job))
        if job["steps"] > 0 and (state is None or (state.stopped is None and state.step < job["steps"])):
            state = _block(job, context, folder, state)
    return {
        "step": state.step if state else 0,
        "frames": state.frames if state else 0,
        "bytes": state.length if state else 0,
        "stopped": state.stopped if state else None,
        "seconds": time.perf_counter() - began,
    }


def _check(job: Wire) -> None:
    if job["ensemble"] not in ("nve", "nvt"):
        raise ValueError(f"ensemble {job['ensemble']!r}: this engine knows nve and nvt")
    if job["ensemble"] == "nvt" and not (job["temperature"] is not None and job["friction"] and job["friction"] > 0):
        raise ValueError("nvt needs a temperature and a friction above zero")
    for name in ("timestep", "every", "block"):
        if not job[name] > 0:
            raise ValueError(f"{name} must be above zero, not {job[name]}")


def _block(job: Wire, context: Wire, folder: Path, state: walker.State | None) -> walker.State:
    atoms = _atoms(job["start"])
    rng = _generator(job["seed"], job["walker"])
    if state is None:
        _set_momenta(atoms, job, rng)
    else:
        atoms.set_positions(state.positions)
        atoms.set_momenta(state.momenta)
        rng.bit_generator.state = state.rng
    atoms.calc = calculator(job["model"], context)
    step, length, count = (state.step, state.length, state.frames) if state else (0, 0, 0)
    start = job["start"]

    def record(info: Wire) -> None:
        # a label of this frame must be of the same charge and multiplicity as the start
        info |= {key: start[key] for key in ("charge", "multiplicity") if key in start}
        columns = {}
        if spread := getattr(atoms.calc, "spread", None):
            info["model_energy_std"], columns["model_forces_std"] = spread
        positions = atoms.positions.tolist()
        trajectory.append(frame_text(start["symbols"], positions, start["cell"], start["pbc"], info, columns))

    trajectory = walker.Trajectory(folder, length, count)
    try:
        step, stopped = _move(atoms, job, rng, step, record)
        reached = walker.State(
            key=walker.fingerprint(job),
            step=step,
            frames=0,
            length=0,
            positions=atoms.positions.tolist(),
            momenta=atoms.get_momenta().tolist(),
            cell=start["cell"],
            rng=_builtins(rng.bit_generator.state),
            stopped=stopped,
        )
        return trajectory.commit(folder, reached)
    finally:
        trajectory.close()


def _move(atoms: Any, job: Wire, rng: Any, begin: int, record: Callable[[Wire], None]) -> tuple[int, Wire | None]:
    """Move one block; the step reached and why the walker stopped there, or None."""
    from ase import units

    end = min(begin + job["block"], job["steps"])
    bounds, dof = job["limits"], _degrees_of_freedom(atoms, job["ensemble"])
    half = 0.5 * job["timestep"] * units.fs if job["ensemble"] == "nvt" else 0.0
    step = begin
    try:
        md = _integrator(atoms, job, rng)
        # Not `md.run`, which asks for the forces once more after each step, and compares all atoms to find them made.
        for step in range(begin, end + 1):
            if step > begin:
                md.step()
            elif begin > 0:
                continue  # the block before this one has judged and recorded it
            energy, forces = _results(atoms)
            temperature = _temperature(atoms, dof, forces * half)
            recorded = step > 0 and step % job["every"] == 0
            wrong = limits.fault(bounds, energy, atoms.positions, forces, temperature)
            if wrong is None and (recorded or step == 0):
                wrong = limits.overlap(bounds, atoms)
            if wrong is not None:
                return step, {**wrong, "step": step}
            if recorded:
                info = {"walker": job["walker"], "step": step, "time": step * float(job["timestep"])}
                record({**info, "temperature": temperature, "model_energy": energy})
    except Exception:
        # A calculator may refuse positions that are no numbers; that is the walker's end, not the worker's.
        if math.isfinite(float(atoms.positions.sum())):
            raise
        return step, {"reason": "positions not finite", "kind": "nan", "step": step}
    return end, None


def _integrator(atoms: Any, job: Wire, rng: Any) -> Any:
    from ase import units

    timestep = job["timestep"] * units.fs
    if job["ensemble"] == "nve":
        from ase.md.verlet import VelocityVerlet

        return VelocityVerlet(atoms, timestep)
    try:
        from ase.md.langevinbaoab import LangevinBAOAB
    except ImportError:
        raise Fatal("the ASE of this environment has no BAOAB integrator", "install ase 3.27 or later") from None
    # `hydrostatic` without a stress changes nothing but spares a matrix exponential in every step.
    return LangevinBAOAB(  # type: ignore[no-untyped-call]
        atoms,
        timestep,
        temperature_K=job["temperature"],
        T_tau=1000.0 * units.fs / job["friction"],
        hydrostatic=True,
        rng=rng,
    )


def _atoms(frame: Wire) -> Any:
    atoms = frames.atoms(frame)
    names = {"charge": ("charge",), "multiplicity": ("multiplicity", "spin")}  # MACE calls the multiplicity spin
    atoms.info.update({name: frame[key] for key in names if key in frame for name in names[key]})
    return atoms


def _set_momenta(atoms: Any, job: Wire, rng: Any) -> None:
    """Draw from the Maxwell-Boltzmann distribution, without the centre of mass in NVE."""
    from ase import units

    masses = atoms.get_masses()[:, None]
    momenta = rng.standard_normal((len(atoms), 3)) * (masses * units.kB * (job["temperature"] or 0.0)) ** 0.5
    if job["ensemble"] == "nve" and len(atoms) > 1:
        momenta -= momenta.sum(axis=0) * masses / masses.sum()
    atoms.set_momenta(momenta)


def _results(atoms: Any) -> tuple[float, Any]:
    """Energy (eV) and forces (eV/Å) of the step just made, past ASE's getters, which compare all atoms first."""
    results = atoms.calc.results
    if "energy" in results and "forces" in results:
        return float(results["energy"]), results["forces"]
    return float(atoms.get_potential_energy()), atoms.get_forces()


def _degrees_of_freedom(atoms: Any, ensemble: str) -> int:
    return 3 * len(atoms) - (3 if ensemble == "nve" and len(atoms) > 1 else 0)


def _temperature(atoms: Any, dof: int, kick: Any) -> float:
    """From the momenta after a kick (Å·sqrt(u·eV)), in K."""
    from ase import units

    momenta = atoms.get_momenta() + kick
    return float((momenta**2 / atoms.get_masses()[:, None]).sum() / (dof * units.kB))


def _generator(seed: int, number: int) -> Any:
    import numpy as np

    return np.random.Generator(np.random.Philox(np.random.SeedSequence(seed, spawn_key=(number,))))


def _builtins(state: Any) -> Any:
    if isinstance(state, dict):
        return {key: _builtins(value) for key, value in state.items()}
    return state.tolist() if hasattr(state, "tolist") else state
