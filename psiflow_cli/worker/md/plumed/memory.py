"""Which biases can go on from a checkpoint: by what PLUMED has parsed, not by words of one file.

PLUMED's log names every action that it has made, also behind INCLUDE and from shortcuts. An action that is a bias (it
has a component `bias`) must be one whose memory is in the files that a checkpoint holds, or that has none: another one,
such as one that was loaded, is refused. So are actions that remember without being a bias.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field

from psiflow_cli.worker.md.plumed.actions import OPES, Action

STATELESS = frozenset({
    "RESTRAINT", "UPPER_WALLS", "LOWER_WALLS", "UWALLS", "LWALLS", "EXTERNAL", "BIASVALUE", "MOVINGRESTRAINT",
    "REWEIGHT_BIAS", "REWEIGHT_TEMP_PRESS", "REWEIGHT_METAD",
})  # fmt: skip
"""Biases whose force is a function of the positions and the step."""
KEPT = frozenset({"METAD", "PBMETAD", "ABMD", *OPES})
"""Biases whose memory PLUMED's files hold."""
FORGOTTEN = frozenset({
    "ADAPTIVE_PATH", "AVERAGE", "HISTOGRAM", "MULTICOLVARDENS", "COMMITTOR", "EFFECTIVE_ENERGY_DRIFT",
    "COLLECT_FRAMES", "RANDOM_EXCHANGES", "MAZE_OPTIMIZER_BIAS", "PLUMED", "METAINFERENCE",
})  # fmt: skip
"""Actions that remember where the walker has been, and that are no bias."""
_FLAGS = {
    "METAD": ("ACCELERATION", "FREQUENCY_ADAPTIVE", "FLYING_GAUSSIAN", "CALC_WORK", "WALKERS_MPI"),
    "PBMETAD": ("WALKERS_MPI",),
    **dict.fromkeys(OPES, ("STORE_STATES", "CALC_WORK", "WALKERS_MPI")),
}
"""What these biases can only do in one go, or among processes of MPI."""
_KEYS = {
    "METAD": ("GRID_RFILE", "ACCELERATION_RFILE"), "PBMETAD": ("GRID_RFILES", "GRID_RFILE"), "ABMD": ("NOISE",),
}  # fmt: skip


@dataclass
class Parsed:
    """An action as PLUMED's log has it."""

    name: str
    label: str = ""
    components: list[str] = field(default_factory=list)  # with the label before them

    @property
    def is_bias(self) -> bool:
        return f"{self.label}.bias" in self.components


def parsed(log: str) -> list[Parsed]:
    """The actions of a log of PLUMED's."""
    actions: list[Parsed] = []
    for each in log.splitlines():
        line = each.removeprefix("PLUMED: ")
        if match := re.fullmatch(r"Action (\S+)\s*", line):
            actions.append(Parsed(match[1]))
        elif actions and (match := re.fullmatch(r"\s+with label (\S+)\s*", line)) and not actions[-1].label:
            actions[-1].label = match[1]
        elif actions and (match := re.match(r"\s+added component to this action:\s+(\S+)", line)):
            actions[-1].components.append(match[1])
    return actions


def refused(parsed_actions: Sequence[Parsed], written: Sequence[Action]) -> str:
    """Why a walker could not go on under these actions, or "".

    `parsed_actions` is what PLUMED has made of the input, `written` are the words of each action.
    """
    for each in parsed_actions:
        if each.name in FORGOTTEN or (each.is_bias and each.name not in STATELESS | KEPT):
            return f"{each.name} depends on the walker's history, which PLUMED does not write to a file"
    for action in written:
        for flag in (*_FLAGS.get(action.name, ()), *_KEYS.get(action.name, ())):
            if action.has(flag):
                return f"{action.name} with {flag} cannot resume from a checkpoint"
        if action.name in ("METAD", "PBMETAD") and action.get("ADAPTIVE").upper() == "DIFF":
            return (
                f"{action.name} with ADAPTIVE=DIFF cannot resume from a checkpoint: its widths are not written to a "
                "file"
            )
        for name in action.appended_files:
            if name.startswith("/") or ".." in name.split("/"):
                return f"{action.name} with FILE={name}: it lies outside the walker's folder"
        if action.get("FILE").endswith(".gz") and action.name != "INCLUDE":
            return f"{action.name} with FILE={action.get('FILE')}: a compressed file cannot be cut back to a checkpoint"
    return _work(parsed_actions, written)


def _work(parsed_actions: Sequence[Parsed], written: Sequence[Action]) -> str:
    """Why the work of a moving restraint could not be used: PLUMED counts it from where it is started again."""
    moving = [each.label for each in parsed_actions if each.name == "MOVINGRESTRAINT"]
    for action in written if moving else ():
        for name in action.get("ARG").split(","):
            label, _, component = name.partition(".")
            everything = name.startswith(("*", "(")) or (label in (*moving, "*") and component == "*")
            if everything or (label in moving and component.endswith("work")):
                return f"{action.name} with ARG={name}: the work of MOVINGRESTRAINT cannot resume from a checkpoint"
    return ""
