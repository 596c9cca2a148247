"""What `psiflow site check` finds in the environment of an executor without starting a block."""

from __future__ import annotations

import re
import subprocess
import sys

import pytest

from tests.commands.inputs import PSIFLOW

SITE = """
[use]
default = "gpu"
mace = "gpu"

[executors.gpu]
type = "htex"
provider = "local"
resources = "gpu"

[providers.local]
type = "local"

[resources.gpu]
cores = 1
gpus = 1
device = "DEVICE"
"""


@pytest.mark.parametrize("device", ["cuda", "cpu"])
def test_torch_built_only_for_cpus_cannot_serve_a_site_with_gpus(tmp_path, monkeypatch, device):
    torch = pytest.importorskip("torch", reason="needs torch")
    pytest.importorskip("mace", reason="needs MACE")
    if torch.version.cuda or getattr(torch.version, "hip", None):
        pytest.skip("torch is built for GPUs here")
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "0")
    (tmp_path / "site.toml").write_text(SITE.replace("DEVICE", device))
    done = subprocess.run([PSIFLOW, "site", "check", "site.toml"], cwd=tmp_path, capture_output=True, text=True)
    if device == "cpu":
        assert (done.returncode, done.stdout) == (0, "gpu: good\n"), done.stderr
        return
    assert done.returncode == 78, done.stderr
    version = re.escape(f"gpu: torch {torch.__version__} in {sys.prefix} is built only for CPUs")
    assert re.match(version, done.stdout), done.stdout + done.stderr
    assert len(done.stdout.splitlines()) == 1
