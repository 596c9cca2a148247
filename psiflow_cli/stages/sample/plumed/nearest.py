"""Where walkers in windows begin: each at the frame of another file that is nearest to its window."""

from __future__ import annotations

from typing import TYPE_CHECKING, cast

from psiflow_cli import extxyz
from psiflow_cli.console import detail
from psiflow_cli.errors import BadConfig, BadData
from psiflow_cli.stages.sample.plumed import trial

if TYPE_CHECKING:
    from psiflow_cli.messages import Frame, NearestAnswer, NearestQuestion
    from psiflow_cli.site.executor import ResolvedExecutor
    from psiflow_cli.stages.sample.request import Sampling
    from psiflow_cli.stages.sample.walkers import Walker

MODULE = "psiflow_cli.worker.md.plumed_nearest"


def place(sampling: Sampling, walkers: list[Walker], executor: ResolvedExecutor) -> None:
    """Give each walker the positions and the cell of the frame in which the bias of its window is lowest.

    PLUMED is asked on this machine, with the Python of the workers. Raises BadData for frames of other atoms, and
    BadConfig where PLUMED does not run here.
    """
    path = str(sampling.nearest)
    frames = [extxyz.message(frame, ()) for frame in _frames(path, sampling, walkers)]
    windows = list({repr(walker.window): walker.window or {} for walker in walkers}.values())
    question: NearestQuestion = {
        "text": sampling.dynamics["plumed"] or "", "files": sampling.dynamics.get("plumed_files", {}),
        "windows": windows, "frames": frames, "kT": trial.BOLTZMANN * walkers[0].temperature[0],
        "timestep": sampling.dynamics["timestep"],
    }  # fmt: skip
    answer = cast("NearestAnswer | str", trial.answer_of(MODULE, question, executor))
    if isinstance(answer, str):
        raise BadConfig(
            f"--nearest: PLUMED could not evaluate the frames: {answer}", "PLUMED must also run on this machine"
        )
    if answer["problem"]:
        raise BadConfig(answer["problem"], answer["hint"])
    for window, number, energy in zip(windows, answer["places"], answer["energies"], strict=True):
        detail(f"{_window_text(window)} starts from frame {number} of {path}, where its bias is {energy:.4g} eV")
        for walker in walkers:
            if (walker.window or {}) == window:
                nearest = frames[number]
                moved: Frame = {**walker.start, "id": nearest["id"], "positions": nearest["positions"]}
                walker.start = {**moved, "cell": nearest["cell"]}


def _frames(path: str, sampling: Sampling, walkers: list[Walker]) -> list[extxyz.Frame]:
    """The frames, of the same atoms as all walkers. Raises BadData."""
    frames = list(extxyz.read(path))
    if not frames:
        raise BadData(f"{path}: no frames", "--nearest needs at least one")
    start = walkers[0].start
    if any(walker.start["symbols"] != start["symbols"] for walker in walkers):
        raise BadData("FRAMES have different atoms", "with --nearest, all walkers must have the same atoms")
    for frame in frames:
        if frame.symbols != start["symbols"] or frame.pbc != start["pbc"]:
            raise BadData(
                f"{frame.where}: its atoms or pbc differ from those of FRAMES",
                "with --nearest, all frames must have the same atoms",
            )
    if sampling.dynamics["exchange"] and any(frame.cell != frames[0].cell for frame in frames):
        raise BadData(f"{path}: frames with different cells", "walkers that exchange windows must have the same cell")
    return frames


def _window_text(window: dict[str, float]) -> str:
    return ", ".join(f"{name}={value:g}" for name, value in window.items()) or "every walker"
