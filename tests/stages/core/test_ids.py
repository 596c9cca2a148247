"""Sets and tables of frame ids behave as Python's own, in a fraction of the memory."""

from __future__ import annotations

import tracemalloc
from random import Random

from hypothesis import given
from hypothesis import strategies as st

from psiflow_cli.stages.core.ids import FrameIds, IdSet, IdTable

IDS = st.one_of(st.integers(0, 2**64 - 1), st.integers(0, 20), st.sampled_from([2**56 - 1, 2**56, 2**64 - 1]))


@given(st.lists(IDS))
def test_a_universe_is_sorted_and_finds_each_id(ids):
    universe = FrameIds(ids)
    assert list(universe) == sorted(set(ids))
    assert [universe.place(key) for key in universe] == list(range(len(universe)))
    assert all(universe.place(key) == -1 for key in {5, 2**63, 2**64 - 1} - set(ids))


@given(st.lists(IDS), st.lists(st.tuples(st.booleans(), IDS)))
def test_a_set_is_a_set(ids, changes):
    universe, ours, theirs = FrameIds(ids), IdSet(FrameIds(ids)), set()
    for adds, key in changes:
        (ours.add if adds else ours.discard)(key)
        (theirs.add if adds and universe.place(key) >= 0 else theirs.discard)(key)
    assert (set(ours), len(ours)) == (theirs, len(theirs))
    copy = ours.copy()
    ours -= theirs
    assert (len(ours), set(copy)) == (0, theirs)


@given(st.lists(IDS), st.lists(st.tuples(IDS, st.integers(-1, 100))))
def test_a_table_is_a_dict(ids, changes):
    ours, theirs = IdTable(FrameIds(ids), "q"), {}
    for key, value in changes:
        if value < 0:
            assert ours.pop(key, None) == theirs.pop(key, None)
        else:
            ours[key] = value
            theirs.update({key: value} if key in ids else {})
    assert (dict(ours), len(ours)) == (theirs, len(theirs))


def test_a_hundred_thousand_frames_take_two_megabytes():
    draw = Random(1)
    tracemalloc.start()
    try:
        universe = FrameIds(draw.getrandbits(64) for _ in range(100_000))
        kept = IdSet(universe, universe), IdTable(universe, "q"), IdTable(universe, "b")
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert len(kept[0]) == 100_000
    assert peak < 3e6
