"""A bias that all walkers of a command fill together, and one that goes on from earlier hills.

Each walker writes hills to a file of its own, `HILLS.N` in its folder, which is counted and cut back as any other, and
finds those of the others by links beside it (Raiteri et al., J. Phys. Chem. B 110, 3533 (2006)). All are read again at
the beginning of each block, so hills that another walker has lost with its worker act until then and no longer.

METAD does not restart where the file of a walker is missing, so each walker makes those of the others that have not
begun yet, and also a first block is a restart, from what there is.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path

from psiflow_cli.worker.failures import Fatal
from psiflow_cli.worker.md.plumed.actions import SHARING, Action


def filled(actions: Sequence[Action], number: int, walkers: int) -> list[Action]:
    """The actions with `WALKERS_*` of walker `number`."""
    return [_shared(action, number, walkers) if action.name in SHARING else action for action in actions]


def _shared(action: Action, number: int, walkers: int) -> Action:
    words = [f"WALKERS_N={walkers}", f"WALKERS_ID={number}", "WALKERS_DIR=.", "RESTART=YES"]
    if not action.has("WALKERS_RSTRIDE"):
        words.append(f"WALKERS_RSTRIDE={action.get('PACE')}")
    return action.with_words(("RESTART",), words)


def hills(actions: Sequence[Action]) -> set[str]:
    """The files of hills, as the input names them."""
    return {name for action in actions if action.name in SHARING for name in action.appended_files}


def link(folder: Path, names: set[str], number: int, folders: Mapping[str, str]) -> None:
    """Let PLUMED find the hills of all walkers, also of those that have none yet."""
    for other, place in folders.items():
        for name in names:
            own = folder / f"{name}.{other}"
            file = Path(place, own.name)
            file.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            file.touch(mode=0o600)
            if int(other) != number:
                own.unlink(missing_ok=True)
                own.symlink_to(os.path.relpath(file, folder))


def begin_from(folder: Path, actions: Sequence[Action], text: str, own: str) -> list[Action]:
    """The actions of a walker that begins from earlier hills, which it gets as the beginning of its own file."""
    sharing = [action for action in actions if action.name in SHARING]
    if len(sharing) != 1 or sharing[0].name != "METAD":
        raise Fatal(
            "--hills needs an input with exactly one METAD", "give the state of OPES as STATE_RFILE in the input"
        )
    (folder / own).write_text(text, encoding="utf-8")
    return [action.with_words(("RESTART",), ("RESTART=YES",)) if action is sharing[0] else action for action in actions]
