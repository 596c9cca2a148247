"""Predictions of a trained MACE model, many frames at once, equal to those of MACE's own calculator."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, cast

from psiflow_cli.errors import NO_INPUT, USAGE
from psiflow_cli.models.mace import atomic_energies, graphs, mace_internals
from psiflow_cli.worker.failures import Fatal
from psiflow_cli.worker.models import batches, hardware
from psiflow_cli.worker.models.batching.batch_size import BatchSize
from psiflow_cli.worker.models.kernels.fast_paths import FastPath

if TYPE_CHECKING:
    import numpy as np
    import torch
    from mace.calculators import MACECalculator
    from torch_sim.models.interface import ModelInterface

    from psiflow_cli.messages import Context, Failure, Frame, ModelFacts, PredictionResult


def weights_file(member: str) -> Path:
    """The one model file in a member's folder, or the file that was named in place of one."""
    if Path(member).is_file():
        return Path(member)
    files = sorted(Path(member).glob("*.model"))
    if len(files) != 1:
        problem = f"{member}: {len(files)} files named *.model, but one is expected"
        raise Fatal(problem, "is this a model bundle of MACE?", NO_INPUT)
    return files[0]


def calculator(member: str, context: Context) -> MACECalculator:
    """*worker*: MACE's ASE calculator on a member's weights, with the threads of the task; a new one at each call."""
    from mace.calculators import MACECalculator

    hardware.set_threads(context)
    device = hardware.device(context)
    model = computing(load(weights_file(member), device), context)
    head = chosen_head(model, context.get("head"))
    return MACECalculator(models=[model], device=device, default_dtype=mace_internals.native_dtype(model), head=head)


def describe(path: str | Path) -> ModelFacts:
    """*worker*: what a model file says of itself."""
    return mace_internals.description(load(path))


def load(path: str | Path, device: str = "cpu") -> torch.nn.Module:
    """*worker*: the model in a file."""
    import torch

    return cast("torch.nn.Module", torch.load(path, map_location=device, weights_only=False))


def computing(model: torch.nn.Module, context: Context) -> torch.nn.Module:
    """*worker*: the model in the precision of the task, if it has one; energies of atoms are added in float64."""
    import torch

    native = mace_internals.native_dtype(model)
    dtype = context.get("dtype") or native
    if dtype != "float64":
        atomic_energies.add_in_float64(model)
    return model if dtype == native else model.to(getattr(torch, dtype))


def chosen_head(model: torch.nn.Module, name: str | None) -> str:
    """The head that is wanted, or the only one.

    Raises Fatal where there is none of this name, or several to choose from: MACE's calculator takes another instead.
    """
    heads = mace_internals.heads(model)
    if name is None and len(heads) == 1:
        return heads[0]
    if name in heads:
        return str(name)
    problem = f"--head {name}: the model has no such head" if name else f"the model has {len(heads)} heads"
    raise Fatal(f"{problem}: {', '.join(heads)}", "choose one of them with --head", USAGE)


def of_one_head(model: torch.nn.Module, context: Context) -> torch.nn.Module:
    """*worker*: the model with the chosen head alone, for programs that take the first one."""
    head = chosen_head(model, context.get("head"))
    return model if len(mace_internals.heads(model)) == 1 else mace_internals.of_one_head(model, head)


def predict(frames: list[Frame], members: list[str], context: Context) -> list[list[PredictionResult]]:
    """*worker*: for each member, a prediction or a failure for each frame; see `batches.predict`."""
    return batches.predict(frames, [loaded(member, context) for member in members], context)


def loaded(member: str, context: Context) -> batches.Model:
    """*worker*: a member's calculator, and how it computes many frames at once."""

    def make() -> batches.Model:
        mace_calculator = calculator(member, context)
        elements = mace_internals.elements_of(mace_calculator)
        return batches.Model(
            calculator=mace_calculator,
            elements=elements,
            graph=lambda frame: graphs.graph(frame, mace_calculator),
            forward=lambda frames, inputs: graphs.forward(frames, inputs, mace_calculator),
            describe=lambda frames, inputs: graphs.describe(frames, inputs, mace_calculator),
            size=BatchSize(hardware.device(context)),
            graphs=(tuple(mace_calculator.z_table.zs), float(mace_calculator.r_max)),
        )

    return batches.load_once(weights_file(member), context, make)


FAST_PATHS = (
    FastPath(
        "cueq", ("cuequivariance_torch", "cuequivariance_ops_torch"),
        "cuequivariance-torch cuequivariance-ops-torch-cu{cuda}",
    ),
    FastPath("oeq", ("openequivariance",), "openequivariance", needs_compiler=True),
    FastPath("compile", devices=("cuda", "cpu")),
)  # fmt: skip
"""NVIDIA's kernels, OpenEquivariance's, and what torch.compile makes of the model."""


def features(frames: list[Frame], member: str, context: Context) -> list[np.ndarray | Failure]:
    """*worker*: see `graphs.describe`."""
    return batches.describe(frames, loaded(member, context), context)


def torchsim(member: str, context: Context, stress: bool, path: str = "", build: bool = False) -> ModelInterface:
    """*worker*: see `protocols.Batches`. Of several heads the interface would take the first, so it gets only one."""
    import torch

    hardware.set_threads(context)
    device = hardware.device(context)
    model = of_one_head(load(weights_file(member), device), context)
    if path in mace_internals.CONVERSIONS:
        model = mace_internals.converted(model, path, device)
    model = computing(model, context)
    dtype = getattr(torch, mace_internals.native_dtype(model))
    interface = mace_internals.torchsim_interface()
    compiled = mace_internals.compile_options(interface) if path == "compile" else {}
    return interface(
        model, device=torch.device(device), dtype=dtype, compute_forces=True, compute_stress=stress, **compiled
    )
