"""PLUMED's input as one list of actions, and the text that PLUMED is given of it.

Included files and continued lines are joined. Nothing of what the user wrote is changed but what lets a walker go on:

- `OPES_*` writes its state at each checkpoint (`STATE_WFILE`, without `STATE_WSTRIDE`), and reads it to go on;
- `ABMD` goes on from the smallest distances to its target so far (`MIN`);
- `RESTART=NO` and `STATE_RFILE` hold for the start of a walker only.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace

OPES = ("OPES_METAD", "OPES_METAD_EXPLORE", "OPES_EXPANDED")
_APPENDED = re.compile(r"PRINT|DUMP(?!GRID|CUBE).*|METAD|PBMETAD|OPES_.*")
_FILES = {"METAD": "HILLS", "OPES_METAD": "KERNELS", "OPES_METAD_EXPLORE": "KERNELS", "OPES_EXPANDED": "DELTAFS"}
"""What is written where no FILE is named."""


@dataclass(frozen=True)
class Action:
    """An action of the input: its name, and all words with it, the label too."""

    name: str
    label: str
    words: tuple[str, ...]

    def get(self, key: str) -> str | None:
        """The value of a keyword, or None."""
        for word in self.words:
            name, equals, value = word.partition("=")
            if equals and name.upper() == key:
                return value.strip("{}").strip()
        return None

    def has(self, flag: str) -> bool:
        """Whether a flag is set."""
        return flag in (word.upper() for word in self.words)

    def with_words(self, remove: Iterable[str], add: Iterable[str] = ()) -> Action:
        """Without some keywords, and with others at the end."""
        gone = set(remove)
        kept = (word for word in self.words if word.partition("=")[0].upper() not in gone)
        return replace(self, words=(*kept, *add))

    @property
    def state_file(self) -> str:
        """Where an action of OPES writes its state."""
        return self.get("STATE_WFILE") or f"STATE.{self.label}"


def actions(text: str, files: Mapping[str, str]) -> list[Action]:
    """The actions of an input; `files` has the texts of those that it includes, by name."""
    found: list[Action] = []
    for words in _logical_lines(text):
        action = _action(words, len(found))
        if action.name == "ENDPLUMED":
            break
        name = action.get("FILE") if action.name == "INCLUDE" else None
        if name and name in files:
            found += actions(files[name], {key: value for key, value in files.items() if key != name})
        else:
            found.append(action)
    return [
        replace(each, label=each.label or f"{each.name.lower()}.{place}") for place, each in enumerate(found)
    ]  # fmt: skip


def text_of(wanted: Iterable[Action], ready: Mapping[str, bool] | None, minima: Mapping[str, list[float]]) -> str:
    """The text that PLUMED is given.

    `ready` is None at the start of a walker, else whether the state of each action of OPES holds something, by label;
    `minima` are those of the actions `ABMD`, by label.
    """
    return "".join(" ".join(_going_on(action, ready, minima).words) + "\n" for action in wanted)


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


def appended_files(wanted: Iterable[Action]) -> set[str]:
    """The files to whose ends PLUMED only adds; it may rewrite others."""
    names: set[str] = set()
    for action in wanted:
        if _APPENDED.fullmatch(action.name):
            names |= set(filter(None, (action.get("FILE") or _FILES.get(action.name, "")).split(",")))
            if action.name == "PBMETAD" and not action.get("FILE"):
                names |= {f"HILLS.{argument}" for argument in (action.get("ARG") or "").split(",")}
    return names


def _action(words: list[str], place: int) -> Action:
    label, rest = "", words
    if words[0].endswith(":"):
        label, rest = words[0][:-1], words[1:]
    action = Action(rest[0].upper() if rest else "", label, tuple(words))
    return action if label else replace(action, label=action.get("LABEL") or "")


def _logical_lines(text: str) -> Iterator[list[str]]:
    """The words of each action, over all its lines; see PLUMED's `Tools::getParsedLine`."""
    words: list[str] = []
    inside, depth = False, 0
    for line in text.splitlines():
        new, inner = _words(line.partition("#")[0], depth)
        if not new:
            continue
        if inside and new[0] == "..." and not depth:
            yield words
            words, inside = [], False
            continue
        opens = new[-1] == "..."
        if opens:
            new.pop()
        if depth and words and new:
            words[-1] += " " + new.pop(0)
        words += new
        inside, depth = inside or opens, inner
        if not inside:
            yield words
            words = []
    if words:
        yield words


def _words(line: str, depth: int) -> tuple[list[str], int]:
    """The words of a line, where braces hold blanks together, and how many braces are open at its end."""
    words: list[str] = []
    between = True
    for character in line:
        if character.isspace() and depth == 0:
            between = True
            continue
        if between and (words or not character.isspace()):
            words.append("")
        between = False
        if not words:
            words.append("")
        depth += (character == "{") - (character == "}")
        words[-1] += character
    return [word.strip() for word in words], depth
