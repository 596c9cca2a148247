"""Recorded frames: packed into one copy from the device, and written as text by a thread beside the steps."""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from psiflow_cli import voigt
from psiflow_cli.samplers.torchsim.judging import SIZES
from psiflow_cli.worker.md import frame_record

if TYPE_CHECKING:
    import numpy as np

    from psiflow_cli.messages import MDJob
    from psiflow_cli.samplers.torchsim.walkers import BatchedWalker
    from psiflow_cli.worker.md.checkpoint import WalkerGroup

WAITING = 8
"""Sets of frames that may wait to be written, before the steps wait for them."""


class Records:
    """Frames on their way into the trajectories of a group; the order is that in which they are put here."""

    def __init__(self, job: MDJob, group: WalkerGroup, walkers: Sequence[BatchedWalker], moving_cells: bool) -> None:
        self._job, self._group, self._moving_cells = job, group, moving_cells
        self._indices = {walker.number: index for index, walker in enumerate(walkers)}
        self._waiting: queue.Queue[tuple[Any, ...] | None] = queue.Queue(WAITING)
        self._failure: BaseException | None = None
        self._thread = threading.Thread(target=self._write, name="psiflow-records", daemon=True)
        self._thread.start()

    def put(
        self, step: int, sizes: np.ndarray, read: Callable[[], dict[str, np.ndarray]],
        walkers: Sequence[tuple[int, slice, BatchedWalker]],
    ) -> None:  # fmt: skip
        """Record walkers, each with its place in the batch and the rows of its atoms. Raises what writing has raised.

        `sizes` are as in `judging.SIZES`, and what `read` returns are fields of the batch's state.
        """
        targets = [walker.target_temperature(step) for _, _, walker in walkers]  # an exchange may change them soon
        conditions = [walker.recorded_conditions() for _, _, walker in walkers]
        biases = [walker.bias.recorded() if walker.bias else {} for _, _, walker in walkers]
        self._waiting.put((step, sizes, read, walkers, targets, conditions, biases))
        self._check()

    def finish(self) -> None:
        """Wait until all is appended. Raises what writing has raised."""
        self._waiting.join()
        self._check()

    def close(self) -> None:
        """End the thread."""
        self._waiting.put(None)
        self._thread.join()

    def _check(self) -> None:
        if self._failure is not None:
            raise self._failure

    def _write(self) -> None:
        while (item := self._waiting.get()) is not None:
            try:
                if self._failure is None:
                    self._append(*item)
            except BaseException as error:  # raised where the steps are made
                self._failure = error
            finally:
                self._waiting.task_done()

    def _append(
        self, step: int, all_sizes: np.ndarray, read: Callable[[], dict[str, np.ndarray]],
        walkers: Sequence[tuple[int, slice, BatchedWalker]],
        targets: list[float], conditions: list[dict[str, float]], biases: list[dict[str, float]],
    ) -> None:  # fmt: skip
        arrays = read()
        stress, cells = arrays.get("stress"), arrays["cells"]
        for (place, atoms, walker), target, condition, bias in zip(walkers, targets, conditions, biases, strict=True):
            sizes = dict(zip(SIZES, all_sizes[:, place].tolist(), strict=True))
            spread = None
            if "forces_std" in arrays:
                spread = float(arrays["energy_std"][place]), arrays["forces_std"][atoms].tolist()
            record = frame_record.FrameRecord(
                step=step, positions=arrays["positions"][atoms].tolist(),
                cell=cells[place].tolist() if self._moving_cells else walker.start["cell"],
                energy=sizes["energy"], kinetic=sizes["kinetic"], temperature=sizes["temperature"], target=target,
                stress=None if stress is None else voigt.from_matrix(stress[place]), spread=spread,
                momenta=arrays["momenta"][atoms].tolist() if self._job.get("velocities") else None,
                conditions=condition, more=bias,
            )  # fmt: skip
            text = frame_record.text(self._job, walker.message, record)
            self._group.append(self._indices[walker.number], text)
