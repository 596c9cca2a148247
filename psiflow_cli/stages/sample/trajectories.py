"""What the walkers of a run have recorded: their frames, the numbers of each, and where they ended."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING

from psiflow_cli import extxyz
from psiflow_cli.extxyz import comment
from psiflow_cli.extxyz.spelling import written
from psiflow_cli.extxyz.writer import Values
from psiflow_cli.stages.sample.walkers import Walker
from psiflow_cli.worker.md.checkpoint import WalkerState, trajectory_name
from psiflow_cli.worker.models.expected_error import expected

if TYPE_CHECKING:
    from psiflow_cli.messages import Dynamics, ErrorScales

COLUMNS = {
    "walker": "walker", "bead": "bead", "step": "step", "time": "time_fs", "temperature": "temperature_K",
    "target_temperature": "target_temperature_K",
    "target_pressure": "target_pressure_bar", "pressure": "pressure_bar", "volume": "volume_A3",
    "model_energy": "model_energy_eV", "kinetic_energy": "kinetic_energy_eV", "total_energy": "total_energy_eV",
    "model_energy_std": "model_energy_std_eV", "max_model_forces_std": "max_model_forces_std_eV_per_A",
    "model_energy_expected_error": "model_energy_expected_error_eV",
    "max_model_forces_expected_error": "max_model_forces_expected_error_eV_per_A",
}  # fmt: skip
"""Keys of a frame, and what follows from it, as columns of a table; other numbers keep their names, behind these."""
_NO_COLUMN = ("charge", "multiplicity", "Lattice", "Properties", "pbc")
_SPREAD = ":model_forces_std:R:1"  # how the layout of a committee's frame ends
_EXPECTED = ":model_forces_expected_error:R:1"


@dataclass(frozen=True)
class Recorded:
    """A walker, and the folder of its group, which has its trajectory."""

    walker: Walker
    folder: Path
    scales: ErrorScales | None = None
    """Of a calibrated committee: the engines record its spread, and the expected errors follow from that."""

    def frames(self) -> Iterator[str]:
        """The text of every frame that the last checkpoint counts."""
        for lines in self._lines():
            yield b"".join(_with_expected_errors(lines, self.scales) if self.scales else lines).decode()

    def numbers(self) -> Iterator[dict[str, str]]:
        """The numbers of every frame as they are written, by the names of `COLUMNS`."""
        for _, head, *atoms in self._lines():
            yield _numbers(head.decode(), atoms, self.scales)

    def columns(self) -> list[str]:
        """What `numbers` has for the first frame, and so for all."""
        return list(next(self.numbers(), {}))

    def _lines(self) -> Iterator[list[bytes]]:
        if not self.walker.bytes:
            return
        with (self.folder / trajectory_name(self.walker.number)).open("rb") as stream:
            while stream.tell() < self.walker.bytes:
                count = stream.readline()
                yield [count, *islice(stream, int(count) + 1)]

    def stopped(self) -> str:
        """The last sound frame, or else the start, of a walker that a limit stopped, with the reason."""
        stop = self.walker.stopped
        assert stop is not None
        why: dict[str, str | int] = {"stop_kind": stop["kind"], "stop_step": stop["step"]}
        why["stop_reason"] = stop["reason"]
        last = deque(self.frames(), maxlen=1)
        if not last:
            return _as_start(self.walker, {"walker": self.walker.number, "step": 0, **why})
        count, head, atoms = last[0].split("\n", 2)
        return "\n".join([count, " ".join([head, *(written(key, value) for key, value in why.items())]), atoms])

    def final(self, state: WalkerState, dynamics: Dynamics) -> str:
        """Where the walker is, as a new start, with its momenta; those of a ring polymer are no start of another."""
        info = {"walker": self.walker.number, "step": state.step, "time": state.step * dynamics["timestep"]}
        return _as_start(self.walker, info, state if dynamics["beads"] == 1 else replace(state, momenta=[]))


def _as_start(walker: Walker, info: Mapping[str, str | float], state: WalkerState | None = None) -> str:
    """A frame with all that a start can say of its atoms, at the place of a checkpoint or of the start itself."""
    start = walker.start
    electrons: dict[str, int] = {}
    if "charge" in start:
        electrons["charge"] = start["charge"]
    if "multiplicity" in start:
        electrons["multiplicity"] = start["multiplicity"]
    columns: dict[str, tuple[str, Values]] = {}
    if isinstance(masses := start.get("masses"), list):  # those of whole elements are in the file of --config
        columns["masses"] = ("R", masses)
    if fixed := set(start.get("fixed", ())):
        columns["move_mask"] = ("L", [index not in fixed for index in range(len(start["symbols"]))])
    momenta = start.get("momenta") if state is None else state.momenta
    if momenta:
        columns["momenta"] = ("R", momenta)
    elif "velocities" in start:
        columns["velocities"] = ("R", start["velocities"])
    return extxyz.new_frame(
        start["symbols"], state.positions if state else start["positions"],
        state.cell if state else start["cell"], start["pbc"], {**info, **electrons}, columns,
    )  # fmt: skip


def _with_expected_errors(frame: list[bytes], scales: ErrorScales) -> Iterator[bytes]:
    """The lines of a committee's frame with its expected errors: a column, and a value in the comment."""
    count, head, *atoms = frame
    yield count
    comment_line = head.decode().rstrip("\n").replace(_SPREAD, f"{_SPREAD}{_EXPECTED}", 1)
    if "energy" in scales:
        value = _value(comment_line, "model_energy_std") / len(atoms)
        energy = len(atoms) * expected(value, scales["energy"])
        comment_line += f" model_energy_expected_error={energy!r}"
    yield f"{comment_line}\n".encode()
    for line in atoms:
        yield b"%s %r\n" % (line.rstrip(), expected(_spread(line), scales["forces"]))


def _spread(line: bytes) -> float:
    """The last column of an atom of a committee's frame."""
    return float(line.rsplit(None, 1)[1])


def _value(head: str, key: str) -> float:
    return float(next(pair.value for pair in comment.split(head) if pair.key == key and pair.value))


def _numbers(head: str, atoms: list[bytes], scales: ErrorScales | None) -> dict[str, str]:
    values = {pair.key: pair.value for pair in comment.split(head.rstrip("\n")) if pair.value is not None}
    if "model_energy" in values and "kinetic_energy" in values:
        values["total_energy"] = repr(float(values["model_energy"]) + float(values["kinetic_energy"]))
    if values.get("Properties", "").endswith(_SPREAD):
        largest = max(map(_spread, atoms))
        values["max_model_forces_std"] = repr(largest)
        if scales:
            values["max_model_forces_expected_error"] = repr(expected(largest, scales["forces"]))
        if scales and "energy" in scales:
            of_atom = expected(float(values["model_energy_std"]) / len(atoms), scales["energy"])
            values["model_energy_expected_error"] = repr(len(atoms) * of_atom)
    usual = {key: values[key] for key in COLUMNS if key in values}
    others = {k: v for k, v in values.items() if k not in COLUMNS and k not in _NO_COLUMN and _is_number(v)}
    return usual | others


def _is_number(text: str) -> bool:
    return isinstance(comment.value(text), (int, float)) and text not in ("T", "F")
