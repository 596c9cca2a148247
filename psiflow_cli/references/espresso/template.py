"""The input of pw.x: namelists and cards of a user's template, and the input of one frame."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING, TypedDict

from psiflow_cli.errors import BadData
from psiflow_cli.worker.structures.units import BOHR

if TYPE_CHECKING:
    from typing_extensions import NotRequired

    from psiflow_cli.messages import Frame

PREFIX = "psiflow"
NAMELISTS = ("control", "system", "electrons", "ions", "cell")
CARDS = (
    *("ATOMIC_SPECIES", "ATOMIC_POSITIONS", "K_POINTS", "ADDITIONAL_K_POINTS", "CELL_PARAMETERS", "CONSTRAINTS"),
    *("OCCUPATIONS", "ATOMIC_VELOCITIES", "ATOMIC_FORCES", "SOLVENTS", "HUBBARD"),
)
CONTROLLED = {
    "control": (
        *("calculation", "restart_mode", "prefix", "outdir", "wfcdir", "pseudo_dir", "disk_io", "tprnfor", "title"),
        *("nstep", "dt", "iprint", "max_seconds", "etot_conv_thr", "forc_conv_thr"),
    ),
    "system": ("ibrav", "celldm", "a", "b", "c", "cosab", "cosac", "cosbc", "nat", "space_group"),
}
_DROPPED_CARDS = ("ATOMIC_POSITIONS", "CELL_PARAMETERS", "CONSTRAINTS", "ATOMIC_VELOCITIES", "ATOMIC_FORCES")
_QUOTED = re.compile(r"'[^']*'|\"[^\"]*\"")
_KEY = re.compile(r"([a-z_]\w*)\s*(\([\d,\s]+\))?\s*=", re.I)
_CALCULATIONS = ("scf", "relax", "vc-relax", "md", "vc-md")
EXAMPLE = "see INPUT_PW, the description of pw.x's input"


class Settings(TypedDict):
    """A template without what psiflow controls."""

    namelists: dict[str, dict[str, str]]
    species: list[list[str]]  # [label, mass, file]
    cards: dict[str, str]
    files: dict[str, str]  # names and contents (latin-1) of the pseudopotentials
    box: NotRequired[float]  # Å: edge of the cell of frames that have none


def read(path: Path, text: str) -> tuple[Settings, str, list[str], dict[str, int]]:
    """The settings (no files yet), the pseudo_dir, what of the template is not used, and the line of each file.

    Raises BadData with the line of a mistake.
    """
    namelists, cards = _parts(path, text)
    dropped = [f"&{name.upper()}" for name in ("ions", "cell") if name in namelists]
    namelists = {name: namelists.get(name, {}) for name in ("control", "system", "electrons")}  # in pw.x's order
    control = namelists["control"]
    calculation = control.get("calculation", "scf").strip("'\"")
    if calculation not in _CALCULATIONS:
        raise BadData(f"{path}: calculation = '{calculation}' gives no forces", f"known: {', '.join(_CALCULATIONS)}")
    folder = control.get("pseudo_dir", "").strip("'\"")
    for name, keys in CONTROLLED.items():
        for key in [k for k in namelists[name] if k.partition("(")[0] in keys]:
            dropped.append(key)
            del namelists[name][key]
    namelists["system"].pop("ntyp", None)
    dropped += [card for card in _DROPPED_CARDS if cards.pop(card, None)]
    species, lines = _species(path, cards.pop("ATOMIC_SPECIES", []))
    if "K_POINTS" not in cards:
        raise BadData(f"{path}: there is no card K_POINTS", "K_POINTS gamma is the least")
    texts = {name: "\n".join(line for _, line in rows) for name, rows in cards.items()}
    return {"namelists": namelists, "species": species, "cards": texts, "files": {}}, folder, dropped, lines


def _parts(path: Path, text: str) -> tuple[dict[str, dict[str, str]], dict[str, list[tuple[int, str]]]]:
    """Each namelist's keys (in lower case) and values, and each card's lines with their numbers."""
    namelists: dict[str, dict[str, str]] = {}
    cards: dict[str, list[tuple[int, str]]] = {}
    name = card = ""
    for number, raw in enumerate(text.splitlines(), 1):
        line = _without_comment(raw).strip()
        word = line.split()[0] if line else ""
        if not name and word.startswith("&"):
            name = word[1:].lower()
            if name not in NAMELISTS:
                raise BadData(f"{path}:{number}: unknown namelist {word}", f"known: {', '.join(NAMELISTS)}")
            namelists[name] = {}
            line = line[len(word) :].strip()
        if name and line:
            closed = line.endswith("/")  # a quoted one is followed by its quote
            _assign(f"{path}:{number}", line.rstrip("/").strip(), namelists[name])
            name = "" if closed else name
        elif name:
            continue
        elif word.upper().split("{")[0].split("(")[0] in CARDS:
            card = word.upper().split("{")[0].split("(")[0]
            cards[card] = [(number, line)]
        elif line and card:
            cards[card].append((number, line))
        elif line:
            raise BadData(f"{path}:{number}: {word} is neither a namelist nor a card", EXAMPLE)
    if name:
        raise BadData(f"{path}: the namelist &{name.upper()} is never closed", "end it with a line: /")
    return namelists, cards


def _without_comment(line: str) -> str:
    masked = _QUOTED.sub(lambda m: "x" * len(m[0]), line)
    ends = [at for at in (masked.find("!"), masked.find("#")) if at >= 0]
    return line[: min(ends)] if ends else line


def _assign(where: str, line: str, into: dict[str, str]) -> None:
    """Read `key = value, key(1) = value`."""
    if not line:
        return
    masked = _QUOTED.sub(lambda m: "x" * len(m[0]), line)
    keys = list(_KEY.finditer(masked))
    if not keys or masked[: keys[0].start()].strip():
        raise BadData(f"{where}: {line} is not KEY = VALUE", EXAMPLE)
    for match, following in zip(keys, [*keys[1:], None], strict=True):
        value = line[match.end() : following.start() if following else None].strip().rstrip(",").strip()
        into[match[1].lower() + re.sub(r"\s", "", match[2] or "")] = value


def _species(path: Path, rows: list[tuple[int, str]]) -> tuple[list[list[str]], dict[str, int]]:
    """[label, mass, file] of each species, and the line of each file."""
    if len(rows) < 2:
        raise BadData(f"{path}: there are no ATOMIC_SPECIES", "a line for each element: H 1.008 H.UPF")
    species: dict[str, list[str]] = {}
    for number, line in rows[1:]:
        words = line.split()
        if len(words) != 3:
            raise BadData(f"{path}:{number}: {line} is no species", "as in: H 1.008 H.UPF")
        if element(words[0]) in map(element, species):
            raise BadData(f"{path}:{number}: a second species of {element(words[0])}", "frames tell elements only")
        species[words[0]] = words
    return list(species.values()), {words[2]: number for number, words in ((n, x.split()) for n, x in rows[1:])}


def element(label: str) -> str:
    """The element of a species such as Fe, Fe1 or Fe_up."""
    return re.split(r"[\d_-]", label)[0].capitalize()


def build(frame: Frame, settings: Settings) -> str:
    """The input of one frame, whose cell is there."""
    namelists = {name: dict(keys) for name, keys in settings["namelists"].items()}
    control = {"calculation": "'scf'", "prefix": f"'{PREFIX}'", "outdir": "'.'", "pseudo_dir": "'.'"}
    control |= {"disk_io": "'low'", "tprnfor": ".true.", "tstress": ".true."}
    namelists["control"] = {**control, **namelists["control"]}
    labels = {element(label): label for label, _, _ in settings["species"]}
    sizes = {"ibrav": "0", "nat": str(len(frame["symbols"])), "ntyp": str(len(labels))}
    namelists["system"] = {**sizes, **namelists["system"], **_electrons(frame, namelists["system"])}
    parts = [
        f"&{name.upper()}\n" + "".join(f"  {key} = {value}\n" for key, value in keys.items()) + "/"
        for name, keys in namelists.items()
    ]
    rows = [" ".join(species) for species in settings["species"]]
    atoms = [f"{labels[s]} {_numbers(row)}" for s, row in zip(frame["symbols"], frame["positions"], strict=True)]
    parts += ["ATOMIC_SPECIES", *rows, *settings["cards"].values(), "CELL_PARAMETERS bohr"]
    parts += [*map(_numbers, frame["cell"] or ()), "ATOMIC_POSITIONS bohr", *atoms]
    return "\n".join(parts) + "\n"


def _electrons(frame: Frame, system: dict[str, str]) -> dict[str, str]:
    """Charge and multiplicity of the frame, over those of the template."""
    keys = {}
    if frame.get("charge") is not None:
        keys["tot_charge"] = str(frame["charge"])
    if frame.get("multiplicity") is not None and (frame["multiplicity"] > 1 or system.get("nspin") == "2"):
        keys |= {"nspin": "2", "tot_magnetization": str(frame["multiplicity"] - 1)}
    return keys


def _numbers(row: list[float]) -> str:
    return " ".join(f"{x / BOHR:.14f}" for x in row)
