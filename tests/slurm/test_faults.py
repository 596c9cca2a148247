"""Blocks, nodes, managers and workers that die: what was in flight runs again elsewhere, and only that."""

from __future__ import annotations

import json
import os
import signal
from collections import Counter
from pathlib import Path

import pytest

from psiflow_cli import bundle
from tests.commands.conftest import trained
from tests.commands.inputs import PSIFLOW, WATER, alive, copper
from tests.slurm.test_provider import SITE, folder, label, run, started, units, wait_for

__all__ = ["folder", "trained"]  # fixtures


def site(**keys):
    """The site file with other values; a key that is not there yet is put into the provider's table."""
    text = SITE
    for key, value in keys.items():
        line = f"{key} = {value!r}".replace("'", '"')
        kept = [old for old in text.splitlines() if not old.startswith(f"{key} ")]
        kept.insert(kept.index('type = "slurm"') + 1, line)
        text = "\n".join(kept)
    Path("slurm.toml").write_text(text)


def lost(output):
    """How often the journal says of each frame that it was lost with its worker, and why."""
    records = [json.loads(line) for line in Path(f"{output}.run/journal.jsonl").read_text().splitlines()]
    gone = [record for record in records if record["kind"] == "lost"]
    return Counter(frame for record in gone for frame in record["ids"]), {record["why"] for record in gone}


def begun(output):
    """How often a worker began with each frame."""
    return Counter(Path(f"{output}.run/logs/calls").read_text().split())


def check_output(output, frames):
    """Every frame is labelled once, and what was begun twice is what the journal says was lost."""
    assert Path(output).read_text().count("psiflow_id=") == frames
    assert len(units(output)) == len(set(units(output))) == frames
    again, why = lost(output)
    # a task that was lost on its way to a worker had not begun yet
    assert all(count - 1 <= again[frame] for frame, count in begun(output).items())
    assert json.loads(run([PSIFLOW, "status", output, "--json"]).stdout)[0]["lost"] == sum(again.values())
    return again, why


def running(slurm):
    """Job id -> node of the running blocks, oldest first."""
    return dict(
        line.split() for line in slurm.run("squeue", "-h", "-t", "running", "-o", "%i %N", "-S", "i").splitlines()
    )


def pools(output):
    """The process ids of the worker pools of a run."""
    return [pid for pid in alive(f"{os.getcwd()}/{output}.run") if argv(pid)[2].endswith(b"process_worker_pool.py")]


def argv(pid):
    try:
        return [*Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0"), b"", b"", b""]
    except OSError:
        return [b"", b"", b""]


def spawned(pool):
    """The processes of a pool in the order of their starts: first the one that keeps its books, then its workers."""
    found = []
    for entry in Path("/proc").glob("[0-9]*"):
        try:
            fields = (entry / "stat").read_text().rpartition(")")[2].split()
            if int(fields[1]) == pool and b"spawn_main" in (entry / "cmdline").read_bytes():
                found.append((int(fields[19]), int(entry.name)))
        except OSError:
            continue
    return [pid for _, pid in sorted(found)]


@pytest.mark.full
def test_two_hundred_frames_while_blocks_and_a_node_go(slurm, folder):
    Path("in.xyz").write_text(copper(200))
    site(max_blocks=4)
    with started(label("-o", "out.xyz", seconds=0.8)) as command:
        wait_for(lambda: len(units("out.xyz")) > 20, 90, "no frame was labelled")
        first, second, *_ = running(slurm).items()
        slurm.run("scancel", first[0])
        slurm.run("scontrol", "update", f"nodename={second[1]}", "state=down", "reason=test")
        try:
            wait_for(lambda: len(lost("out.xyz")[0]) > 1, 60, "nothing was lost")
        finally:
            slurm.run("scontrol", "update", f"nodename={second[1]}", "state=resume")
        assert command.wait(200) == 0
    again, why = check_output("out.xyz", 200)
    assert len(again) <= 8, "more than what two blocks had in flight was lost"
    assert {f"job {first[0]}", f"job {second[0]}"} <= {" ".join(text.split()[2:4]).rstrip(":,") for text in why}


@pytest.mark.full
def test_a_killed_worker_and_a_killed_manager_take_their_own_tasks_only(slurm, folder):
    Path("in.xyz").write_text(copper(60))
    site(max_blocks=3)
    with started(label("-o", "out.xyz", seconds=1.5)) as command:
        wait_for(lambda: len(pools("out.xyz")) == 3 and len(units("out.xyz")) > 3, 60, "no frame was labelled")
        one, other, third = pools("out.xyz")
        os.kill(spawned(one)[-1], signal.SIGKILL)
        os.kill(other, signal.SIGKILL)
        os.kill(spawned(third)[0], signal.SIGKILL)
        assert command.wait(120) == 0
    again, why = check_output("out.xyz", 60)
    assert 2 <= sum(again.values()) <= 5, "one of the killed worker, two at most of each of the two pools"
    assert any("its worker" in text for text in why)
    assert any("lost with job" in text for text in why)


def test_a_frame_that_kills_every_worker_is_given_up(slurm, folder):
    """101 as first coordinate makes the reference kill its worker."""
    Path("in.xyz").write_text(copper(6) + copper(1).replace("Cu 0.0 0.0 0.0", "Cu 101.0 0.0 0.0"))
    run(label("-o", "out.xyz", seconds=0.1), code=1)
    again, _ = lost("out.xyz")
    assert sorted(again.values()) == [3], "the first try and two more"
    assert "worker-lost" in Path("out.failed.xyz").read_text()
    assert set(begun("out.xyz").values()) == {1, 3}


@pytest.mark.full
def test_a_local_pool_that_is_killed_is_started_again(folder):
    Path("in.xyz").write_text(copper(12))
    with started(label("-o", "out.xyz", seconds=1, site="local")) as command:
        wait_for(lambda: len(units("out.xyz")) > 1, 60, "no frame was labelled")
        (pool,) = pools("out.xyz")
        os.kill(pool, signal.SIGKILL)
        assert command.wait(100) == 0
    check_output("out.xyz", 12)


def kill_workers(output, seconds=60):
    """Kill the workers, busy and idle, as a kernel without memory does."""
    wait_for(lambda: pools(output), seconds, "no worker pool")
    (pool,) = pools(output)
    for pid in spawned(pool)[1:]:
        os.kill(pid, signal.SIGKILL)


@pytest.mark.full
def test_a_training_goes_on_from_its_checkpoint(slurm, folder, trained):
    """Its worker is killed, then its block; the model is the one of a training that nothing happened to."""
    site(max_blocks=1)

    words = [word for word in map(str, trained.arguments) if word not in ("--site", trained.site)]
    with started([PSIFLOW, *words, "--site", "slurm.toml", "-o", "out.model"]) as command:
        wait_for(lambda: len(units("out.model")) > 1, 100, "no epoch was finished")
        kill_workers("out.model")
        wait_for(lambda: lost("out.model")[0], 30, "the killed worker was not missed")
        before = len(units("out.model"))
        wait_for(lambda: len(units("out.model")) > before, 60, "the training did not go on")
        slurm.run("scancel", *running(slurm))
        assert command.wait(150) == 0
    again, _ = lost("out.model")
    # once more where the idle worker took the lock of the queue of tasks along: then its pool is given up as well
    assert again["member-0"] in (2, 3)
    whole, out = (bundle.load(name).facts for name in (trained.model, "out.model"))
    assert out["weights"] == whole["weights"]
    (results,) = Path("out.model.run").rglob("*_train.txt")
    finished = [json.loads(line)["epoch"] for line in results.read_text().splitlines() if '"eval"' in line]
    assert len([epoch for epoch in finished if epoch is not None]) <= 30 + 3, "more than one epoch lost each time"


@pytest.mark.full
def test_walkers_go_on_from_where_they_were(slurm, folder, trained):
    site(max_blocks=1)
    Path("start.xyz").write_text(WATER)
    words = ["--steps", "1500", "--every", "100", "--walkers", "2", "--temperature", "300", "--seed", "5"]
    command = [PSIFLOW, "sample", "start.xyz", "--model", trained.model, *words, "--site", "slurm.toml"]
    with started([*command, "-o", "out.xyz"]) as process:
        wait_for(lambda: len(units("out.xyz")) > 1, 100, "no block of steps was finished")
        kill_workers("out.xyz")
        wait_for(lambda: lost("out.xyz")[0], 30, "the killed worker was not missed")
        slurm.run("scancel", *running(slurm))
        assert process.wait(150) == 0
    run([*command, "-o", "whole.xyz"])
    assert Path("out.xyz").read_bytes() == Path("whole.xyz").read_bytes()
    assert sum(lost("out.xyz")[0].values()) >= 2


@pytest.mark.full
def test_the_end_of_a_block_loses_what_has_no_walltime_and_nothing_that_has_one(slurm, folder):
    """Two runs at once, one worker each, in blocks of a minute: what is lost is begun again in the next block."""
    Path("in.xyz").write_text(copper(5))
    Path("more.xyz").write_text(copper(11))
    site(max_blocks=1, cores_per_node=1, walltime="1 min")
    Path("times.toml").write_text(Path("slurm.toml").read_text())
    slow_start = '\nworker_init = ["sleep 8"]\n'  # counts against the block, not against the age of the pool
    text = Path("slurm.toml").read_text().replace("\ncores = 1\n", '\ncores = 1\nwalltime = "20 s"\n')
    Path("drains.toml").write_text(text.replace('type = "slurm"\n', 'type = "slurm"' + slow_start))
    with (
        started(
            [
                "more.xyz" if word == "in.xyz" else word
                for word in label("-o", "times.xyz", seconds=9, site="times.toml")
            ]
        ) as times,
        started(label("-o", "drains.xyz", seconds=9, site="drains.toml")) as drains,
    ):
        assert drains.wait(280) == 0
        assert times.wait(280) == 0
    assert check_output("drains.xyz", 5)[0] == {}
    assert set(begun("drains.xyz").values()) == {1}
    again, why = check_output("times.xyz", 11)
    assert again
    assert set(again.values()) == {1}
    assert begun("times.xyz") == Counter(set(units("times.xyz"))) + again
    assert all(text.startswith("lost with job") for text in why)
