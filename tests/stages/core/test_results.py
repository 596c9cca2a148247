"""What comes back together is written together, and is there whatever ends the batch."""

from __future__ import annotations

import os
from types import SimpleNamespace

import pytest

from psiflow_cli.runtime import journal
from psiflow_cli.stages.core.ids import FrameIds
from psiflow_cli.stages.core.results import Results


@pytest.fixture
def results(tmp_path):
    file = journal.Journal(tmp_path / "journal.jsonl")
    run = SimpleNamespace(journal=file, key=lambda fingerprint: fingerprint, units=lambda key: [])
    yield Results(SimpleNamespace(run=run), "of", FrameIds(range(1, 9)))
    file.close()


def test_one_wait_for_the_disk_for_all_that_come_together(results, monkeypatch):
    waits = []
    monkeypatch.setattr(os, "fdatasync", waits.append)

    def interrupted():
        with results.together():
            for number in range(1, 6):
                results.add([f"{number:016x}"], [{"energy": float(number)}], 1.0, 1)
            assert not waits
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    assert len(waits) == 1
    assert [results.of(number)["energy"] for number in range(1, 6)] == [1.0, 2.0, 3.0, 4.0, 5.0]
    results.add([f"{6:016x}"], [{"failure": "crashed", "message": ""}], 1.0, 1)
    assert len(waits) == 2
    assert dict(results.failures) == {6: "crashed"}
    assert sorted(results.needed(retry_failed=False)) == [7, 8]
