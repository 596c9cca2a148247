"""Replica exchange: the walkers of one start exchange their temperatures.

Neighbours in temperature are paired, even pairs and odd ones in turn; two replicas are a pair each time. An exchange of
two replicas swaps their temperatures, with the probability min(1, exp((1/kT1 - 1/kT2) (U1 - U2)))
(Sugita and Okamoto, Chem. Phys. Lett. 314, 141 (1999)), and scales their momenta to them. Whether it takes place is
drawn from Philox, keyed by seed, replica and step: a run that goes on draws what the uninterrupted one would have.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from psiflow_cli.worker.md.velocities import KB

if TYPE_CHECKING:
    from psiflow_cli.messages import MDJob
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


def exchange(job: MDJob, step: int, replicas: Sequence[MovingWalker]) -> None:
    """Let neighbours in temperature exchange, if this step is one for it.

    Which pairs are tried follows from the step and from who is there alone, so detailed balance holds in each trial.
    """
    every = job.get("exchange")
    if not every or step % every:
        return
    live = [r for r in replicas if r.stopped is None and r.step == step]
    ladder = sorted(live, key=lambda r: (r.temperatures[0], r.number))
    first = (step // every) % 2 if len(ladder) > 2 else 0
    for low, high in zip(ladder[first::2], ladder[first + 1 :: 2], strict=False):
        cold, hot = low.temperatures[0], high.temperatures[0]
        weight = (1.0 / cold - 1.0 / hot) / KB * (low.energy - high.energy)
        if weight >= 0.0 or _uniform(job["seed"], replicas[0].number, step, low.number) < math.exp(weight):
            low.temperatures, high.temperatures = high.temperatures, low.temperatures
            low.scale_momenta(math.sqrt(hot / cold))
            high.scale_momenta(math.sqrt(cold / hot))


def _uniform(seed: int, group: int, step: int, number: int) -> float:
    """A number between 0 and 1 that belongs to this pair at this step, and to no walker's noise."""
    import numpy as np

    seeds = np.random.SeedSequence(seed, spawn_key=(group, step, number))
    return float(np.random.Generator(np.random.Philox(seeds)).random())
