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

    what: str  # a plural
    endings: tuple[str, ...]
    to_stdout: bool = False
    needs: str = ""  # what some formats of frames have no place for

    def complaint(self, name: str) -> str:
        """Why `name` is no name for such a file; "" if it is one."""
        if name == "-":
            return "" if self.to_stdout else f"-: {self.what} cannot go to stdout"
        if _ending(name, self.endings):
            return ""
        if self.needs and (other := _ending(name, RELAXED.endings)):
            return f"{name}: a {other} file cannot hold {self.needs}"
        return f"{name}: this is not the name of a known format for {self.what}"

    @property
    def hint(self) -> str:
        """How such files may be called."""
        return f"the name may end in {', '.join(self.endings)}"


FRAMES = Kind("frames", (*TEXT, ".traj"), to_stdout=True, needs="all values of a frame")
FRAMES_IN_FILE = FRAMES._replace(to_stdout=False)
STRUCTURES = Kind("frames", (*TEXT, ".traj", ".cif", ".pdb", "XDATCAR"), to_stdout=True, needs="several frames")
STRUCTURES_IN_FILE = STRUCTURES._replace(to_stdout=False)
RELAXED = Kind("frames", (*STRUCTURES.endings, "POSCAR", "CONTCAR", ".vasp"), to_stdout=True)
FIGURE = Kind("figures", (".png", ".pdf", ".svg"))
TABLE = Kind("tables", (".csv", ".parquet"))
CSV = Kind("tables", (".csv",))
PAGE = Kind("pages", (".html", ".htm"), to_stdout=True)
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
        return f"{name}: this is the name of a {promised} file, which cannot hold {self.what}" if promised else ""

    @property
    def hint(self) -> str:
        return super().hint if self.endings else "a folder needs no suffix"


BUNDLE = _AnyOther("model bundles (directories)", (".model",))
EXPORTED_FOLDER = _AnyOther("folders", ())
SITE = _AnyOther("site files", (".toml",), to_stdout=True)


class _ByTarget(Kind):
    """What is known only once another option has been read."""

    def complaint(self, name: str) -> str:
        return super().complaint(name) if name == "-" else ""


EXPORT = _ByTarget("models", ())


def is_file(name: str) -> bool:
    """Whether the name promises a file, so that no directory may be in its place."""
    return bool(_ending(name, _OF_FILES))


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
