"""Kinds of outputs: how their names may end, and which format each of these promises."""

from __future__ import annotations

import os
from typing import NamedTuple

PACKED = (".gz", ".zst")
TEXT = tuple(ending + packed for packed in ("", *PACKED) for ending in (".xyz", ".extxyz"))
"""How files of extended XYZ end."""
_OF_ASE = {
    ".traj": "traj", ".cif": "cif", ".pdb": "proteindatabank", "XDATCAR": "vasp-xdatcar",
    "POSCAR": "vasp", "CONTCAR": "vasp", ".vasp": "vasp",
}  # fmt: skip
HOLDS_ALL = ("traj",)
"""Formats with a place for all values, labels and constraints of a frame; others hold a structure alone."""


class Kind(NamedTuple):
    """What an option names a file for, and how the names of such files may end."""

    what: str
    endings: tuple[str, ...]
    to_stdout: bool = False

    def complaint(self, name: str) -> str:
        """Why `name` is no name for such a file; "" if it is one."""
        if name == "-":
            return "" if self.to_stdout else f"-: {self.what} cannot go to stdout"
        if _ending(name, self.endings):
            return ""
        if self.endings[0] in TEXT and (other := _ending(name, RELAXED.endings)):
            return f"{name}: a {other} file cannot hold {self.what}"
        return f"{name}: no format for {self.what} is known by this name"

    @property
    def names(self) -> str:
        """How such files may be called, for a hint."""
        return ", ".join(self.endings)


FRAMES = Kind("frames with all their values", (*TEXT, ".traj"), to_stdout=True)
FRAMES_IN_FILE = FRAMES._replace(to_stdout=False)
STRUCTURES = Kind("any number of structures", (*TEXT, ".traj", ".cif", ".pdb", "XDATCAR"), to_stdout=True)
STRUCTURES_IN_FILE = STRUCTURES._replace(to_stdout=False)
RELAXED = Kind("relaxed structures", (*STRUCTURES.endings, "POSCAR", "CONTCAR", ".vasp"), to_stdout=True)
FIGURE = Kind("a figure", (".png", ".pdf", ".svg"))
TABLE = Kind("a table", (".csv", ".parquet"))
PAGE = Kind("a page", (".html", ".htm"), to_stdout=True)
ARRAYS = Kind("arrays", (".npz",))
_OF_FILES = (*RELAXED.endings, *FIGURE.endings, *TABLE.endings, *PAGE.endings, *ARRAYS.endings)
_OF_OTHERS = (".json", ".yaml", ".yml", ".toml", ".txt", ".pt", ".pth", ".pt2", ".zip", ".ckpt", ".h5", ".tar", *PACKED)


class _AnyOther(Kind):
    """What may have any name but one that promises a file of another kind."""

    def complaint(self, name: str) -> str:
        if name == "-":
            return super().complaint(name)
        known = tuple(ending for ending in (*_OF_FILES, *_OF_OTHERS) if ending not in self.endings)
        promised = _ending(os.path.normpath(name), known)
        return f"{name}: {self.what} is written, which is no {promised} file" if promised else ""

    @property
    def names(self) -> str:
        return " or ".join((*self.endings, "none of the known suffixes"))


BUNDLE = _AnyOther("a model bundle, a directory,", (".model",))
EXPORTED_FOLDER = _AnyOther("a folder for ASE", ())
SITE = _AnyOther("a site file", (".toml",), to_stdout=True)


class _ByTarget(Kind):
    """What is known only once another option has been read."""

    def complaint(self, name: str) -> str:
        return super().complaint(name) if name == "-" else ""


EXPORT = _ByTarget("a model", ())


def is_text(name: str) -> bool:
    """Whether the name is one of extended XYZ."""
    return bool(_ending(name, TEXT))


def of_ase(name: str) -> str:
    """ASE's name for the format in which psiflow writes a file of this name; "" for any other."""
    return _OF_ASE.get("" if is_text(name) else _ending(name, tuple(_OF_ASE)), "")


def _ending(name: str, endings: tuple[str, ...]) -> str:
    """The one of `endings` that a file's name has, in any case if it is a suffix; "" if none."""
    base = os.path.basename(name)
    matches = (e for e in endings if (base.lower() if e.startswith(".") else base).endswith(e) and base.lower() != e)
    return next(matches, "")
