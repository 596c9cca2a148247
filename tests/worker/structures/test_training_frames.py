"""Frames of a training: every word as it is written, and no isolated atoms."""

from __future__ import annotations

import io

from psiflow_cli.worker.structures.training_frames import training_frames

ATOM = "1\n{}Properties=species:S:1:pos:R:3 energy=-1.0\nH 0 0 0\n"
NOTE = 'note="config_type=IsolatedAtom \\"a\\""'
WATER = f"2\nProperties=species:S:1:pos:R:3 {NOTE} energy=-1.50\nO 0 0 0\nH 0 0 1.0e0\n\n"


def test_words_and_atoms_are_as_they_are_written() -> None:
    ((words, atoms),) = training_frames(io.StringIO(WATER))
    assert f"2\n{' '.join(words)}\n{''.join(atoms)}\n" == WATER
    assert words[-1] == "energy=-1.50"


def test_an_atom_is_left_out_where_it_says_that_it_is_isolated() -> None:
    marked = (ATOM.format("config_type=IsolatedAtom "), ATOM.format('"config_type"="IsolatedAtom" '))
    others = (
        ATOM.format(""),
        ATOM.format("config_type=bulk "),
        WATER.replace("note=", "config_type=IsolatedAtom note="),
    )
    assert [len(atoms) for _, atoms in training_frames(io.StringIO("".join(marked + others)))] == [1, 1, 2]
