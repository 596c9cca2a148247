"""The text of its input that PLUMED is given, with included files and continued lines joined.

Nothing of what the user wrote is changed but what lets a walker go on:

- `OPES_*` writes its state at each checkpoint (`STATE_WFILE`, without `STATE_WSTRIDE`), and reads it to go on;
- `ABMD` goes on from the smallest distances to its target so far (`MIN`);
- `RESTART=NO` and `STATE_RFILE` hold for the start of a walker only.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace

from psiflow_cli.worker.md.plumed.actions import OPES, Action, parse


def actions(text: str, files: Mapping[str, str]) -> list[Action]:
    """The actions of an input, each with a label; `files` has the texts of those that it includes, by name."""
    return [
        replace(each, label=each.label or f"{each.name.lower()}.{place}")
        for place, each in enumerate(_with_included(text, files))
    ]


def _with_included(text: str, files: Mapping[str, str]) -> Iterator[Action]:
    for action in parse(text, "plumed.dat"):
        name = action.get("FILE") if action.name == "INCLUDE" else ""
        if name in files:
            yield from _with_included(files[name], {key: value for key, value in files.items() if key != name})
        else:
            yield action


def counts_in_eV(actions: Iterable[Action]) -> bool:
    """Whether the input's unit of energy is the eV."""
    return any(action.name == "UNITS" and action.get("ENERGY") == "eV" for action in actions)


def text_of(actions: Iterable[Action], ready: Mapping[str, bool] | None, minima: Mapping[str, list[float]]) -> str:
    """The text that PLUMED is given.

    `ready` is None at the start of a walker, else whether the state of each action of OPES holds something, by label;
    `minima` are those of the actions `ABMD`, by label.
    """
    words = ((word.source for word in _going_on(action, ready, minima).words) for action in actions)
    return "".join(" ".join(each) + "\n" for each in words)


def _going_on(action: Action, ready: Mapping[str, bool] | None, minima: Mapping[str, list[float]]) -> Action:
    if action.name in OPES:
        state = action.state_file
        action = action.with_words(("STATE_WFILE", "STATE_WSTRIDE"), (f"STATE_WFILE={state}",))
        if ready is not None:
            how = f"STATE_RFILE={state}" if ready.get(action.label) else "RESTART=NO"
            return action.with_words(("STATE_RFILE", "RESTART"), (how,))
    if ready is None:
        return action
    if action.get("RESTART"):
        action = action.with_words(("RESTART",))
    if action.name == "ABMD" and action.label in minima:
        action = action.with_words(("MIN",), ("MIN=" + ",".join(repr(value) for value in minima[action.label]),))
    return action


def appended_files(actions: Iterable[Action]) -> set[str]:
    """The files to whose ends PLUMED only adds."""
    return {name for action in actions for name in action.appended_files}
