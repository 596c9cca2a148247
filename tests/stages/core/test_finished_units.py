"""What `psiflow status` counts in a journal: the present settings, and the pace of the present command."""

from __future__ import annotations

import pytest

from psiflow_cli.runtime.journal import Journal
from psiflow_cli.stages.core.finished_units import FinishedUnits, belongs_to


@pytest.fixture
def journal(tmp_path):
    """An open journal, and what appends a unit to it."""
    opened = Journal(tmp_path / "journal.jsonl")
    yield opened
    opened.close()


def unit(name, t, ok=True, of="a", **more):
    return {"kind": "unit", "id": name, "of": of, "ok": ok, "t": t, "s": 2.0, "cores": 3, **more}


def begin(t):
    return {"kind": "begin", "t": t}


def read(journal, units=None):
    units = units or FinishedUnits()
    units.read(journal.path)
    return units


def test_reading_on_counts_everything_once(journal):
    journal.append(begin(0.0), unit("1", 1.0), unit("2", 2.0, ok=False))
    units = read(journal)
    assert (units.done, units.failed, units.core_seconds) == (2, 1, 12.0)
    journal.append(unit("2", 3.0), unit("3", 4.0))
    with journal.path.open("ab") as stream:
        stream.write(b'{"crc":"0123')  # what is being written is not counted yet
    assert (read(journal, units).done, units.failed, units.core_seconds) == (3, 0, 24.0)
    assert units.core_seconds_in_jobs == 0.0
    assert read(journal, units).done == read(journal).done == 3


def test_the_wait_for_the_first_worker_is_no_part_of_the_pace(journal):
    journal.append(begin(0.0), unit("0", 1.0), begin(1000.0))
    assert read(journal).rate() is None, "the last command has done nothing yet"
    journal.append(*(unit(f"a{i}", 5000.0) for i in range(4)))
    assert read(journal).rate() == 0.5, "four in one task of 8 s"
    journal.append(*(unit(f"b{i}", 5008.0) for i in range(12)))
    assert read(journal).rate() == 1.0, "sixteen in the 16 s since the first task began"


def test_epochs_are_counted_and_not_their_trainings(journal):
    journal.append(begin(0.0), unit("m", 14.0, at=3), unit("m", 25.0, at=13))
    units = read(journal)
    assert (units.done, units.rate()) == (13, 1.0)


def test_the_settings_of_the_last_command_count_and_not_those_computed_last(journal):
    journal.append(unit("1", 1.0, of="a"), unit("2", 2.0, of="a"), unit("1", 3.0, of="b-ase-1"), unit("3", 4.0, of="c"))
    units = read(journal)
    assert units.done == 1
    units.settle(["a"])
    assert units.done == 2
    units.settle(["unknown"])
    assert units.done == 2
    assert belongs_to("b-ase-1", ["b"])
    assert not belongs_to("bb", ["b"])
    assert units.succeeded == {"1", "2", "3"}
