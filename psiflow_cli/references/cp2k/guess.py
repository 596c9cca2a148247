"""Where a frame's SCF begins: always afresh, unless the template asks for the wavefunction that was there before."""

from __future__ import annotations

from typing import TYPE_CHECKING

from psiflow_cli.references.cp2k import template
from psiflow_cli.references.cp2k.single_point import UKS

if TYPE_CHECKING:
    from psiflow_cli.messages import Frame


def group(frame: Frame, text: str, reuse_uks: bool) -> str:
    """A name that frames share if one may begin with the wavefunction of another; empty: none may.

    `text` is the frame's input. Those that share a name have the same atoms in the same order, periodicity, charge and
    multiplicity. An unrestricted wavefunction may be of another spin state than its neighbour's ground state, so it is
    used again only where `reuse_uks` says so.
    """
    dft = template.only(template.parse(text, "input"), "FORCE_EVAL").ensure("DFT")
    if dft.ensure("SCF").word("SCF_GUESS") != "RESTART" or (dft.flag(*UKS) and not reuse_uks):
        return ""
    return repr([frame["symbols"], frame.get("pbc"), frame.get("charge"), frame.get("multiplicity")])
