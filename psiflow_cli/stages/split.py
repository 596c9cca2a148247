"""Parts of a data set, drawn at random; equal structures never end in different parts."""

from __future__ import annotations

import random
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from psiflow_cli import extxyz
from psiflow_cli.stages.results import Survey
from psiflow_cli.stages.workspace import Job, Workspace


@dataclass(frozen=True)
class Splitting:
    """The parts by name, with the share and the file of each."""

    job: Job
    shares: dict[str, float]
    files: dict[str, str]
    seed: int


def assign(keys: list[int], shares: dict[str, float], seed: int) -> dict[int, str]:
    """The part of each distinct key: sizes by largest remainder, so that they add up; shares add up to 1."""
    distinct = list(dict.fromkeys(keys))
    random.Random(seed).shuffle(distinct)
    exact = {name: share * len(distinct) for name, share in shares.items()}
    sizes = {name: int(size) for name, size in exact.items()}
    short = len(distinct) - sum(sizes.values())
    for name in sorted(exact, key=lambda n: sizes[n] - exact[n])[:short]:
        sizes[name] += 1
    parts: dict[int, str] = {}
    start = 0
    for name, size in sizes.items():
        parts.update(dict.fromkeys(distinct[start : start + size], name))
        start += size
    return parts


def run(splitting: Splitting, space: Workspace) -> dict[str, Any]:
    """Write the parts, each in input order; isolated atoms go to the first part. Returns the summary."""
    isolated: list[bool] = []
    survey = Survey(space.frames(), (), lambda frame: isolated.append(is_isolated_atom(frame)))
    first = next(iter(splitting.shares))
    keys = [key for key, alone in zip(survey.ids, isolated, strict=True) if not alone]
    parts = assign(keys, splitting.shares, splitting.seed)
    of_frame = [first if alone else parts[key] for key, alone in zip(survey.ids, isolated, strict=True)]
    space.run.begin(len(survey))
    counts: dict[str, int] = defaultdict(int)
    with space.run.guard_end():
        for name, file in splitting.files.items():
            counts[name] = space.publish(_part(space, of_frame, name), file)
    return {"total": len(survey), "parts": {n: {"frames": counts[n], "output": f} for n, f in splitting.files.items()}}


def is_isolated_atom(frame: extxyz.Frame) -> bool:
    """One atom, and either no periodicity or `config_type=IsolatedAtom` (a one-atom crystal is no isolated atom)."""
    return frame.natoms == 1 and (not any(frame.pbc) or frame.info.get("config_type") == "IsolatedAtom")


def _part(space: Workspace, of_frame: list[str], name: str) -> Iterator[str]:
    for part, frame in zip(of_frame, space.frames(), strict=True):
        if part == name:
            yield extxyz.render(frame)
