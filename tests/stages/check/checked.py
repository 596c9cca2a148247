"""Frames for the checks, and what the checks say of them."""

from __future__ import annotations

import random
from typing import NamedTuple

from psiflow_cli import extxyz
from psiflow_cli.stages.check.stage import Reading

PLACES = ((0.0, 0.0, 0.0), (0.96, 0.0, 0.0), (-0.24, 0.93, 0.0))
SYMBOLS = ("O", "H", "H")


class Found(NamedTuple):
    """A finding, as tests compare it."""

    severity: str
    check: str
    what: str
    count: int
    frames: list[int]


def check(folder, text, keys=None):
    """All that is found by reading the text, or the texts by the names of files."""
    reading = Reading(keys)
    for name, part in (text if isinstance(text, dict) else {"data.xyz": text}).items():
        (folder / name).write_text(part)
        for frame in extxyz.read(folder / name):
            reading.see(frame)
    reading.end()
    reading.report()
    listed = reading.findings.listed()
    return [Found(f.severity, f.check, f.what, f.count, [place.frame for place in f.places]) for f in listed]


def only(found, check):
    """The findings of one kind."""
    return [each for each in found if each.check == check]


def frame(moved=PLACES, forces=None, energy=0.0, more="", symbols=SYMBOLS, pbc="F F F", names=("energy", "forces")):
    """One frame as text; None leaves energy or forces out."""
    label = "" if energy is None else f" {names[0]}={energy!r}"
    column = "" if forces is None else f":{names[1]}:R:3"
    rows = [
        " ".join([symbol, *(repr(x) for x in (*place, *(forces[n] if forces is not None else ())))])
        for n, (symbol, place) in enumerate(zip(symbols, moved, strict=True))
    ]
    head = f'Properties=species:S:1:pos:R:3{column}{label} pbc="{pbc}"{more}'
    return "\n".join([str(len(rows)), head, *rows]) + "\n"


def bonded(count, energy=1.0, force=1.0, offset=-468.0, seed=0, **how):
    """Molecules of water whose three distances are springs (k in eV/Å²); labels are multiplied by what is given."""
    draw = random.Random(seed)
    texts = []
    for _ in range(count):
        moved = [[x + draw.gauss(0, 0.06) for x in place] for place in PLACES]
        potential, forces = springs(moved)
        scaled = [[force * x for x in row] for row in forces]
        texts.append(frame(moved, scaled, energy * (offset + potential), **how))
    return "".join(texts)


def springs(moved):
    """Energy (eV) and forces (eV/Å)."""
    energy, forces = 0.0, [[0.0] * 3 for _ in moved]
    for one, two, strength, length in ((0, 1, 50.0, 0.96), (0, 2, 50.0, 0.96), (1, 2, 10.0, 1.51)):
        vector = [b - a for a, b in zip(moved[one], moved[two], strict=True)]
        distance = sum(x * x for x in vector) ** 0.5
        energy += strength / 2 * (distance - length) ** 2
        for axis in range(3):
            pull = strength * (distance - length) * vector[axis] / distance
            forces[one][axis] += pull
            forces[two][axis] -= pull
    return energy, forces
