"""A walker's folder: what a kill at any moment leaves is what the last checkpoint says."""

from __future__ import annotations

import hashlib
import json
import os
import stat
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from psiflow_cli.worker.md import checkpoint
from psiflow_cli.worker.md.checkpoint import (
    Checkpoint,
    WalkerGroup,
    WalkerState,
    job_key,
    lock,
    open_group,
    read,
    trajectory_name,
    write,
)

STATE = WalkerState(
    step=12,
    frames=2,
    length=0,
    positions=[[0.1, 1 / 3, -2.5e-17]],
    momenta=[[5e-324, 1.7976931348623157e308, -0.0]],
    cell=None,
    rng={"bit_generator": "Philox", "state": {"counter": [2**64 - 1, 0, 0, 7]}},
)


def save(folder: Path, *states: WalkerState, key: str = "k") -> None:
    write(folder, Checkpoint(key, states))


def states(folder: Path) -> list[WalkerState]:
    checkpoint = read(folder)
    assert checkpoint is not None
    return list(checkpoint.walkers)


def test_a_checkpoint_comes_back_exactly(tmp_path: Path) -> None:
    assert read(tmp_path) is None
    save(tmp_path, STATE)
    assert read(tmp_path) == Checkpoint("k", [STATE])
    (back,) = states(tmp_path)
    assert str(back.momenta[0][2]) == "-0.0"
    stopped = replace(STATE, positions=[[float("nan"), 0.0, 0.0]], stopped={"reason": "x", "kind": "nan", "step": 12})
    save(tmp_path, stopped)
    (back,) = states(tmp_path)
    assert back.stopped == stopped.stopped
    assert str(back.positions[0][0]) == "nan"


def test_a_checkpoint_cut_or_flipped_at_any_byte_is_never_believed(tmp_path: Path) -> None:
    save(tmp_path, STATE)
    path = tmp_path / checkpoint.STATE
    whole = path.read_bytes()
    for at in range(len(whole) - 1):  # the last byte is the line's end
        for damaged in (whole[:at], whole[:at] + bytes([whole[at] ^ 1]) + whole[at + 1 :]):
            path.write_bytes(damaged)
            with pytest.raises(RuntimeError, match="damaged"):
                read(tmp_path)


def test_a_checkpoint_half_written_is_not_the_checkpoint(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    save(tmp_path, STATE)
    monkeypatch.setattr(os, "fsync", lambda _: (_ for _ in ()).throw(OSError(28, "No space left on device")))
    with pytest.raises(OSError, match="No space left"):
        save(tmp_path, replace(STATE, step=13))
    assert states(tmp_path) == [STATE]


def test_a_checkpoint_of_another_job_is_refused(tmp_path: Path) -> None:
    save(tmp_path, STATE, key="other")
    with pytest.raises(RuntimeError, match=r"other settings; remove .* to start its walkers again"):
        WalkerGroup(job(tmp_path))


def test_checkpoints_from_before_are_read_and_written_alike(tmp_path: Path) -> None:
    """Byte for byte: runs from before go on."""
    body = (
        b'{"key":"k","walkers":[{"cell":null,"frames":2,"length":0,'
        b'"momenta":[[5e-324,1.7976931348623157e+308,-0.0]],"more":{},"positions":[[0.1,0.3333333333333333,-2.5e-17]],'
        b'"rng":{"bit_generator":"Philox","state":{"counter":[18446744073709551615,0,0,7]}},"step":12,"stopped":null}]}'
    )
    old = body + b"\n" + hashlib.sha256(body).hexdigest().encode() + b"\n"
    (tmp_path / checkpoint.STATE).write_bytes(old)
    assert states(tmp_path) == [STATE]
    save(tmp_path, STATE)
    assert (tmp_path / checkpoint.STATE).read_bytes() == old


def test_a_job_is_the_same_wherever_it_lives_and_however_far_it_goes() -> None:
    job = {"folder": "a", "steps": 10, "block": 5, "model": {"members": ["a/0"]}, "seed": 1, "limits": {"force": 1.0}}
    moved = job | {"folder": "b", "steps": 20, "block": 7, "model": {"members": ["b/0"]}}
    assert job_key(job) == job_key(dict(reversed(moved.items())))
    assert job_key(job) != job_key(job | {"seed": 2})
    assert job_key(job) != job_key(job | {"limits": {"force": 2.0}})


def job(folder: Path, *numbers: int) -> dict[str, object]:
    return {"folder": str(folder), "walkers": [{"walker": number} for number in numbers or (3,)]}


def test_what_no_checkpoint_counts_is_cut_off(tmp_path: Path) -> None:
    path = tmp_path / trajectory_name(3)
    with open_group(job(tmp_path)) as first:
        assert first.states is None
        first.open()
        first.append(0, "one\n")
        first.append(0, "two\n")
        first.commit([STATE])
        assert [(s.frames, s.length) for s in first.states or []] == [(2, 8)]
        first.append(0, "lost\n")
    assert path.read_text() == "one\ntwo\nlost\n"

    with open_group(job(tmp_path)) as again:
        again.open()
        again.append(0, "three\n")
        again.commit([STATE])
        assert [(s.frames, s.length) for s in again.states or []] == [(3, 14)]
        assert read(tmp_path) == Checkpoint(again.key, again.states)
    assert path.read_text() == "one\ntwo\nthree\n"


def test_a_trajectory_shorter_than_its_checkpoint_is_refused(tmp_path: Path) -> None:
    path = tmp_path / trajectory_name(3)
    path.write_text("one\n")
    save(tmp_path, replace(STATE, length=5), key=job_key(job(tmp_path)))
    with open_group(job(tmp_path)) as found, pytest.raises(RuntimeError, match="shorter than its checkpoint"):
        found.open()
    assert path.read_text() == "one\n"


def test_walkers_of_a_group_are_counted_together(tmp_path: Path) -> None:
    """A kill before the checkpoint takes back what each of them recorded."""
    both = job(tmp_path, 3, 4)
    with open_group(both) as first:
        assert first.unfinished(20)
        first.open()
        first.append(1, "b1\n")
        first.commit([STATE, replace(STATE, stopped={"reason": "r", "kind": "nan", "step": 12})])
        first.append(0, "a1\n")
    again = WalkerGroup(both)
    again.open()
    again.close()
    assert [(tmp_path / trajectory_name(n)).read_text() for n in (3, 4)] == ["", "b1\n"]
    assert [each["bytes"] for each in again.report()] == [0, 3]
    assert again.unfinished(20)
    assert not again.unfinished(12)


def test_nobody_else_reads_a_walker(tmp_path: Path) -> None:
    folder = tmp_path / "run" / "walker"
    mask = os.umask(0)
    try:
        with open_group(job(folder)) as found:
            found.open()
            found.commit([STATE])
    finally:
        os.umask(mask)
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    modes = {path.name: stat.S_IMODE(path.stat().st_mode) for path in folder.iterdir()}
    assert modes == {"lock": 0o600, checkpoint.STATE: 0o600, trajectory_name(3): 0o600}


def test_one_process_moves_a_walker_and_a_dead_one_is_not_waited_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    script = (
        "import sys\n"
        "from pathlib import Path\n"
        "from psiflow_cli.worker.md.checkpoint import lock\n"
        "with lock(Path(sys.argv[1])):\n"
        "    print('held', flush=True)\n"
        "    sys.stdin.read()\n"
    )
    monkeypatch.setattr(checkpoint, "LOCK_SECONDS", 0.2)
    command = [sys.executable, "-c", script, str(tmp_path)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as other:
        assert other.stdout is not None
        assert other.stdout.readline() == b"held\n"
        with pytest.raises(RuntimeError, match="another process"), lock(tmp_path):
            pass
        other.kill()
        other.wait()
        with lock(tmp_path):
            pass


def test_a_checkpoint_is_plain_json_on_its_first_line(tmp_path: Path) -> None:
    save(tmp_path, STATE)
    first, digest = (tmp_path / checkpoint.STATE).read_text().splitlines()
    assert json.loads(first)["walkers"][0]["step"] == 12
    assert len(digest) == 64
