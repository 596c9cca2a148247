"""The input of pw.x: namelists and cards of a user's template, and the input of one frame."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING, TypedDict

from psiflow_cli import inputs
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
    "electrons": ("scf_must_converge",),  # where it is false, pw.x says of every SCF that it converged
    "system": ("ibrav", "celldm", "a", "b", "c", "cosab", "cosac", "cosbc", "nat", "space_group"),
}
_DROPPED_CARDS = ("ATOMIC_POSITIONS", "CELL_PARAMETERS", "CONSTRAINTS", "ATOMIC_VELOCITIES")
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
    atoms: NotRequired[list[str]]  # labels of the template's own atoms, where an element has several species
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
        problem = f"{inputs.at(path, 'calculation')}: calculation = '{calculation}' gives no forces"
        raise BadData(problem, f"known: {', '.join(_CALCULATIONS)}")
    _refuse(path, namelists["system"], cards)
    folder = control.get("pseudo_dir", "").strip("'\"")
    for name, keys in CONTROLLED.items():
        for key in [k for k in namelists[name] if k.partition("(")[0] in keys]:
            dropped.append(key)
            del namelists[name][key]
    namelists["system"].pop("ntyp", None)
    atoms = [line.split()[0] for _, line in cards.get("ATOMIC_POSITIONS", [])[1:]]
    dropped += [card for card in _DROPPED_CARDS if cards.pop(card, None)]
    species, lines = _species(path, cards.pop("ATOMIC_SPECIES", []))
    if "K_POINTS" not in cards:
        raise BadData(f"{path}: there is no card K_POINTS", "add one, at least K_POINTS gamma")
    texts = {name: "\n".join(line for _, line in rows) for name, rows in cards.items()}
    settings: Settings = {"namelists": namelists, "species": species, "cards": texts, "files": {}}
    if inputs.several([label for label, _, _ in species], []) and atoms:
        settings["atoms"] = atoms
        dropped = [f"{card} but for its labels" if card == "ATOMIC_POSITIONS" else card for card in dropped]
    return settings, folder, dropped, lines


def isolation(system: dict[str, str]) -> tuple[str, str]:
    """The method of assume_isolated in lower case, or "" for none, and the pbc that it is for, as in FFF or TTF."""
    method, boundary = (system.get(key, "").strip("'\" ").lower() for key in ("assume_isolated", "esm_bc"))
    if method in ("", "none") or (method == "esm" and boundary in ("", "pbc")):
        return "", "TTT"
    return method, "TTF" if method in ("esm", "2d") else "FFF"


def _refuse(path: Path, system: dict[str, str], cards: dict[str, list[tuple[int, str]]]) -> None:
    """Raise BadData for what would belong to the template's own atoms or cell, or not be in the energy."""
    if isolation(system)[0] in ("makov-payne", "m-p", "mp"):
        where = inputs.at(path, "assume_isolated")
        hint = "use assume_isolated = 'mt' for molecules, or remove it"
        raise BadData(
            f"{where}: pw.x prints the Makov-Payne correction, but includes it in neither energy nor forces", hint
        )
    for key in system:
        if key.startswith("hubbard_v("):
            hint = "use Hubbard U, whose parameters belong to species"
            raise BadData(
                f"{inputs.at(path, 'hubbard_v')}: {key} refers to atom numbers, which differ between frames", hint
            )
    for number, line in cards.get("HUBBARD", [])[1:]:
        if line.split()[0].upper() == "V":
            raise BadData(f"{path}:{number}: {line} refers to atom numbers, which differ between frames", "use U")
    if forces := cards.get("ATOMIC_FORCES"):
        hint = "remove ATOMIC_FORCES"
        raise BadData(f"{path}:{forces[0][0]}: forces on the template's own atoms are not part of a method", hint)
    _check_points(path, cards.get("K_POINTS", []))


def _check_points(path: Path, rows: list[tuple[int, str]]) -> None:
    """Raise BadData for k-points that belong to the template's own cell, and for lines that are none."""
    if not rows:
        return
    (number, line), *points = rows
    option = re.sub(r"[{}()\s]", " ", line.lower()).replace("k_points", "", 1).strip() or "tpiba"
    if re.fullmatch(r"(?:tpiba|crystal)_[bc]", option):
        raise BadData(f"{path}:{number}: K_POINTS {option} is a band path", "use a grid with K_POINTS automatic")
    if option in ("tpiba", "crystal"):
        count = points[0][1].split()[0] if points else ""
        lines = 1 + int(count) if count.isdigit() else len(points)
        if option == "tpiba" and any(_is_off_gamma(row) for _, row in points[1:lines]):
            hint = "use K_POINTS automatic (a grid) or K_POINTS crystal (a list), which suit every cell"
            raise BadData(f"{path}:{number}: K_POINTS tpiba lists points in units of the template's own cell", hint)
    else:
        lines = {"gamma": 0, "automatic": 1}.get(option, len(points))
    for extra, row in points[lines:]:
        raise BadData(f"{path}:{extra}: {row} is neither part of K_POINTS {option} nor a card", EXAMPLE)


def _is_off_gamma(row: str) -> bool:
    try:
        return any(float(re.sub("[dD]", "e", word)) for word in row.split()[:3])
    except ValueError:
        return False  # pw.x says what is wrong with it


def _parts(path: Path, text: str) -> tuple[dict[str, dict[str, str]], dict[str, list[tuple[int, str]]]]:
    """Each namelist's keys (in lower case) and values, and each card's lines with their numbers."""
    namelists: dict[str, dict[str, str]] = {}
    cards: dict[str, list[tuple[int, str]]] = {}
    name = card = ""
    opened = 1
    for number, raw in enumerate(text.splitlines(), 1):
        line = _without_comment(raw).strip()
        word = line.split()[0] if line else ""
        if not name and word.startswith("&"):
            name, opened = word[1:].lower(), number
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
        raise BadData(f"{path}:{opened}: the namelist &{name.upper()} is never closed", "end it with a line: /")
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
        raise BadData(f"{path}: there are no ATOMIC_SPECIES", "add a line for each element: H 1.008 H.UPF")
    species: dict[str, list[str]] = {}
    for number, line in rows[1:]:
        words = line.split()
        if len(words) != 3:
            raise BadData(f"{path}:{number}: {line} is not a species", "as in: H 1.008 H.UPF")
        if not inputs.element(words[0]):
            hint = "a label starts with its element, as in Fe, Fe1 or Fe_up"
            raise BadData(f"{path}:{number}: {words[0]} does not start with an element", hint)
        if words[0] in species:
            raise BadData(f"{path}:{number}: {words[0]} occurs twice", "name two species of an element Fe1 and Fe2")
        species[words[0]] = words
    return list(species.values()), {words[2]: number for number, words in ((n, x.split()) for n, x in rows[1:])}


def build(frame: Frame, settings: Settings) -> str:
    """The input of one frame, whose cell is there. Raises ValueError if its atoms are not those of the template."""
    namelists = {name: dict(keys) for name, keys in settings["namelists"].items()}
    control = {"calculation": "'scf'", "prefix": f"'{PREFIX}'", "outdir": "'.'", "pseudo_dir": "'.'"}
    control |= {"disk_io": "'low'", "tprnfor": ".true.", "tstress": ".true."}
    namelists["control"] = {**control, **namelists["control"]}
    labels = of_atoms(frame["symbols"], settings)
    sizes = {"ibrav": "0", "nat": str(len(labels)), "ntyp": str(len(settings["species"]))}
    namelists["system"] = {**sizes, **namelists["system"], **_electrons(frame, namelists["system"])}
    parts = [
        f"&{name.upper()}\n" + "".join(f"  {key} = {value}\n" for key, value in keys.items()) + "/"
        for name, keys in namelists.items()
    ]
    rows = [" ".join(species) for species in settings["species"]]
    atoms = [f"{label} {_numbers(row)}" for label, row in zip(labels, frame["positions"], strict=True)]
    parts += ["ATOMIC_SPECIES", *rows, *settings["cards"].values(), "CELL_PARAMETERS bohr"]
    parts += [*map(_numbers, frame["cell"] or ()), "ATOMIC_POSITIONS bohr", *atoms]
    return "\n".join(parts) + "\n"


def of_atoms(symbols: list[str], settings: Settings) -> list[str]:
    """The species of each atom. Raises ValueError if the template's own atoms should say, and are others."""
    kinds = [label for label, _, _ in settings["species"]]
    return inputs.labelled(symbols, kinds, settings.get("atoms", []), "ATOMIC_POSITIONS")


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
