"""The journal of a run cut or flipped at any byte (R2): the command starts, and computes one frame again at most."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from psiflow_cli.runtime.journal import records
from psiflow_cli.stages.core.ids import FrameIds
from psiflow_cli.stages.core.results import Results
from tests.commands.inputs import copper
from tests.faults.runs import arguments, at, begun, site

FRAMES = 4


class Space:
    """As much of a run as `Results` looks at."""

    def __init__(self, path, of):
        self.run = self
        self._path, self._of = path, of

    def key(self, of):
        return of

    def units(self, of):
        return ((place, record) for place, record in records(self._path) if record.get("of") == of)


@pytest.fixture
def finished(psiflow):
    """A run of a few frames, one of which failed: (its arguments, its journal, the bytes of its outputs)."""
    Path("in.xyz").write_text(copper(FRAMES - 1) + at(107.0))
    site("threads")
    run = arguments("out.xyz", "--max-failed", "1")
    psiflow(*run)
    return run, Path("out.xyz.run/journal.jsonl"), outputs()


def outputs():
    return [Path(name).read_bytes() for name in ("out.xyz", "out.failed.xyz")]


def damaged(data, place, kind):
    """The journal cut at a byte, or with a bit of it flipped."""
    if kind == "cut":
        return data[:place]
    return data[:place] + bytes([data[place] ^ kind]) + data[place + 1 :]


@pytest.mark.parametrize("kind", ["cut", 0x01, 0x80])
def test_damage_at_every_byte_loses_one_frame_at_most(finished, kind):
    """Asked of what the command itself asks for the frames that it needs."""
    _, journal, _ = finished
    data = journal.read_bytes()
    units = [record for _, record in records(journal) if record["kind"] == "unit"]
    ids = FrameIds(int(unit["id"], 16) for unit in units)
    ends = [place for place, byte in enumerate(data) if byte == ord("\n")]
    assert len(ids) == FRAMES
    for place in range(len(data)):
        journal.write_bytes(damaged(data, place, kind))
        results = Results(Space(journal, units[0]["of"]), units[0]["of"], ids)
        lost = len(results.needed(retry_failed=False))
        if kind == "cut":
            whole = [record for record in units if data.find(record["id"].encode()) < place]
            assert FRAMES - len(whole) <= lost <= FRAMES - len(whole) + 1, place
        else:
            assert lost <= 1, place
    print(f"{len(data)} places, {len(ends)} records")


@pytest.mark.timeout(3000)
@pytest.mark.parametrize("every", [97, pytest.param(7, marks=pytest.mark.full)])
@pytest.mark.parametrize("kind", [pytest.param("cut", marks=pytest.mark.full), 0x02])
def test_the_command_mends_what_is_lost(psiflow, finished, every, kind):
    """The outputs are there or not; either way the same command ends well, with the same bytes."""
    run, journal, whole = finished
    data = journal.read_bytes()
    shutil.copytree("out.xyz.run", "kept.run")
    before = sum(begun("out.xyz").values())
    places = list(range(0, len(data), every))
    for number, place in enumerate(places):
        journal.write_bytes(damaged(data, place, kind))
        if number % 2:  # as a kill before the end leaves it: no word of the end in run.json, no outputs
            run_json = Path("out.xyz.run/run.json")
            run_json.write_text(run_json.read_text().replace('"result"', '"gone"'))
            for name in ("out.xyz", "out.failed.xyz"):
                Path(name).unlink(missing_ok=True)
        lost = FRAMES - sum(record["kind"] == "unit" for _, record in records(journal))
        psiflow(*run)
        again = sum(begun("out.xyz").values()) - before
        assert again <= (1 if kind != "cut" else lost), place
        assert outputs() == whole, place
        shutil.rmtree("out.xyz.run")
        shutil.copytree("kept.run", "out.xyz.run")
    print(f"{len(places)} places of {len(data)}")
