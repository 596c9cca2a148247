"""Which sections and run types a template may have, so that the printed energy and forces are those of the frame.

Every section at the places below is listed: it belongs to the method, it is left out because the frame or psiflow
decides it (`method.CONTROLLED`), or it is refused. A section that is listed nowhere may change what the energy means,
so it is refused as well. The lists cover CP2K 5.1 to 2026.2; a test compares them with the installed CP2K.
"""

from __future__ import annotations

from collections.abc import Container

from psiflow_cli.errors import BadData, nearest
from psiflow_cli.references.cp2k.template import Keyword, Section

METHOD = {
    "": "GLOBAL FORCE_EVAL",
    "GLOBAL": "DBCSR FM FM_DIAG_SETTINGS GRID PRINT_ELPA",
    "FORCE_EVAL": "DFT SUBSYS PROPERTIES EXTERNAL_POTENTIAL MM NNP EIP PW_DFT",
    "FORCE_EVAL/DFT": "ALMO_SCF AUXILIARY_DENSITY_MATRIX_METHOD DENSITY_FITTING EFIELD ENERGY_CORRECTION "
    "EXTERNAL_POTENTIAL KG_METHOD KPOINTS KPOINT_SET LOCALIZE LOW_SPIN_ROKS LS_SCF MGRID PERIODIC_EFIELD "
    "PLANAR_AVERAGED_V_HARTREE PLANAR_COUNTER_CHARGE POISSON QS RELATIVISTIC SCCS SCF SCRF SIC XC",
    "FORCE_EVAL/DFT/QS": "CDFT DDAPC_RESTRAINT DFTB DISTRIBUTION LRIGPW MULLIKEN_RESTRAINT S2_RESTRAINT SE XTB",
    "FORCE_EVAL/DFT/SCF": "DIAGONALIZATION MIXING MOM OT OUTER_SCF SMEAR",
    "FORCE_EVAL/DFT/XC": "ADIABATIC_RESCALING GCP_POTENTIAL HF HFX_KERNEL VDW_POTENTIAL WF_CORRELATION XC_FUNCTIONAL "
    "XC_GRID XC_KERNEL",
    "FORCE_EVAL/PROPERTIES": "ATOMIC FIT_CHARGE RESP",
    "FORCE_EVAL/SUBSYS": "CELL KIND MULTIPOLES",
}
"""Sections that stay. Those of other methods than Quickstep (&MM, &NNP, …) are ignored by CP2K too."""
CONTROLLED = {
    "": "MOTION VIBRATIONAL_ANALYSIS EXT_RESTART DEBUG TEST ATOM FARMING NEGF OPTIMIZE_BASIS OPTIMIZE_INPUT SWARM",
    "GLOBAL": "RUN_TYPE PROJECT PROJECT_NAME PRINT_LEVEL IOLEVEL PROGRAM PROGRAM_NAME WALLTIME WALLTI ECHO_INPUT "
    "ECHO_ALL_HOSTS OUTPUT_FILE_NAME CALLGRAPH CALLGRAPH_FILE_NAME TRACE TRACE_MASTER TRACE_MAX TRACE_ROUTINES "
    "PRINT TIMINGS REFERENCES PROGRAM_RUN_INFO",
    "FORCE_EVAL": "PRINT RESCALE_FORCES",
    "FORCE_EVAL/DFT": "WFN_RESTART_FILE_NAME RESTART_FILE_NAME",
    "FORCE_EVAL/DFT/LS_SCF": "RESTART_READ RESTART_WRITE",
    "FORCE_EVAL/SUBSYS": "COORD VELOCITY TOPOLOGY SHELL_COORD SHELL_VELOCITY CORE_COORD CORE_VELOCITY COLVAR PRINT "
    "RNG_INIT SEED",
    "FORCE_EVAL/SUBSYS/CELL": "A B C ABC ALPHA_BETA_GAMMA ANGLES CELL_FILE_NAME CELL_FILE_FORMAT PERIODIC "
    "MULTIPLE_UNIT_CELL SYMMETRY CANONICALIZE",
}
"""What comes from the frame or from psiflow, by section; &CELL_REF stays, as it belongs to the method."""
_EXCITED = "it computes excited states, but a label is the energy of the ground state"
_SEVERAL = "it combines several energies, but a label is one energy"
_RESPONSE = "it computes a response or a spectrum, which is not a label"
_CORE_HOLE = "the printed energy is then that of a core hole"
_FITS = "it changes the method from frame to frame"
_CURRENT = "it computes a system between electrodes, whose energy is not a label"
_POTENTIAL = "it adds a potential without an energy, so energy and forces are inconsistent"
_PARTITION = "it computes part of a system, but a label is the energy of the entire system"
_NO_FORCES = "CP2K has no forces consistent with its energy"
REFUSED = {
    "MULTIPLE_FORCE_EVALS": _SEVERAL,
    "FORCE_EVAL/BSSE": _SEVERAL,
    "FORCE_EVAL/EMBED": _SEVERAL,
    "FORCE_EVAL/MIXED": _SEVERAL,
    "FORCE_EVAL/QMMM": "it computes some of the atoms with another method",
    "FORCE_EVAL/DFT/ACTIVE_SPACE": _NO_FORCES,
    "FORCE_EVAL/DFT/EXCITED_STATES": _EXCITED,
    "FORCE_EVAL/DFT/EXTERNAL_DENSITY": _POTENTIAL,
    "FORCE_EVAL/DFT/EXTERNAL_VXC": _POTENTIAL,
    "FORCE_EVAL/DFT/HAIRY_PROBES": _CURRENT,
    "FORCE_EVAL/DFT/HARRIS_METHOD": "its density is not converged",
    "FORCE_EVAL/DFT/REAL_TIME_PROPAGATION": "it propagates electrons in time, and changes what &EFIELD means",
    "FORCE_EVAL/DFT/SMEAGOL": _CURRENT,
    "FORCE_EVAL/DFT/TDDFPT": _EXCITED,
    "FORCE_EVAL/DFT/TRANSPORT": _CURRENT,
    "FORCE_EVAL/DFT/XAS": _CORE_HOLE,
    "FORCE_EVAL/DFT/XAS_TDP": _RESPONSE,
    "FORCE_EVAL/DFT/QS/OPTIMIZE_LRI_BASIS": _FITS,
    "FORCE_EVAL/DFT/QS/OPT_DMFET": _PARTITION,
    "FORCE_EVAL/DFT/QS/OPT_EMBED": _PARTITION,
    "FORCE_EVAL/DFT/SCF/GCE": "its number of electrons changes from frame to frame",
    "FORCE_EVAL/DFT/XC/XC_POTENTIAL": _POTENTIAL,
    "FORCE_EVAL/PROPERTIES/BANDSTRUCTURE": _RESPONSE,
    "FORCE_EVAL/PROPERTIES/ET_COUPLING": "the printed energy is then that of a charge-transfer state",
    "FORCE_EVAL/PROPERTIES/KUBO_TRANSPORT": _RESPONSE,
    "FORCE_EVAL/PROPERTIES/LINRES": _RESPONSE,
    "FORCE_EVAL/PROPERTIES/RIXS": _RESPONSE,
    "FORCE_EVAL/PROPERTIES/TDDFPT": _EXCITED,
    "FORCE_EVAL/PROPERTIES/TIP_SCAN": _RESPONSE,
}
"""Sections that change what a label means, or cost time for nothing that a label has; with the reason."""
OFF = ("F", "FALSE", "N", "NO", "OFF", "0")
RUN_TYPES = (
    *("NONE", "ENERGY", "ENERGY_FORCE", "WFN_OPT", "WAVEFUNCTION_OPTIMIZATION", "MD", "MOLECULAR_DYNAMICS", "GEO_OPT"),
    *("GEOMETRY_OPTIMIZATION", "CELL_OPT", "MC", "MONTECARLO", "PINT", "BAND", "VIBRATIONAL_ANALYSIS", "NORMAL_MODES"),
    *("DRIVER", "DEBUG"),
)
"""Those that move atoms on the surface that a single point computes, and so have the same energy."""
WORDS: tuple[tuple[str, tuple[str, ...], Container[str], str], ...] = (
    ("GLOBAL", ("RUN_TYPE",), RUN_TYPES, "its energy is not that of a single point"),
    ("GLOBAL", ("PROGRAM_NAME", "PROGRAM"), ("CP2K",), "it starts a program other than CP2K"),
    ("FORCE_EVAL", ("METHOD",), ("QS", "QUICKSTEP"), "only METHOD QS (Quickstep) can label frames"),
    ("FORCE_EVAL/DFT", ("EXCITATIONS",), ("NONE",), _EXCITED),
    ("FORCE_EVAL/DFT/QS", ("TRANSPORT",), OFF, _CURRENT),
    ("FORCE_EVAL/DFT/QS", ("REF_EMBED_SUBSYS",), OFF, _PARTITION),
    ("FORCE_EVAL/DFT/QS", ("CLUSTER_EMBED_SUBSYS",), OFF, _PARTITION),
    ("FORCE_EVAL/DFT/QS", ("HIGH_LEVEL_EMBED_SUBSYS",), OFF, _PARTITION),
    ("FORCE_EVAL/DFT/QS", ("DFET_EMBEDDED",), OFF, _PARTITION),
    ("FORCE_EVAL/DFT/QS", ("DMFET_EMBEDDED",), OFF, _PARTITION),
)
"""Keywords that do the same: where, names, the only words that are allowed, and the reason."""


def check(root: Section) -> None:
    """Raise BadData for the first section or keyword that changes what a label means, or that nobody knows."""
    for path, names, allowed, reason in WORDS:
        section = root.find(path)
        for item in section.items if section else []:
            if isinstance(item, Keyword) and item.name in names and item.word.strip(".").upper() not in allowed:
                text = f"{item.name} {item.value}".rstrip()
                raise item.line.error(f"{text} in &{_last(path)}: {reason}", f"remove {item.name}")
    scf = root.find("FORCE_EVAL/DFT/SCF")
    for mom in scf.sections("MOM") if scf and scf.word("SCF_GUESS") == "RESTART" else []:
        reason = "with SCF_GUESS RESTART it occupies the orbitals of another wavefunction, not those of the frame"
        raise mom.line.error(f"&MOM in &SCF: {reason}", "use SCF_GUESS ATOMIC, or remove the section")
    for path in METHOD:
        for section in _all(root, path):
            for below in section.sections():
                _check(below, path)


def _check(section: Section, path: str) -> None:
    own = f"{path}/{section.name}".lstrip("/")
    where = f" in &{_last(path)}" if path else ""
    if own in REFUSED and section.parameter.strip(".").upper() not in OFF:
        raise section.line.error(f"&{section.name}{where}: {REFUSED[own]}", "remove the section")
    known = [*METHOD[path].split(), *CONTROLLED.get(path, "").split(), "PRINT"]
    if own not in REFUSED and section.name not in known:
        raise _unknown(section, where, known)


def _unknown(section: Section, where: str, known: list[str]) -> BadData:
    hint = nearest(section.name, known)
    hint = hint if "did you mean" in hint else "remove the section, if the energy does not depend on it"
    return section.line.error(f"unknown section &{section.name}{where}: it may change what the energy means", hint)


def _all(root: Section, path: str) -> list[Section]:
    """Every section at a path, as CP2K reads repeated ones too."""
    selected = [root]
    for name in path.split("/") if path else []:
        selected = [below for section in selected for below in section.sections(name)]
    return selected


def _last(path: str) -> str:
    return path.rsplit("/", 1)[-1]
