"""Whatever stops a training after its first epoch leaves a model that can be used, and the same command goes on."""

from __future__ import annotations

import json
import signal
import time
from pathlib import Path

import pytest

from psiflow_cli import bundle
from tests.commands import test_nequip
from tests.commands.conftest import psiflow, start  # noqa: F401

MACE = ("num_channels=4", "max_ell=1", "correlation=1", "batch_size=3", "max_num_epochs=4000", "start_swa=3000")
NEQUIP = ("num_features=4", "num_layers=1", "batch_size=3", "max_epochs=4000")


@pytest.mark.full
@pytest.mark.timeout(900)
@pytest.mark.parametrize(("family", "settings"), [("mace", MACE), ("nequip", NEQUIP)])
def test_every_end_leaves_a_model(psiflow, start, family, settings):  # noqa: F811
    """A kill, which leaves only checkpoints; a signal before the first epoch after that; a deadline; the walltime."""
    pytest.importorskip("mace", reason="mace-torch is not installed")
    if family == "nequip" and not (test_nequip.ENVIRONMENT / "bin" / "python").exists():
        pytest.skip("no environment .venv-nequip: tests/run.sh makes it")
    Path("site.toml").write_text(test_nequip.SITE)
    Path("short.toml").write_text(test_nequip.SITE.replace("cores = 1", 'cores = 1\nwalltime = "60 s"'))
    Path("in.xyz").write_text(test_nequip.waters(10) + test_nequip.ATOMS)
    small = [word for setting in settings for word in ("--set", setting)]
    train = ["train", "in.xyz", "--arch", family, *small, "-o", "a.model"]

    process = start(*train, "--site", "site.toml")
    while _epochs() < 3:
        assert process.poll() is None, process.communicate()
        time.sleep(0.2)
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert not Path("a.model").exists()

    (request,) = Path().glob("a.model.run/work/*/member-0/stop")
    request.write_text("stop")
    process = start(*train, "--site", "site.toml")
    while request.read_text():
        assert process.poll() is None, process.communicate()
        time.sleep(0.05)
    process.send_signal(signal.SIGTERM)
    assert process.wait(90) == 75, process.communicate()
    _check(psiflow)
    for more in (("--site", "site.toml", "--deadline", "60 s"), ("--site", "short.toml")):
        before = _epochs()
        begun = time.monotonic()
        said = psiflow(*train, *more, code=75).stderr
        assert time.monotonic() - begun < 90.0
        assert "-> a.model" in said
        assert _check(psiflow) >= before


def _epochs():
    """The finished epochs, in either trainer's own words."""
    lines = [line for path in Path().glob("*.run/work/*/member-0/results/*") for line in path.read_text().splitlines()]
    validated = sum('"mode": "eval"' in line and '"epoch": null' not in line for line in lines)
    return validated + sum(len(path.read_text().splitlines()) for path in Path().glob("*.run/work/*/*/epochs.jsonl"))


def _check(psiflow):  # noqa: F811
    """A model that works, and says of which epoch it is; returns how many there were."""
    made = bundle.load("a.model")
    assert made.unfinished
    metrics = json.loads(Path("a.model/metrics.json").read_text())
    curve, member = metrics["curves"][0], metrics["metrics"]["member-0"]
    # a killed trainer may have measured its last epoch and not saved it
    best = [min(epochs, key=lambda epoch: epoch["valid_loss"]) for epochs in (curve, curve[:-1] or curve)]
    assert {key: member[key] for key in best[0]} in best
    said = psiflow("evaluate", "in.xyz", "--model", "a.model", "--site", "site.toml", "--overwrite").stderr
    assert "its training was stopped before the end" in said
    return made.facts["epochs"][0]
