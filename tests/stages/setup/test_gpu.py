"""What goes into an environment for GPUs, by what nvidia-smi says of the driver."""

from __future__ import annotations

import os

import pytest

from psiflow_cli.errors import UsageError
from psiflow_cli.stages.setup import gpu


@pytest.fixture
def smi(tmp_path, monkeypatch):
    """Lets nvidia-smi say something."""
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")

    def says(words: str) -> None:
        (tmp_path / "nvidia-smi").write_text(f"#!/bin/sh\necho '{words}'\n")
        (tmp_path / "nvidia-smi").chmod(0o755)

    return says


@pytest.mark.parametrize(
    ("words", "cuda"),
    [
        ("| NVIDIA-SMI 550.54.15   Driver Version: 550.54.15   CUDA Version: 12.4  |", "cu12"),
        ("| NVIDIA-SMI 580.65.06   Driver Version: 580.65.06   CUDA Version: 13.0  |", "cu13"),
        ("| NVIDIA-SMI 610.10   KMD Version: 610.10   CUDA UMD Version: 14.1  |", "cu13"),
    ],
)
def test_the_driver_decides(smi, words, cuda):
    smi(words)
    assert gpu.cuda("auto") == cuda
    assert gpu.cuda("cu12") == "cu12"


@pytest.mark.parametrize(
    ("words", "problem"), [("CUDA Version: 11.4", "runs CUDA 11"), ("no devices were found", "does not show")]
)
def test_a_driver_that_does_not_fit_or_is_not_there(smi, words, problem):
    smi(words)
    with pytest.raises(UsageError, match=problem):
        gpu.cuda("auto")


def test_kernels_that_pip_can_install_without_a_compiler():
    assert gpu.kernels("mace", "cu13") == ["cuequivariance-torch", "cuequivariance-ops-torch-cu13"]
    assert "openequivariance" not in gpu.kernels("nequip", "cu12")
