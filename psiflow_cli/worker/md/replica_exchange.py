"""Replica exchange: the walkers of one start exchange the conditions under which they move.

The conditions of a walker are its temperature, its pressure and the values of its window (`--vary`), with PLUMED's
instance and files. Walkers that differ along one axis alone are neighbours: even pairs and odd ones are tried in turn,
and the axes in turn.

Under conditions c = (beta, P, b), with a bias b, the density of positions x and volume V is exp(-u_c(x, V)) times a
measure that is the same under all conditions, with u_c(x, V) = beta (U(x) + P V + b(x)). So that exchanging the
conditions of i and j keeps the product of both densities, it is accepted with the probability min(1, exp(w)),

    w = u_i(x_i) + u_j(x_j) - u_i(x_j) - u_j(x_i)
      = (beta_i - beta_j) (U_i - U_j) + (beta_i P_i - beta_j P_j) (V_i - V_j)
        + beta_i (b_i(x_i) - b_i(x_j)) + beta_j (b_j(x_j) - b_j(x_i)).

Temperatures: Sugita and Okamoto, Chem. Phys. Lett. 314, 141 (1999); pressures: Okabe, Kawata, Okamoto and Mikami, Chem.
Phys. Lett. 335, 435 (2001); biases: Sugita, Kitao and Okamoto, J. Chem. Phys. 113, 6042 (2000). Momenta are scaled to
the new temperature. Whether an exchange takes place is drawn from Philox, keyed by seed, replica and step: a run that
goes on draws what the uninterrupted one would have.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from psiflow_cli.worker.md.velocities import KB
from psiflow_cli.worker.structures.units import BAR

if TYPE_CHECKING:
    from psiflow_cli.messages import MDJob, WalkerStart
    from psiflow_cli.worker.md.walker import MovingWalker


def meeting_steps(job: MDJob, steps: Sequence[int]) -> Iterator[int]:
    """The steps to go to, one after the other, from where the walkers are to the end of this block.

    Between two of them nothing happens that more than one walker has a part in.
    """
    if not steps:
        return
    step, every = min(steps), job.get("exchange")
    end = min(step + job["block"], job["steps"])
    while step < end:
        step = min(end, (step // every + 1) * every) if every else end
        yield step


def coordinates(conditions: WalkerStart) -> dict[str, float]:
    """The conditions as numbers by axis: K, bar, and those of the window as PLUMED's input has them."""
    pressure = {"pressure": conditions["pressure"]} if "pressure" in conditions else {}
    return {"temperature": conditions["temperature"][0], **pressure, **conditions.get("window", {})}


def axes(job: MDJob) -> list[str]:
    """Along which axes the walkers of a job differ; each is called what `coordinates` calls it."""
    places = [coordinates(walker) for walker in job["walkers"]]
    return [axis for axis in places[0] if len({place[axis] for place in places}) > 1]


def exchange(job: MDJob, step: int, replicas: Sequence[MovingWalker]) -> None:
    """Let neighbours exchange their conditions, if this step is one for it.

    Which pairs are tried follows from the step and from who is there alone, so detailed balance holds in each trial.
    """
    every, names = job.get("exchange"), axes(job)
    if not every or step % every or not names:
        return
    turn, place = divmod(step // every, len(names))
    axis = names[place]
    for ladder in _ladders(axis, [r for r in replicas if r.stopped is None and r.step == step]):
        first = turn % 2 if len(ladder) > 2 else 0
        for low, high in zip(ladder[first::2], ladder[first + 1 :: 2], strict=False):
            weight = log_ratio(job, low, high)
            accepted = weight >= 0.0 or _uniform(job["seed"], replicas[0].number, step, low.number) < math.exp(weight)
            _count(axis, low, high, accepted)
            if accepted:
                cold, hot = low.temperatures[0], high.temperatures[0]
                low.swap_conditions(high)
                if cold != hot:
                    low.scale_momenta(math.sqrt(hot / cold))
                    high.scale_momenta(math.sqrt(cold / hot))


def log_ratio(job: MDJob, low: MovingWalker, high: MovingWalker) -> float:
    """The logarithm of the probability of an exchange, above zero where it is certain: w of this module."""
    cold, hot = low.temperatures[0], high.temperatures[0]
    weight = (1.0 / cold - 1.0 / hot) / KB * (low.energy - high.energy)
    betas = 1.0 / (KB * cold), 1.0 / (KB * hot)
    if job.get("ensemble") == "npt":
        forces = betas[0] * low.pressure * BAR - betas[1] * high.pressure * BAR
        weight += forces * (low.volume - high.volume)
    if low.bias and high.bias:
        if low.conditions.get("window") == high.conditions.get("window"):
            here, there = high.bias.energy, low.bias.energy  # the same bias, at both places
        else:
            here = low.bias.energy_at(*high.place())
            there = high.bias.energy_at(*low.place())
        weight += betas[0] * (low.bias.energy - here) + betas[1] * (high.bias.energy - there)
    return float(weight)


def _ladders(axis: str, replicas: Sequence[MovingWalker]) -> list[list[MovingWalker]]:
    """The replicas that differ along this axis alone, in its order."""
    ladders: dict[tuple[float, ...], list[MovingWalker]] = {}
    for replica in sorted(replicas, key=lambda r: (coordinates(r.conditions)[axis], r.number)):
        others = tuple(value for name, value in coordinates(replica.conditions).items() if name != axis)
        ladders.setdefault(others, []).append(replica)
    return [ladders[others] for others in sorted(ladders)]


def _count(axis: str, low: MovingWalker, high: MovingWalker, accepted: bool) -> None:
    """Write down a trial, of neighbours whose conditions differ."""
    first, second = coordinates(low.conditions)[axis], coordinates(high.conditions)[axis]
    if first != second:
        trials = low.trials.setdefault(f"{axis} {first!r} {second!r}", [0, 0])
        trials[0] += 1
        trials[1] += int(accepted)


def _uniform(seed: int, group: int, step: int, number: int) -> float:
    """A number between 0 and 1 that belongs to this pair at this step, and to no walker's noise."""
    import numpy as np

    seeds = np.random.SeedSequence(seed, spawn_key=(group, step, number))
    return float(np.random.Generator(np.random.Philox(seeds)).random())
