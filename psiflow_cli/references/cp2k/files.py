"""The files that an input names: those that lie beside it go along, those of CP2K's own data directory stay there."""

from __future__ import annotations

from pathlib import Path

from psiflow_cli.references.cp2k import installation
from psiflow_cli.references.cp2k.preprocess import read, unquoted
from psiflow_cli.references.cp2k.template import Keyword, Section

_SUFFIXES = ("FILE_NAME", "_FILE", "PARMFILE", "_FILE_PATH", "FILE_DENSITY", "FILE_VXC", "T_C_G_DATA", "TSHPSC_DATA")
_OTHERS = ("FFTW_WISDOM_FILE_NAME",)
_IN_FOLDER = ("PARAM_FILE_NAME", "SK_FILE")
_NOWHERE = ("", "-", "---", "NONE", "__STD_OUT__")
"""What stands in place of a name for no file."""


def carry(root: Section, folder: Path) -> dict[str, str]:
    """The text of every file beside the template that it names, which then goes by its bare name.

    So does a file of one's own in `$CP2K_DATA_DIR`. What comes with CP2K is part of the program and stays with it.
    Raises BadData for a file that cannot be anywhere.
    """
    files: dict[str, str] = {}
    for section in root.walk():
        places = section.word("PARAM_FILE_PATH")  # names in such a section are names in this folder
        for item in section.items:
            if not isinstance(item, Keyword) or not item.name.endswith(_SUFFIXES) or item.name in _OTHERS:
                continue
            if item.name == "PARAM_FILE_PATH":
                _carry_folder(item, folder, files)
            elif item.name == "SK_FILE" and not places:
                *elements, name = item.value.split()
                item.value = " ".join([*elements, _carried(item, unquoted(name), folder, files)])
            elif not places or item.name not in _IN_FOLDER:
                item.value = _carried(item, unquoted(item.value), folder, files)
    return files


def _carried(item: Keyword, name: str, folder: Path, files: dict[str, str]) -> str:
    """The name that the file goes by in the scratch folder, or in CP2K's data directory."""
    if name.upper() in _NOWHERE:
        return name
    path = _where(item, name, folder)
    if path is None:
        return name
    text = read(path)
    own = _own_name(path.name, text, files)
    files[own] = text
    return own


def _where(item: Keyword, name: str, folder: Path) -> Path | None:
    """The file to carry; None for one that CP2K finds where it runs. Raises BadData."""
    beside = folder / name
    if beside.is_file():
        return beside
    folder_of_cp2k = installation.data_folder()
    if _first(name) in installation.SHIPPED:
        return None
    if folder_of_cp2k and (folder_of_cp2k / name).is_file():
        return folder_of_cp2k / name
    if "/" in name:
        bare = name.rsplit("/", 1)[1]
        own = bare in installation.SHIPPED
        hint = (
            f"for CP2K's own file, write {bare} without a path"
            if own
            else "the path is relative to the template's folder"
        )
        raise item.line.error(f"{item.name} {name}: no such file", hint)
    if folder_of_cp2k:
        hint = "put it beside the template"
        raise item.line.error(f"{item.name} {name}: found neither beside the template nor in {folder_of_cp2k}", hint)
    return None


def _first(name: str) -> str:
    """The first folder or file of a path; `./DFTB/scc` is in CP2K's data directory too."""
    return next((part for part in name.split("/") if part != "."), "")


def _own_name(name: str, text: str, files: dict[str, str]) -> str:
    number, free = 1, name
    while files.get(free, text) != text:
        number += 1
        free = f"{name}.{number}"
    return free


def _carry_folder(item: Keyword, folder: Path, files: dict[str, str]) -> None:
    """A folder of parameters beside the template, whose files then lie in the scratch folder itself."""
    name = unquoted(item.value)
    path = folder / name
    if name.strip("./") == "" or (_first(name) in installation.SHIPPED and not path.is_dir()):
        return
    if not path.is_dir():
        raise item.line.error(f"{item.name} {name}: no such folder", "the path is relative to the template's folder")
    for file in sorted(path.iterdir()):
        if file.is_file() and not file.name.startswith("."):
            files[file.name] = read(file)
    item.value = "./"
