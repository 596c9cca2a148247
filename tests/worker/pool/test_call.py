"""What crosses the wire: packed by pickle, logs and all, and an outcome that cannot be packed is told as an error."""

from __future__ import annotations

import gzip
from pathlib import Path

from psiflow_cli.worker.pool import call
from psiflow_cli.worker.process.task_logs import TaskLog


def logging(folder, failed):
    return TaskLog(Path(folder), "0123", "input").write("printed", failed=failed)


def unpackable():
    return lambda: None


def called(function, payload):
    return call.unpack(call.call_packed(call.pack((f"{__name__}:{function}", payload, ""))))


def test_the_logs_of_a_label_come_with_the_outcome_and_those_of_a_failure_are_files(tmp_path):
    logs = tmp_path / "logs"
    outcome = called("logging", {"folder": str(logs), "failed": True})
    assert "logs" not in outcome
    assert outcome["value"] == str(logs / "0123.out")
    assert sorted(path.name for path in logs.iterdir()) == ["0123.inp", "0123.out"]
    outcome = called("logging", {"folder": str(logs), "failed": False})
    assert not list(logs.iterdir()), "the failure is no more"
    told = {name: gzip.decompress(contents) for name, contents in outcome["logs"]}
    assert told == {"0123.inp.gz": b"input", "0123.out.gz": b"printed"}
    logging(logs, failed=False)
    assert sorted(path.name for path in logs.iterdir()) == ["0123.inp.gz", "0123.out.gz"], "nobody collects them"


def test_what_cannot_cross_is_an_error():
    outcome = called("unpackable", {})
    assert "pickle" in outcome["error"] or "local object" in outcome["error"]  # the second in Python 3.13
    assert "value" not in outcome
