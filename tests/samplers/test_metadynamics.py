"""Metadynamics and OPES over a barrier, with PLUMED itself: the exact free energy, also when killed again and again."""

from __future__ import annotations

import json
import multiprocessing
import random
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

np = pytest.importorskip("numpy")
pytest.importorskip("torch_sim", reason="torch-sim is not installed")

from psiflow_cli.worker.md import checkpoint  # noqa: E402
from tests.commands import springs  # noqa: E402
from tests.samplers import double_well as well  # noqa: E402
from tests.samplers import plumed_systems as systems  # noqa: E402

pytestmark = systems.needs_kernel
KT = 8.617333262e-5 * 300.0
HEAD = "UNITS LENGTH=A ENERGY=eV\np: POSITION ATOM=1 NOPBC\nPRINT ARG=p.x,p.y FILE=COLVAR STRIDE=25\n"
BIASES = {
    "METAD": "m: METAD ARG=p.x SIGMA=0.15 HEIGHT=0.005 PACE=50 BIASFACTOR=8 TEMP=300 GRID_MIN=0 GRID_MAX=10\n",
    "PBMETAD": "m: PBMETAD ARG=p.x,p.y SIGMA=0.15,0.15 HEIGHT=0.005 PACE=50 BIASFACTOR=8 TEMP=300 FILE=X,Y\n",
    "OPES": "m: OPES_METAD ARG=p.x SIGMA=0.15 PACE=50 BARRIER=0.2 TEMP=300\n",
}
PRELOADED = ("torch_sim", "psiflow_cli.samplers.torchsim.motion", "ase.io", "pytest")
GROWING = {"METAD": ("HILLS",), "PBMETAD": ("X", "Y"), "OPES": ("KERNELS",)}


def job(folder: Path, kind: str, walkers: int, **changes: Any) -> dict[str, Any]:
    start = {"id": "0" * 16, "symbols": ["C"], "positions": [[4.0, 5.0, 5.0]], "cell": None, "pbc": [False] * 3}
    wanted = systems.job(folder, "job", "", walkers=walkers, **{"timestep": 2.0, "every": 100, "block": 100, **changes})
    wanted["plumed"] = HEAD + BIASES[kind]
    wanted["model"] = {"family": well.__file__, "members": ["any"]}
    for walker in wanted["walkers"]:
        walker["start"] = start
    return wanted


def difference(frames: list[Any]) -> float:
    """F(barrier) - F(well) in eV by reweighting with the bias at each frame, after a fifth of them."""
    frames = frames[len(frames) // 5 :]
    x = np.array([frame.positions[0, 0] - 5.0 for frame in frames])
    weights = np.exp(np.array([frame.info["bias_energy"] for frame in frames]) / KT)
    top, bottom = weights[abs(x) < 0.2].sum(), weights[abs(abs(x) - 1.0) < 0.2].sum()
    return float(-KT * np.log(top / bottom))


def exact() -> float:
    x = np.linspace(-2.5, 2.5, 50001)
    weights = np.exp(-well.BARRIER * (x**2 - 1.0) ** 2 / KT)
    return float(-KT * np.log(weights[abs(x) < 0.2].sum() / weights[abs(abs(x) - 1.0) < 0.2].sum()))


LOOP = """
from importlib import import_module
advance = import_module(f"psiflow_cli.samplers.{engine}").advance
while any(walker["step"] < job["steps"] for walker in advance(job, context)["walkers"]):
    blocks.send("block")
"""


def killed(engine: str, wanted: dict[str, Any], times: int) -> int:
    """Run the job in processes that are killed at random moments; how often that was in the middle."""
    chance, kills = random.Random(3), 0
    forks = multiprocessing.get_context("forkserver")  # which import torch once
    forks.set_forkserver_preload(["plumed", f"psiflow_cli.samplers.{engine}", *PRELOADED])
    while True:
        receiving, sending = forks.Pipe(duplex=False)
        names = {"engine": engine, "job": wanted, "context": systems.CONTEXT, "blocks": sending}
        process = forks.Process(target=exec, args=(LOOP, names))
        process.start()
        sending.close()
        if kills < times:
            receiving.recv()
            time.sleep(chance.random() * 0.1)
            process.kill()
        process.join()
        if process.exitcode == 0:
            return kills
        assert process.exitcode == -signal.SIGKILL
        kills += 1


def free_energy(kind: str, wanted: dict[str, Any]) -> tuple[float, float]:
    """F(barrier) - F(left well) in eV and its error, by `psiflow free-energy`, of all walkers."""
    found, site = [], Path(wanted["folder"]) / "site.toml"
    site.write_text(springs.SITE)
    words = ["--temperature", "300", "--basins", "well=3.8:4.2,barrier=4.8:5.2", "--energy-unit", "eV", "--json"]
    for walker in wanted["walkers"]:
        number, output = walker["walker"], Path(wanted["folder"]) / f"{walker['walker']}.csv"
        if kind == "METAD":
            file = checkpoint.plumed_folder(Path(wanted["folder"]), number) / "HILLS"
            more = ["--range", "3:7", "--bins", "400"]
        else:
            file = Path(wanted["folder"]) / checkpoint.trajectory_name(number)
            more = ["--by", "reweight", "--cv", "p.x", "--discard", "20%"]
        program = Path(sys.executable).with_name("psiflow")
        command = [program, "free-energy", file, *words, *more, "--site", site, "-o", output]
        said = subprocess.run(command, stdout=subprocess.PIPE, check=True).stdout
        found.append([json.loads(said)["free_energy"]["basins"][1][key] for key in ("free_energy", "error")])
    values, errors = np.array(found).T
    return float(values.mean()), float(np.sqrt((errors**2).sum()) / len(errors))


@pytest.mark.parametrize("kills", [3, pytest.param(50, marks=[pytest.mark.full, pytest.mark.timeout(3600)])])
@pytest.mark.parametrize("engine", ["torchsim", "ase"])
@pytest.mark.parametrize("kind", BIASES)
def test_no_hill_is_lost_or_doubled_when_killed(tmp_path: Path, kind: str, engine: str, kills: int) -> None:
    """The path is the undisturbed one, and so is each hill and kernel; a long run has the exact free energy."""
    long = kills > 10
    steps = 1000 * kills if long else 300 * kills
    changes = {"block": 100, "every": 20, "timestep": 4.0, "friction": 10.0} if long else {"block": 50}
    whole, broken = (job(tmp_path / name, kind, 2, steps=steps, **changes) for name in ("whole", "broken"))
    paths = systems.finish(engine, {**whole, "block": steps})
    assert killed(engine, broken, kills) == kills
    for walker, frames in enumerate(paths):
        text = (Path(broken["folder"]) / checkpoint.trajectory_name(walker)).read_text()
        others = systems.frames_of(text)
        assert len(others) == len(frames)
        away = [abs(a.positions - b.positions).max() for a, b in zip(frames, others, strict=True)]
        same = next((n for n, distance in enumerate(away) if distance > 1e-3), len(away))
        print(f"walker {walker}: away by {max(away[:30]):.1e} Å in 30 frames, 0.001 Å at frame {same} of {len(away)}")
        assert max(away[:30]) < 1e-6  # later, chaos makes more of the last digits
        for name in ("COLVAR", *GROWING[kind]):
            one, other = (systems.rows(each, walker, name) for each in (whole, broken))
            assert other[:, 0] == pytest.approx(one[:, 0])
            assert other[:50] == pytest.approx(one[:50], abs=2e-6)
            if kind != "OPES" and name != "COLVAR":
                assert other[:, 0] == pytest.approx(np.arange(50, steps + 50, 50) * 1e-3 * whole["timestep"])
    if long:
        (value, error), (other, another) = (free_energy(kind, each) for each in (whole, broken))
        right = exact() - KT * np.log(2.0)  # above one well alone
        print(f"{kind} {engine}: {value:.4f} ± {error:.4f}, killed {other:.4f} ± {another:.4f}, exact {right:.4f} eV")
        assert max(error, another) < 0.01
        assert abs(value - right) < 4 * error
        assert abs(other - right) < 4 * another
        assert abs(value - other) < 4 * (error**2 + another**2) ** 0.5


@pytest.mark.full
@pytest.mark.timeout(3600)
@pytest.mark.parametrize("kind", ["METAD", "OPES"])
def test_the_free_energy_is_the_exact_one(tmp_path: Path, kind: str) -> None:
    """Of eight walkers, within three standard errors."""
    wanted = job(tmp_path, kind, 8, steps=60000, every=20, block=5000)
    found = [difference(frames) for frames in systems.finish("torchsim", wanted)]
    error = np.std(found, ddof=1) / len(found) ** 0.5
    assert error < 0.01
    assert abs(np.mean(found) - exact()) < 3 * error
