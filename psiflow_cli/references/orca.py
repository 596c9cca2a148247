"""ORCA: an input without coordinates in, energies and forces of molecules out.

The numbers are read from the `.engrad` file, in atomic units, and converted once with ASE's constants. ORCA starts its
own processes, so it is given the number of ranks and runs behind no launcher.
"""

from __future__ import annotations

import re
import shutil
from pathlib import Path
from typing import TYPE_CHECKING, TypedDict

from psiflow_cli import inputs
from psiflow_cli.errors import BadData, UsageError
from psiflow_cli.worker.failures import failure
from psiflow_cli.worker.process import launcher, single_run
from psiflow_cli.worker.process.single_run import Program, Ran
from psiflow_cli.worker.structures import labels, validity

if TYPE_CHECKING:
    from psiflow_cli.messages import Context, Frame, LabelResult

SUMMARY = "density functional theory and correlated methods of molecules with ORCA"
REQUIRES = ("ase",)
FRAME_INPUTS = ("charge", "multiplicity")
DEFAULT_TASK_SECONDS = 0.0

PROGRAM = Program(
    name="ORCA",
    executable="orca",
    started=re.compile(r"\* O +R +C +A \*|Program Version"),
    bad_input=re.compile(
        r"UNRECOGNIZED OR DUPLICATED KEYWORD.*(?:\n.*)?|INPUT ERROR.*|Unknown identifier.*|INVALID .*KEYWORD.*"
    ),
    bad_frame=re.compile(r"multiplicity .* impossible.*"),
    unconverged=re.compile(r"SCF NOT CONVERGED|wavefunction IS NOT CONVERGED|Wavefunction not fully converged", re.I),
    ended=re.compile(r"ORCA TERMINATED NORMALLY"),
    last_words=re.compile(r"(?mi)^.*(?:error termination|\berror\b).*$"),
)
_VERSION = re.compile(r"Program Version +(\S+)")
_INPUT, _NUMBERS = "psiflow.inp", "psiflow.engrad"
_JOB = re.compile(
    r"sp|engrad|(?:very)?(?:loose|normal|tight|crude)?[clz]?-?opt(?:h|ts)?|(?:gdiis|crystal)-opt\w*|(?:num|an)?freq|md|"
    r"(?:zoom-)?neb(?:-\w+)*|irc|goat(?:-\w+)?|scants|vpt2|pal\d+|bohrs",
    re.I,
)
_DROPPED_BLOCKS = ("pal", "geom", "md", "freq", "neb", "irc", "goat", "vpt2", "base")
_REFUSED_BLOCKS = {
    "coords": "write the atoms as * xyz CHARGE MULTIPLICITY",
    "pointcharges": "point charges are placed relative to the template's own atoms: remove them",
    "qmmm": "it refers to atom numbers, which differ between frames",
    "frag": "it refers to atom numbers, which differ between frames",
    "compound": "a template has only one calculation",
    **dict.fromkeys(("cis", "tddft", "rocis", "mrci", "mdci_es"), "labels belong to the ground state: remove it"),
}
_INNER = ("newgto", "newecp", "newaux", "constraints", "scan", "modify_internal", "potentials")
"""Parts of blocks that have an end of their own."""
_NUMBERED = re.compile(r"(?i)(?:^|\s)(flipspin|newnucleus|fragments?)(?:\s|$)")


class Settings(TypedDict):
    """A template without coordinates and job, and the charge and multiplicity that it states."""

    template: str
    charge: int
    multiplicity: int


def settings(input_file: Path | None, options: dict[str, str]) -> Settings:
    inputs.check_options("orca", options)
    return _read(str(input_file), inputs.text(input_file, "orca", "orca.inp"))[0]


def replaced(input_file: Path) -> list[str]:
    return _read(str(input_file), inputs.text(input_file, "orca", "orca.inp"))[1]


def _read(source: str, text: str) -> tuple[Settings, list[str]]:
    lines: list[str] = []
    dropped: list[str] = []
    state = [0, 1]
    closing, opened, is_kept, inner = "", 0, True, 0
    for number, raw in enumerate(text.splitlines(), 1):
        line = raw.partition("#")[0].strip()
        words = line.lower().split()
        if not words:
            continue
        if closing:
            _check_atoms(f"{source}:{number}", line, closing == "*", is_kept)
            lines += [line] if is_kept else []
            inner += words[0].startswith(_INNER)
            if words[-1] == closing:
                closing, inner = (closing, inner - 1) if inner else ("", 0)
        elif line.startswith("!"):
            jobs = [word for word in line[1:].split() if _JOB.fullmatch(word)]
            dropped += jobs
            lines.append("! " + " ".join(word for word in line[1:].split() if word not in jobs))
        elif line.startswith("*"):
            state = _state(f"{source}:{number}", words)
            dropped += ["coordinates"]
            closing, opened, is_kept = ("" if "file" in line.lower() else "*"), number, False
        elif line.startswith("%"):
            name = words[0][1:]
            if name in _REFUSED_BLOCKS:
                raise BadData(f"{source}:{number}: %{name} cannot be used here", _REFUSED_BLOCKS[name])
            _check_atoms(f"{source}:{number}", line, False, name not in _DROPPED_BLOCKS)
            is_kept = name not in _DROPPED_BLOCKS
            dropped += [] if is_kept else [f"%{name}"]
            lines += [line] if is_kept else []
            alone = words[-1] == "end" or (len(words) > 1 and name in ("maxcore", "base", "moinp"))
            closing, opened = ("" if alone else "end"), number
        else:
            problem = f"{source}:{number}: {line.split()[0]} is not part of an ORCA input"
            raise BadData(problem, "an ORCA input has !, % and * lines")
    if closing:
        raise BadData(f"{source}:{opened}: the block that starts here is never closed", f"end it with {closing}")
    if not any(line.startswith("!") for line in lines):
        raise BadData(f"{source}:1: no keyword line", "as in: ! PBE def2-SVP")
    return {"template": "\n".join(lines) + "\n", "charge": state[0], "multiplicity": state[1]}, dropped


def _check_atoms(where: str, line: str, coordinates: bool, counts: bool) -> None:
    """Raise BadData for what a line says of single atoms of the template, which a frame need not have."""
    if coordinates:
        label, *rest = line.split()
        if label != "*" and (not re.fullmatch(r"[A-Za-z]{1,2}|DA", label) or label.upper() == "Q"):
            hint = "a frame has only plain atoms: remove ghosts, point charges, fragments and numbers"
            raise BadData(f"{where}: {label} is not just an element", hint)
        if own := re.search(r"(?i)\b(newgto|newecp|newaux\w*|z *=)", " ".join(rest)):
            raise BadData(f"{where}: {own[1]} is for one atom of the template", "give its element a basis in %basis")
    elif counts and (numbered := _NUMBERED.search(line)):
        raise BadData(f"{where}: {numbered[1]} refers to atom numbers, which differ between frames", "leave it out")


def _state(where: str, words: list[str]) -> list[int]:
    """Charge and multiplicity of `* xyz 0 1`."""
    numbers = [w for w in words[1 if len(words[0]) > 1 else 2 :][:2] if re.fullmatch(r"[+-]?\d+", w)]
    if len(numbers) != 2:
        raise BadData(f"{where}: no charge and multiplicity", "as in: * xyz 0 1")
    return [int(number) for number in numbers]


def check(settings: Settings, elements: set[str]) -> None:
    """Raise BadData for what is no element; which ones a basis has, only ORCA knows."""
    for element in validity.beyond(elements, "Pu"):
        raise BadData(f"ORCA has no {element}", "its basis sets reach plutonium at most")


def render(frame: Frame, settings: Settings, ranks: int = 1) -> str:
    atoms = [
        f"{symbol} " + " ".join(repr(float(x)) for x in row)
        for symbol, row in zip(frame["symbols"], frame["positions"], strict=True)
    ]
    charge, multiplicity = _electrons(frame, settings)
    parallel = [f"%pal nprocs {ranks} end"] if ranks > 1 else []
    head = [settings["template"].rstrip(), "! EnGrad NoAutoStart", *parallel, f"* xyz {charge} {multiplicity}"]
    return "\n".join([*head, *atoms, "*", ""])


def _electrons(frame: Frame, settings: Settings) -> tuple[int, int]:
    """Charge and multiplicity: the frame's, or those of the template."""
    charge, multiplicity = frame.get("charge"), frame.get("multiplicity")
    return (
        settings["charge"] if charge is None else charge,
        settings["multiplicity"] if multiplicity is None else multiplicity,
    )


def label(frames: list[Frame], settings: Settings, context: Context) -> list[LabelResult]:
    return [_label(frame, settings, context) for frame in frames]


def changed(settings: Settings, changes: dict[str, str]) -> Settings:
    """The settings with keywords of blocks set, such as `scf/maxiter=500`, after the template's."""
    added = ""
    for path, value in changes.items():
        block, _, name = path.lower().partition("/")
        if not name or block in _DROPPED_BLOCKS:
            raise UsageError(f"{path!r} cannot be changed", "write BLOCK/KEYWORD=VALUE, as in scf/maxiter=500")
        added += f"%{block}\n{name} {value}\nend\n"
    return {**settings, "template": settings["template"] + added}


def isolated(settings: Settings) -> Settings:
    """The settings for single atoms: neutral, unrestricted, without dispersion."""
    words = re.compile(r"(?i)(?<!\S)(?:D2|D3|D3BJ|D3ZERO|D4|NL|UKS|UHF|RKS|RHF)(?!\S)")
    lines = [words.sub("", x) if x.startswith("!") else x for x in settings["template"].splitlines()]
    hartree_fock = any(re.search(r"(?i)(?<!\S)HF(?!\S)", x) for x in lines if x.startswith("!"))
    lines.append("! UHF" if hartree_fock else "! UKS")
    return {**settings, "template": "\n".join(" ".join(x.split()) for x in lines) + "\n", "charge": 0}


def code(context: Context) -> str:
    return single_run.version(PROGRAM, [_INPUT], {_INPUT: "! HF STO-3G\n* xyz 0 1\nHe 0 0 0\n*\n"}, context, _VERSION)


def _label(frame: Frame, settings: Settings, context: Context) -> LabelResult:
    charge, multiplicity = _electrons(frame, settings)
    complete: Frame = {**frame, "charge": charge, "multiplicity": multiplicity}
    reason = validity.invalid(frame) or validity.not_a_molecule(complete, "ORCA")
    if reason:
        return failure("invalid-input", reason)
    text = render(frame, settings, context.get("ranks") or 1)
    executable = context.get("executable") or PROGRAM.executable
    # with more than one rank ORCA must be called by its whole path
    path = shutil.which(executable, path=launcher.environment(context).get("PATH")) or executable
    alone: Context = {**context, "launch": "", "ranks": 1, "executable": path}
    ran = single_run.run(PROGRAM, [_INPUT], {_INPUT: text}, alone, (_NUMBERS,))
    return single_run.label(PROGRAM, ran, frame, text, context, _converted)


def _converted(frame: Frame, ran: Ran) -> LabelResult:
    """A label from the numbers of the .engrad file, which stand in the order: atoms, energy, gradient, …"""
    from ase.units import Bohr, Hartree

    numbers = [x for x in ran.files.get(_NUMBERS, "").splitlines() if x.strip() and not x.strip().startswith("#")]
    count = len(frame["symbols"])
    if len(numbers) < 2 + 3 * count or numbers[0].split() != [str(count)]:
        return failure("inconsistent", "ORCA wrote no gradient of these atoms")
    energy, gradient = float(numbers[1]), [float(x) for x in numbers[2 : 2 + 3 * count]]
    forces = [[-x * Hartree / Bohr for x in gradient[i : i + 3]] for i in range(0, 3 * count, 3)]
    return labels.label(frame, energy * Hartree, forces, None, f"ORCA {single_run.first(_VERSION, ran.log)}")
