"""One bad node, or one slow minute of the queue, does not cost the run."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import time
from pathlib import Path

from psiflow_cli.runtime import block_record
from tests.commands.inputs import PSIFLOW, copper
from tests.slurm.test_faults import check_output, lost, site
from tests.slurm.test_provider import SLOW, folder, label, noted, run, started, units, wait_for

__all__ = ["folder"]  # a fixture

BROKEN = "test $SLURMD_NODENAME != n1 || { echo no /scratch here >&2; exit 1; }"


def status(output):
    return json.loads(run([PSIFLOW, "status", output, "--json"]).stdout)[0]


def stub(monkeypatch, name, text):
    """A program of SLURM's in front of the real one, which it calls `$real`."""
    there = Path("stubs")
    there.mkdir(exist_ok=True)
    program = there / name
    program.write_text(f"#!/bin/bash\nreal={shutil.which(name) or '/bin/false'}\n{text}\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{there.absolute()}:{os.environ['PATH']}")


def test_a_node_that_fails_every_block_is_left_out(slurm, folder):
    """Its blocks die sooner than anything is finished elsewhere."""
    Path("in.xyz").write_text(copper(8))
    site(max_blocks=3, status_every=1, worker_init=[BROKEN])
    done = run(label("-o", "out.xyz", seconds=6))
    assert "2 blocks failed on n1: no /scratch here; no more blocks go there" in done.stderr
    check_output("out.xyz", 8)
    (bad,) = status("out.xyz")["bad_nodes"]
    assert bad["node"] == "n1"
    assert bad["last_words"] == "no /scratch here"
    assert bad["excluded"]
    assert re.search(r"node n1 has failed \d blocks, and is excluded", run([PSIFLOW, "status"]).stdout)


def test_a_node_that_lacks_a_library_is_left_out(slurm, folder):
    """What ends a run where it is so on every node that computes; here others do."""
    reference = Path(SLOW).read_text().replace("    results = []", "    on_this_node()\n    results = []")
    Path("mine.py").write_text(
        f"{reference}\n\ndef on_this_node():\n"
        "    if os.environ['SLURMD_NODENAME'] != 'n1':\n        return open('others', 'w').close()\n"
        "    while not os.path.exists('others'):\n        time.sleep(0.1)\n    import not_here\n"
    )
    site(max_blocks=3, status_every=1)
    words = [word if word != SLOW else "./mine.py" for word in label("-o", "out.xyz", seconds=0.5)]
    run(words)
    check_output("out.xyz", 24)
    assert "not_here" in status("out.xyz")["bad_nodes"][0]["last_words"]


def test_a_node_whose_workers_die_is_left_out_and_no_frame_is_blamed(slurm, folder):
    """Killed, or with a GPU that computes nothing more: its blocks live, and take one frame after another."""
    reference = Path(SLOW).read_text().replace("    results = []", "    on_this_node()\n    results = []")
    fault = """

def on_this_node():
    if os.environ["SLURMD_NODENAME"] != "n1":
        return open("others", "w").close()
    while not os.path.exists("others"):  # without them it would be tried on n1 again
        time.sleep(0.1)
    try:
        open("killed", "x").close()
    except FileExistsError:
        raise RuntimeError("CUDA error: an illegal memory access was encountered")
    os.kill(os.getpid(), 9)
"""
    Path("mine.py").write_text(reference + fault)
    site(max_blocks=3, status_every=1)
    words = [word if word != SLOW else "./mine.py" for word in label("-o", "out.xyz", seconds=1)]
    done = run(words)
    check_output("out.xyz", 24)
    assert "n1: 2 tasks lost their workers there and were finished elsewhere" in done.stderr
    (bad,) = status("out.xyz")["bad_nodes"]
    assert (bad["node"], bad["excluded"]) == ("n1", True)
    again, why = lost("out.xyz")
    assert set(again.values()) == {1}, "each is tried elsewhere first"
    assert any("illegal memory access" in reason for reason in why)


def test_a_refused_submission_is_tried_again(slurm, folder, monkeypatch):
    """The first is said to have failed, but has arrived: it is cancelled in the end."""
    refusal = "Batch job submission failed: Socket timed out on send/recv operation"
    once = "test -e first || { touch first; $real -w n6 --begin=now+1hour $1 >&2; }"
    stub(monkeypatch, "sbatch", f'test -e open && exec $real "$@"; {once}; echo "sbatch: error: {refusal}" >&2; exit 1')
    with started(label("-o", "out.xyz", seconds=0.1)) as command:
        log = Path("out.xyz.run/parsl/refused-submissions.log")
        wait_for(lambda: log.exists() and log.read_text().count(refusal) > 1, 60, "it is not tried again")
        assert status("out.xyz")["message"] == f"a job was refused: sbatch: error: {refusal}"
        assert len(slurm.run("squeue", "-h").splitlines()) == 1
        Path("open").touch()
        assert command.wait(100) == 0
    check_output("out.xyz", 24)
    assert not slurm.run("squeue", "-h")


def test_a_dry_run_says_what_slurm_has_against_the_site(slurm, folder):
    site(partition="cpuu")
    done = run([*label("-o", "out.xyz"), "--dry-run"])
    assert "executor: default (slurm)" in done.stdout
    assert "warning: the executor default cannot get jobs: no partition 'cpuu': the cluster has cpu, gpu" in done.stderr
    site()
    assert "cannot get jobs" not in run([*label("-o", "out.xyz"), "--dry-run"]).stderr


def test_refusals_end_the_run_when_patience_is_over(slurm, folder, monkeypatch):
    words = "sbatch: error: QOSMaxSubmitJobPerUserLimit"
    stub(monkeypatch, "sbatch", f'echo "{words}" >&2; exit 1')
    text = Path("slurm.toml").read_text()
    Path("slurm.toml").write_text(f'{text}\n[run]\nsubmit_patience = "3 s"\n')
    done = run(label("-o", "out.xyz"), code=69)
    assert f"no job could be submitted: {words}" in done.stderr
    assert words in Path(done.stderr.split("hint: log: ")[1].strip()).read_text()


def test_a_queue_that_forgets_what_runs_costs_nothing(slurm, folder, monkeypatch):
    """Seen in the soak: every block was taken for one that had ended, and the run was given up."""
    stub(monkeypatch, "squeue", 'test -e forgetful && exit 0; exec $real "$@"')
    site(max_blocks=2, status_every=1)
    Path("in.xyz").write_text(copper(4))
    with started(label("-o", "out.xyz", seconds=15)) as command:
        wait_for(lambda: len(slurm.run("squeue", "-h", "-t", "R").splitlines()) == 2, 60, "no block runs")
        calls = Path("out.xyz.run/logs/calls")
        wait_for(lambda: calls.exists() and len(calls.read_text().split()) == 4, 60, "not all workers are busy")
        submitted = slurm.run("squeue", "-h", "-a", "-t", "all", "-o", "%i").split()
        Path("forgetful").touch()
        assert command.wait(100) == 0
    assert set(slurm.run("squeue", "-h", "-t", "all", "-o", "%i").split()) == set(submitted)
    check_output("out.xyz", 4)


def test_a_queue_that_answers_without_rows_ends_no_job(slurm, folder, monkeypatch):
    """squeue fails half of the time: no further job is submitted, and none is left."""
    stub(monkeypatch, "squeue", 'test $(( $(date +%s) / 3 % 2 )) = 0 && exec $real "$@"; echo no answer >&2; exit 1')
    site(max_blocks=2, status_every=1)
    Path("in.xyz").write_text(copper(8))
    slurm.run("scontrol", "update", "partitionname=cpu", "state=down")
    try:
        with started(label("-o", "out.xyz", seconds=2)) as command:
            wait_for(lambda: len(slurm.run("squeue", "-h").splitlines()) == 2, 60, "no job was submitted")
            time.sleep(8)
            assert len(slurm.run("squeue", "-h").splitlines()) == 2
            slurm.run("scontrol", "update", "partitionname=cpu", "state=up")
            assert command.wait(100) == 0
    finally:
        slurm.run("scontrol", "update", "partitionname=cpu", "state=up")
    check_output("out.xyz", 8)
    assert slurm.run("squeue", "-h") == ""


def test_jobs_that_cannot_be_cancelled_stay_on_record(slurm, folder, monkeypatch):
    """The next command of the run cancels them, and so does `psiflow cancel`."""
    real = os.environ["PATH"]
    stub(monkeypatch, "scancel", "echo 'scancel: error: Unable to contact slurm controller' >&2; exit 1")
    slurm.run("scontrol", "update", "partitionname=cpu", "state=down")
    try:
        with started(label("-o", "out.xyz")) as command:
            wait_for(noted, 60, "no job was submitted")
            command.send_signal(signal.SIGTERM)
            assert command.wait(60) == 75
        left = block_record.queued_jobs(Path("out.xyz.run"))
        assert left
        assert set(left) == set(slurm.run("squeue", "-h", "-o", "%i").split())
        assert f"it may have left jobs: {', '.join(left)}" in run([PSIFLOW, "status"]).stdout
        monkeypatch.setenv("PATH", real)
        assert json.loads(run([PSIFLOW, "cancel", "out.xyz", "--json"]).stdout)[0]["cancelled"] == left
        assert not slurm.run("squeue", "-h")
    finally:
        slurm.run("scontrol", "update", "partitionname=cpu", "state=up")
    assert units("out.xyz") == []
