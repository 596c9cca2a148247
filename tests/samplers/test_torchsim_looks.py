"""The batched engine looks at its walkers now and then, and stops each where it would if every step were looked at."""

from __future__ import annotations

import json
import os
import random
import re
import signal
import threading
import time
from pathlib import Path
from typing import Any

import pytest

torch = pytest.importorskip("torch")
np = pytest.importorskip("numpy")
pytest.importorskip("torch_sim", reason="torch-sim is not installed")

from torch.utils._python_dispatch import TorchDispatchMode  # noqa: E402

from psiflow_cli.samplers import ase as alone  # noqa: E402
from psiflow_cli.samplers import torchsim  # noqa: E402
from psiflow_cli.samplers.torchsim import forces, motion, neighbours, noise, transfer  # noqa: E402
from psiflow_cli.worker.md import checkpoint  # noqa: E402

CONTEXT: dict[str, Any] = {"scratch": "", "device": "cpu", "dtype": None, "threads": 1}
WATER = [[0.0, 0.0, 0.0], [0.96, 0.0, 0.0], [-0.24, 0.93, 0.0]]
HARMONIC = Path(__file__).parents[1] / "contracts" / "harmonic.py"


@pytest.fixture(autouse=True)
def _every_tenth_step(monkeypatch: pytest.MonkeyPatch) -> None:
    """As on a GPU; a CPU looks at every step."""
    monkeypatch.setattr(motion, "INTERVAL", {})


def springs(folder: Path, name: str, temperatures: list[float], **changes: Any) -> dict[str, Any]:
    """Waters of other temperatures, with each atom on a spring to where it begins."""
    (folder / "member-0").mkdir(parents=True, exist_ok=True)
    (folder / "member-0" / "sites.json").write_text(json.dumps([[x / 9.0 for x in row] for row in WATER]))
    cell = [[9.0, 0.0, 0.0], [0.0, 9.0, 0.0], [0.0, 0.0, 9.0]]
    start = {"id": "0" * 16, "symbols": ["O", "H", "H"], "positions": WATER, "cell": cell, "pbc": [True] * 3}
    return {
        "folder": str(folder / name),
        "walkers": [{"walker": i, "start": start, "temperature": [t] * 2} for i, t in enumerate(temperatures)],
        "model": {"family": str(HARMONIC), "members": [str(folder / "member-0")]},
        **{"ensemble": "nvt", "thermostat": "langevin", "timestep": 0.5, "friction": 20.0, "thermostat_time": 50.0},
        "pressure": 1.0,
        **{"steps": 60, "every": 20, "block": 60, "batch": 64, "seed": 3},
        **{"ramp_steps": None, "exchange": None, "beads": 1, "plumed": None},
        "limits": {"force": None, "temperature": None, "distance": None, "spread": None},
        **changes,
    }


def outcome(engine: Any, job: dict[str, Any]) -> tuple[list[Any], list[bytes]]:
    """Where and why each walker stopped, and the trajectories."""
    found = engine.advance(job, CONTEXT)["walkers"]
    while any(walker["step"] < job["steps"] and not walker["stopped"] for walker in found):
        found = engine.advance(job, CONTEXT)["walkers"]
    paths = [Path(job["folder"]) / checkpoint.trajectory_name(i) for i in range(len(job["walkers"]))]
    return [walker["stopped"] for walker in found], [path.read_bytes() for path in paths]


@pytest.mark.parametrize("thermostat", ["langevin", "csvr"])
def test_a_walker_stops_at_the_step_where_it_breaks_a_limit(
    tmp_path: Path, thermostat: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Between two looks, as in ASE's engine; and nothing shows how often the host looked, or how long a block was."""
    hot = [100.0 * 1.17**i for i in range(30)]
    change: dict[str, Any] = {"thermostat": thermostat, "limits": {"force": 0.4, "temperature": None}}
    stops, frames = outcome(torchsim, springs(tmp_path, "a", hot, **change))
    steps = {stop["step"] for stop in stops if stop}
    assert len(steps & set(range(1, 26))) >= 10
    assert any(step % 10 for step in steps)
    assert None in stops or thermostat == "csvr"
    by_ase, its_frames = outcome(alone, springs(tmp_path, "b", hot, **change))
    assert [stop and (stop["step"], stop["reason"]) for stop in stops] == [
        stop and (stop["step"], stop["reason"]) for stop in by_ase
    ]
    assert [len(text.splitlines()) for text in frames] == [len(text.splitlines()) for text in its_frames]
    assert outcome(torchsim, springs(tmp_path, "c", hot, block=7, **change)) == (stops, frames)
    monkeypatch.setattr(motion, "INTERVAL", {"cpu": 1})
    assert outcome(torchsim, springs(tmp_path, "d", hot, **change)) == (stops, frames)
    monkeypatch.setattr(noise, "BYTES", 1)
    assert outcome(torchsim, springs(tmp_path, "e", hot, **change)) == (stops, frames)


def test_a_model_that_fails_between_two_looks_is_asked_again_step_by_step(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What a walker beyond its limits makes of a model is not an error of the others."""
    hot = [100.0, 4000.0, 100.0]
    change: dict[str, Any] = {"limits": {"force": 0.4, "temperature": None}}
    whole = outcome(torchsim, springs(tmp_path, "whole", hot, **change))
    predict = forces.Forces._predict

    def fragile(self: Any, part: Any, state: Any, *more: Any) -> Any:
        if float(state.forces.norm(dim=1).max()) > 0.4:
            raise ValueError("these atoms are too far away")
        return predict(self, part, state, *more)

    monkeypatch.setattr(forces.Forces, "_predict", fragile)
    assert outcome(torchsim, springs(tmp_path, "fragile", hot, **change)) == whole
    monkeypatch.setattr(forces.Forces, "_predict", lambda *_: (_ for _ in ()).throw(ValueError("always")))
    with pytest.raises(ValueError, match="always"):
        torchsim.advance(springs(tmp_path, "never", hot), CONTEXT)


class Reads(TorchDispatchMode):
    """Counts what waits for the device: numbers that Python takes from tensors, and copies to the CPU."""

    count = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        name = func.overloadpacket.__name__
        to_cpu = name in ("_to_copy", "copy_") and str((kwargs or {}).get("device")) == "cpu"
        waits = ("_local_scalar_dense", "equal", "is_nonzero", "_linalg_check_errors", "nonzero", "masked_select")
        by_mask = name == "index" and any(each is not None and each.dtype == torch.bool for each in args[1])
        self.count += name in waits or to_cpu or by_mask
        return func(*args, **(kwargs or {}))


SLOW: dict[str, Any] = {"barostat_time": 500.0, "pressure": 1.0, "chain_length": 3}


@pytest.mark.parametrize(
    "change",
    [
        {"fixed": [0]},
        {"ensemble": "npt", "cell": "flexible", **SLOW},
        *(
            pytest.param(change, marks=pytest.mark.full)
            for change in (
                {"ensemble": "nve"},
                {"thermostat": "csvr"},
                {"thermostat": "nose-hoover", **SLOW},
                {"pbc": [True, True, False]},
                {"ensemble": "npt", "cell": "isotropic", **SLOW},
                {"ensemble": "npt", "cell": "flexible", "thermostat": "nose-hoover", **SLOW},
                {"ensemble": "nvst", **SLOW},
                {"ensemble": "nvst", "thermostat": "nose-hoover", **SLOW},
            )
        ),
    ],
)
def test_the_host_reads_where_it_looks_or_records_only(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, change: dict[str, Any]
) -> None:
    """A block of 100 steps with 10 records, and a MACE model with its pairs."""
    pytest.importorskip("mace", reason="mace-torch is not installed")
    from tests.samplers.mace_model import untrained

    (tmp_path / "mace").mkdir()
    untrained(tmp_path / "mace" / "tiny.model")
    of_starts = {name: change[name] for name in ("fixed", "pbc") if name in change}
    job = springs(
        tmp_path, "reads", [10.0] * 3, steps=100, block=100, every=10,
        limits={"force": 99.0, "distance": 0.1},
        **{name: value for name, value in change.items() if name not in of_starts},
    )  # fmt: skip
    for walker in job["walkers"]:
        walker["start"].update(of_starts)
    job["model"] = {"family": "psiflow_cli.models.mace", "members": [str(tmp_path / "mace")]}
    copies: list[Any] = []
    lists: list[Any] = []
    real, search = transfer.to_host, neighbours.candidates
    monkeypatch.setattr(neighbours, "candidates", lambda *places: lists.append(places) or search(*places))
    with checkpoint.open_group(job) as group:  # type: ignore[arg-type]
        group.open()
        moving = motion.BatchMotion(job, CONTEXT, group)  # type: ignore[arg-type]
        here = threading.current_thread()  # the one that writes frames may wait

        def counted(values: Any) -> Any:
            copies.extend([values] * (threading.current_thread() is here))
            return real(values)

        monkeypatch.setattr(transfer, "to_host", counted)
        monkeypatch.setattr(motion, "to_host", counted)
        with Reads() as reads:
            moving.move(100)
        looks = len(copies)
        moving.finish()
        moving.close()
    assert moving.step == 100
    stopped = len(moving.walkers) - len(moving.going)  # each is read once more
    assert 10 <= looks <= 10 + 10 + stopped
    assert len(lists) < 10  # these atoms are fast
    assert reads.count <= 10 + 10 + stopped + 5 * len(lists)  # only a new list waits as well


def test_lists_that_do_not_last_until_the_next_look_are_made_anew(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where nobody waits for the pairs: what was computed without some of them is computed again."""
    pytest.importorskip("mace", reason="mace-torch is not installed")
    from tests.samplers.mace_model import untrained

    (tmp_path / "mace").mkdir()
    untrained(tmp_path / "mace" / "tiny.model")
    told: list[bool] = []
    real = forces.Forces.held
    monkeypatch.setattr(forces.Forces, "held", lambda self, worn: told.append(real(self, worn)) or told[-1])
    monkeypatch.setattr(neighbours, "SKIN", 0.1)
    found = []
    for name, interval in (("seldom", 10), ("always", 1)):
        monkeypatch.setattr(motion, "INTERVAL", {"cpu": interval})
        job = springs(tmp_path, name, [100.0, 900.0], every=30)
        job["model"] = {"family": "psiflow_cli.models.mace", "members": [str(tmp_path / "mace")]}
        found.append(outcome(torchsim, job))
        if interval > 1:
            assert {True, False} <= set(told)
    for one, other in zip(*(texts for _, texts in found), strict=True):
        numbers = [np.array(re.findall(rb"-?\d+\.\d+", text), dtype=float) for text in (one, other)]
        assert np.allclose(*numbers, rtol=0.0, atol=1e-6)


def test_all_reads_go_through_one_function() -> None:
    """Which the test above counts, as those of tensors on a CPU are not dispatched."""
    folder = Path(torchsim.__file__).parent
    on_the_host = {"transfer.py", "walkers.py", "records.py", "noise.py"}
    for path in folder.rglob("*.py"):
        for line in path.read_text().splitlines() if path.name not in on_the_host else ():
            if re.search(r"\.(cpu|item|numpy|tolist)\(", line):
                assert re.search(r"to_host\(|arrays\[", line), f"{path.name}: {line}"


@pytest.mark.full
@pytest.mark.timeout(3600)
def test_a_hundred_kills_leave_no_trace(tmp_path: Path) -> None:
    """Of a batch of MACE walkers, one of which is stopped on its way."""
    pytest.importorskip("mace", reason="mace-torch is not installed")
    from tests.samplers.mace_model import untrained

    (tmp_path / "mace").mkdir()
    untrained(tmp_path / "mace" / "tiny.model")
    change: dict[str, Any] = {"steps": 6000, "every": 10, "block": 25, "limits": {"temperature": 1200.0}}
    jobs = {name: springs(tmp_path, name, [300.0, 600.0, 300.0], **change) for name in ("whole", "killed")}
    for job in jobs.values():
        job["model"] = {"family": "psiflow_cli.models.mace", "members": [str(tmp_path / "mace")]}
    whole = outcome(torchsim, jobs["whole"])
    assert any(whole[0])
    kills, chance = 0, random.Random(5)
    while True:
        child = os.fork()
        if child == 0:
            outcome(torchsim, jobs["killed"])
            os._exit(0)
        if kills == 100:
            os.waitpid(child, 0)
            break
        time.sleep(chance.uniform(0.05, 0.6))
        done, _ = os.waitpid(child, os.WNOHANG)
        assert not done, f"the job has ended after {kills} kills: it must be longer"
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
        kills += 1
    assert outcome(torchsim, jobs["killed"]) == whole
