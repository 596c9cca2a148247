"""A sum as LAMMPS computes it: an input to include, of hybrid/overlay or hybrid/scaled, and a file for each model."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import TYPE_CHECKING, cast

from psiflow_cli.errors import USAGE
from psiflow_cli.potentials.sum import terms
from psiflow_cli.worker.failures import Fatal
from psiflow_cli.worker.models import calculators
from psiflow_cli.worker.pool import call

if TYPE_CHECKING:
    from psiflow_cli.messages import Context

_STYLES = {"mace": "mace no_domain_decomposition", "nequip": "nequip", "allegro": "allegro"}
"""Of the models of each family, with their arguments."""
_DAMPING = {"d3bj": "bj", "d3zero": "original", "d3mbj": "bjm", "d3mzero": "zerom"}
"""What LAMMPS calls the damping functions of D3."""
_CUTOFFS = "31.7506 21.1671"
"""Å: 60 and 40 bohr, those of s-dftd3 for energies and for coordination numbers."""
_INPUT = """# {what}
#
#     variable elements string "O H"        # of your atom types 1, 2, ...
#     variable place string FOLDER          # where this file is, as seen from where LAMMPS runs
#     include FOLDER/potential.in           # after the atoms are there
#
# The input needs: units metal, newton {newton}, atom_style atomic, atom_modify map yes.
variable place index .
pair_style {style}
{lines}
"""


def export(member: str, folder: Path, context: Context) -> Path:
    """The folder with `potential.in`, made in `folder`. Raises Fatal for a term that LAMMPS does not have."""
    of_member = terms.read(member, context)
    place = folder / "lammps"
    place.mkdir()
    styles = [_style(term) for term in of_member]
    names = [style.split()[0] for style in styles]
    lines = []
    for number, (term, name) in enumerate(zip(of_member, names, strict=True)):
        which = f" {names[: number + 1].count(name)}" if names.count(name) > 1 else ""
        file = f" ${{place}}/{_model(term, number, place)}" if "member" in term.entry else ""
        lines.append(f"pair_coeff * * {name}{which}{file} ${{elements}}")
    if "dispersion/d3" in names:
        lines.insert(0, "neigh_modify one 40000 page 400000     # dispersion reaches far")
    if all(term.factor == 1 for term in of_member):
        style = "hybrid/overlay " + " ".join(styles)
    else:
        style = "hybrid/scaled " + " ".join(f"{t.factor:.17g} {s}" for t, s in zip(of_member, styles, strict=True))
    what = " ".join(f"{term.factor:+g}*{term.what}" for term in of_member)
    newton = "off" if "nequip" in names else "on"  # dispersion/d3 takes both
    text = _INPUT.format(what=what, newton=newton, style=style, lines="\n".join(lines))
    (place / "potential.in").write_text(text, encoding="utf-8")
    return place


def _style(term: terms.Term) -> str:
    """The pair style of a term, with its arguments. Raises Fatal where there is none."""
    if "member" in term.entry:
        if style := _STYLES.get(term.entry["family"]):
            return style
        reason = f"psiflow cannot export models of the family {term.entry['family']} to LAMMPS"
    elif term.entry["reference"] == "dftd":
        settings = term.entry["settings"]
        damping = _DAMPING.get(str(settings["version"]))
        if damping and not settings["atm"]:
            return f"dispersion/d3 {damping} {str(settings['xc']).lower()} {_CUTOFFS}"
        reason = f"dispersion/d3 of LAMMPS has {', '.join(_DAMPING)} without three-body terms"
    else:
        reason = f"LAMMPS has no pair style for the reference {term.entry['reference']}"
    raise Fatal(f"{term.what}: {reason}", "psiflow evaluate and label compute the sum", USAGE)


def _model(term: terms.Term, number: int, place: Path) -> str:
    """The file of a model, in `place`."""
    module = calculators.module(term.entry["family"])
    make = call.resolve(f"{module}:export")
    form = next(iter(cast("dict[str, dict[str, str]]", call.resolve(f"{module}:EXPORTS"))["lammps"]))
    work = place.parent / f"term-{number}-made"
    work.mkdir()
    path = make(members=[term.weights], target="lammps", form=form, folder=str(work), context=term.context)
    exported = Path(cast("str", path))
    name = f"term-{number}-{exported.name}"
    shutil.move(str(exported), place / name)
    return name
