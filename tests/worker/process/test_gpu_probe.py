"""What is wrong between a build of PyTorch and the GPUs of a node, told from what such a build says there."""

from __future__ import annotations

import pytest

from psiflow_cli.worker.process import gpu_probe

GOOD = {
    "torch": "2.6.0", "cuda": "12.4", "hip": "", "archs": ["sm_80", "sm_90"], "driver": 12020, "error": "",
    "devices": [("NVIDIA A100", ""), ("NVIDIA A100", "")],
}  # fmt: skip
OLD = "The NVIDIA driver on your system is too old (found version 11040)."
KERNEL = "CUDA error: no kernel image is available for execution on the device"


@pytest.mark.parametrize(
    ("facts", "said"),
    [
        ({}, []),
        ({"driver": 12080}, []),
        ({"cuda": "", "torch": "2.6.0+cpu", "devices": []}, ["is built only for CPUs: install a build for CUDA"]),
        (
            {"driver": 11040, "devices": [], "error": OLD},
            ["CUDA 12.4, but the driver supports only up to 11.4", "for CUDA 11"],
        ),
        ({"driver": 11040, "devices": [("?", OLD)] * 2}, ["the driver supports only up to 11.4"]),
        ({"driver": 11040}, []),  # it computes: the node has the package for compatibility
        ({"driver": 0, "devices": [], "error": "no driver"}, ["CUDA 12.4, but there is no NVIDIA driver"]),
        ({"cuda": "", "hip": "6.2", "devices": []}, ["built for ROCm 6.2, but the GPU is from NVIDIA"]),
        ({"cuda": "", "hip": "6.2", "driver": 0}, []),
        ({"devices": [("NVIDIA V100", KERNEL)] * 2}, ["cuda:0 (NVIDIA V100): CUDA error", "kernels for sm_80, sm_90"]),
        ({"devices": [("A100", ""), ("A100", "out of memory")]}, ["cannot compute on cuda:1 (A100): out of memory"]),
        ({"devices": [("A100", "")]}, ["sees 1 GPU instead of 2: CUDA_VISIBLE_DEVICES=4,5"]),
        ({"devices": [("A100", "")] * 8}, ["sees 8 GPUs instead of 2"]),
    ],
)
def test_what_does_not_fit_is_told(facts, said):
    there = gpu_probe.explain({**GOOD, **facts}, 2, "CUDA_VISIBLE_DEVICES=4,5")
    assert len(there) == bool(said)
    assert [words for words in said if words not in there[0]] == []
    assert not said or there[0].startswith(f"torch {facts.get('torch', '2.6.0')} in ")


def test_tasks_in_threads_may_see_more():
    assert gpu_probe.explain(GOOD, 1, "") == []
    assert len(gpu_probe.explain(GOOD, 3, "")) == 1


def test_the_torch_of_this_environment_is_asked(monkeypatch):
    """That of a machine without a GPU; it says so in one sentence, whatever its build."""
    pytest.importorskip("torch", reason="needs torch")
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    (sentence,) = gpu_probe.problems(1, "CUDA_VISIBLE_DEVICES=")
    assert sentence.startswith("torch ")
    assert "built only for CPUs" in sentence or "built for" in sentence or "sees 0 GPUs instead of 1" in sentence
