"""Frames of one structure find each other among many, wherever the borders of groups fall, in little memory."""

from __future__ import annotations

import tracemalloc
from array import array
from random import Random

from psiflow_cli import extxyz
from psiflow_cli.stages.core import structures
from psiflow_cli.stages.core.structures import Copies, Structures


def dimer(distance, shift=0.0):
    return f'2\nProperties=species:S:1:pos:R:3 pbc="F F F"\nH 0 0 {shift!r}\nH {distance!r} 0 0\n'


def test_copies_find_each_other_and_nobody_else(tmp_path):
    draw = Random(1)
    numbers = [draw.randrange(1500) for _ in range(3000)]
    noise = [draw.uniform(-5e-9, 5e-9) for _ in numbers]
    texts = (dimer(0.7 + 1e-5 * n, shift) for n, shift in zip(numbers, noise, strict=True))
    extxyz.write(tmp_path / "in.xyz", texts)
    firsts = Structures(extxyz.read(tmp_path / "in.xyz")).firsts()
    assert list(firsts) == [numbers.index(number) for number in numbers]


def test_copies_are_listed_by_structure():
    copies = Copies(array("I", [0, 1, 0, 3, 1, 0, 6, 1]), 6)  # the last two are frames of another file
    assert [list(copies.of(number)) for number in range(8)] == [
        [0, 2, 5], [1, 4], [0, 2, 5], [3], [1, 4], [0, 2, 5], [], [1, 4]
    ]  # fmt: skip
    assert list(copies.groups()) == [[0, 2, 5], [1, 4]]


def test_many_frames_need_little_memory(monkeypatch):
    """36 bytes a frame, and what sorting a group needs; if all are copies of a few, one group may have them all."""
    draw = Random(2)
    for kinds in (1 << 40, 1 << 4):
        numbers = [draw.randrange(kinds) * ((1 << 64) // kinds) for _ in range(30_000)]
        monkeypatch.setattr(structures, "place", lambda frame, *_, **__: (frame,) * 4)
        tracemalloc.start()
        many = Structures(numbers)
        firsts = many.firsts()
        _, peak = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        assert len(set(firsts)) == len(set(numbers))
        assert peak < 150 * len(numbers)
