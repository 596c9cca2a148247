"""Parts of a data set, drawn at random; equal structures, and groups of frames, never end in different parts."""

from __future__ import annotations

import random
from array import array
from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import compress
from typing import TypedDict

from psiflow_cli import extxyz
from psiflow_cli.extxyz.frame import is_isolated_atom
from psiflow_cli.stages.core.structures import Structures
from psiflow_cli.stages.core.workspace import Job, Workspace
from psiflow_cli.stages.select.grouping import Values, share_out, together


class Part(TypedDict, total=False):
    frames: int
    output: str
    groups: int
    kinds: dict[str, int]  # how many frames of each


class Summary(TypedDict):
    total: int
    parts: dict[str, Part]
    without: dict[str, int]  # how many frames lack each key


@dataclass(frozen=True)
class Splitting:
    """The parts by name, with the share and the file of each."""

    job: Job
    shares: dict[str, float]
    files: dict[str, str]
    seed: int
    group: str | None = None  # the key whose value frames that stay together have in common
    stratify: str | None = None
    """The key, or `grouping.COMPOSITION`, by which each part gets its share of every kind."""


def assign(keys: Sequence[int], shares: dict[str, float], seed: int) -> dict[int, str]:
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


def run(splitting: Splitting, workspace: Workspace) -> Summary:
    """Write the parts, each in input order; isolated atoms go to the first part. Returns the summary."""
    isolated = bytearray()
    values = {key: Values(key) for key in (splitting.group, splitting.stratify) if key}

    def drawn_from() -> Iterator[extxyz.Frame]:
        for frame in workspace.frames():
            isolated.append(is_isolated_atom(frame))
            if not isolated[-1]:
                for each in values.values():
                    each.see(frame)
                yield frame

    keys = Structures(drawn_from()).firsts()
    for each in values.values():
        each.check(splitting.job.frames[0])
    drawn = iter(_drawn(splitting, keys, values))
    first = next(iter(splitting.shares))
    of_frame = [first if alone else next(drawn) for alone in isolated]
    workspace.run.begin(len(isolated))
    counts: dict[str, int] = defaultdict(int)
    with workspace.run.guard_end():
        for name, file in splitting.files.items():
            frames = zip(of_frame, workspace.frames(), strict=True)
            counts[name] = workspace.publish((extxyz.render(x) for part, x in frames if part == name), file)
    of_drawn = [name for name, alone in zip(of_frame, isolated, strict=True) if not alone]
    parts: dict[str, Part] = {}
    for name, file in splitting.files.items():
        inside = _inside(splitting, values, [its_part == name for its_part in of_drawn])
        parts[name] = {"frames": counts[name], "output": file, **inside}
    without = {key: each.of_frame.count(None) for key, each in values.items()}
    return {"total": len(isolated), "parts": parts, "without": {key: count for key, count in without.items() if count}}


def _inside(splitting: Splitting, values: dict[str, Values], inside: list[bool]) -> Part:
    """How many groups are in a part, and how many frames of each kind."""
    part: Part = {}
    for key, each in values.items():
        counts = Counter(value for value in compress(each.of_frame, inside) if value is not None)
        if key == splitting.group:
            part["groups"] = len(counts)
        else:
            part["kinds"] = dict(sorted(counts.items()))
    return part


def _drawn(splitting: Splitting, keys: array[int], values: dict[str, Values]) -> list[str]:
    """The part of each frame that is no isolated atom."""
    if not values:
        parts = assign(keys, splitting.shares, splitting.seed)
        return [parts[key] for key in keys]
    none = [None] * len(keys)
    groups, kinds = (values[key].of_frame if key else none for key in (splitting.group, splitting.stratify))
    return share_out(together(keys, groups), kinds, splitting.shares, splitting.seed)
