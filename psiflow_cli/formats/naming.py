"""The names of outputs that follow from those of other files."""

from __future__ import annotations

import os

from psiflow_cli.formats.kinds import PACKED, is_text


def beside(frames: tuple[str, ...], word: str, suffix: str = ".xyz", keep_suffix: bool = False) -> str:
    """The default output: named after the first input, `data.xyz` -> `data.labelled.xyz`; `-` for stdin.

    With `keep_suffix`, it has the suffix of that file in whatever format: `data.traj` -> `data.train.traj`.
    """
    first = frames[0]
    if first == "-":
        return "-"
    folder, name = os.path.split(first)
    packed = next((end for end in PACKED if name.lower().endswith(end)), "")
    name, tail = (name[: -len(packed)], name[-len(packed) :]) if packed else (name, "")
    stem, dot, ending = name.rpartition(".")
    if not stem:
        stem, dot, ending = name, "", ""
    if keep_suffix and not dot:  # such as POSCAR, which has no suffix and is known by its end
        return os.path.join(folder, f"{word}.{name}")
    own = dot + ending + tail if keep_suffix or (suffix == ".xyz" and is_text(name)) else suffix
    return os.path.join(folder, ".".join(filter(None, (stem, word))) + own)
