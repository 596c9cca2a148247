"""What CP2K logs say, of this version and of newer ones. No CP2K needed."""

from __future__ import annotations

import pytest

from psiflow_cli.references.cp2k import output

OLD = """\
 CP2K| version string:                                       CP2K version 2023.1
 [a.u.] -> [Pa]                                             2.94210107994716E+13
  *** SCF run converged in     9 steps ***
 ENERGY| Total FORCE_EVAL ( QS ) energy [a.u.]:              -17.086522827401822

 ATOMIC FORCES in [a.u.]

 # Atom   Kind   Element          X                    Y                    Z
      1      1      O           0.01237372757358    -0.00778677408773    -0.16180270729674
      2      2      H           0.09851934080758     0.00007244055264     0.05947253465228
 SUM OF ATOMIC FORCES          -0.00222628571986     0.00341226269062    -0.03620102299573     0.03642957522006

 STRESS| Analytical stress tensor [GPa]
 STRESS|                        x                   y                   z
 STRESS|      x        1.01933101242E+01  -3.56923153013E-01  -1.90273084558E-01
 STRESS|      y       -3.56923153013E-01  -2.21270083937E-01   2.30081027227E-01
 STRESS|      z       -1.90273084558E-01   2.30081027227E-01   4.53476963989E+00
 STRESS| 1/3 Trace                                             4.83560322672E+00
  **** **** ******  **  PROGRAM ENDED AT                 2026-11-22 23:24:48.874
"""
NEW = """\
 CP2K| version string:                                       CP2K version 2025.2
 [a.u.] -> [Pa]                                             2.94210107994716E+13
  *** SCF run converged in     9 steps ***
 ENERGY| Total FORCE_EVAL ( QS ) energy [hartree]            -17.086522827401822

 FORCES| Atomic forces [hartree/bohr]
 FORCES|   Atom     x                     y                     z                     |f|
 FORCES|      1  1.2373727573580E-02 -7.7867740877300E-03 -1.6180270729674E-01  1.6246191000000E-01
 FORCES|      2  9.8519340807580E-02  7.2440552640000E-05  5.9472534652280E-02  1.1507742000000E-01
 FORCES| Sum    -2.2262857198600E-03  3.4122626906200E-03 -3.6201022995730E-02  3.6429575220060E-02

 STRESS| Analytical stress tensor [bar]
 STRESS|                        x                   y                   z
 STRESS|      x        1.01933101242E+05  -3.56923153013E+03  -1.90273084558E+03
 STRESS|      y       -3.56923153013E+03  -2.21270083937E+03   2.30081027227E+03
 STRESS|      z       -1.90273084558E+03   2.30081027227E+03   4.53476963989E+04
  **** **** ******  **  PROGRAM ENDED AT                 2026-11-22 23:24:48.874
"""


def box(*rows: str, place: str = "qs_scf.F:702") -> str:
    """An abort as CP2K frames it."""
    art = ["  ___", " /   \\", "[ABORT]", " \\___/", "   |", " O/|", "/| |", "/ \\"]
    texts = dict(zip((2, 3, 4), rows, strict=False)) | {7: place}
    lines = [f" * {left:<9}{texts.get(k, ''):<66} *" for k, left in enumerate(art)]
    return "\n".join([" " + "*" * 79, *lines, " " + "*" * 79, ""])


@pytest.mark.parametrize(("log", "version"), [(OLD, "2023.1"), (NEW, "2025.2")])
def test_both_layouts(log: str, version: str) -> None:
    assert output.version(log) == version
    assert output.failed(log, 0) is None
    found = output.results(log, 2, True)
    assert found.energy == -17.086522827401822
    assert found.forces[0] == [0.01237372757358, -0.00778677408773, -0.16180270729674]
    assert found.stress is not None
    assert found.stress[0][0] * 29421.0107994716 == pytest.approx(10.1933101242, rel=1e-12)
    assert found.stress[1][2] * 29421.0107994716 == pytest.approx(0.230081027227, rel=1e-12)


LAYOUTS = {
    # what changed, and when: 2024.1 ends a run whose SCF does not converge; 2025.1 prints units and tags
    "2023.2": OLD.replace("2023.1", "2023.2"),
    "2024.1": OLD.replace("2023.1", "2024.1"),
    "2024.3": OLD.replace("2023.1", "2024.3").replace("[a.u.]:              -17", "[a.u.]:               -17"),
    "2025.1": NEW.replace("2025.2", "2025.1"),
    "2026.1": NEW.replace("2025.2", "2026.1"),
}


@pytest.mark.parametrize("version", LAYOUTS)
def test_layouts_of_other_versions(version: str) -> None:
    """They say the same as 2023.1's, number by number."""
    assert output.version(LAYOUTS[version]) == version
    assert output.failed(LAYOUTS[version], 0) is None
    here, there = (output.results(log, 2, True) for log in (OLD, LAYOUTS[version]))
    assert there.energy == here.energy
    assert there.forces == here.forces
    assert here.stress is not None
    assert there.stress is not None
    for a, b in zip(here.stress, there.stress, strict=True):
        assert a == pytest.approx(b, rel=1e-12)


@pytest.mark.parametrize(
    ("there", "instead", "message"),
    [
        ("[hartree]  ", "[eV]  ", "no energy"),
        ("energy [hartree]", "energy [kcalmol]", "no energy"),
        ("[hartree/bohr]", "[eV/angstrom]", "no forces in atomic units"),
        ("[bar]", "[kbar]", "the stress in the log, in kbar, cannot be read"),
        ("[bar]", "[atm]", "in atm"),
        ("FORCES|      2 ", "FORCES|      3 ", "1 force for 2 atoms"),
        ("FORCES|      1 ", "FORCES|      O ", "0 forces|1 force"),
        ("E-02 -7.7867740877300E-03", "E-02-7.7867740877300E-03", "1 force|0 forces"),
        ("STRESS|      y ", "STRESS|      x ", "cannot be read"),
        ("-3.56923153013E+03  -1.90273084558E+03", "-3.56923153013E+03", "cannot be read"),
    ],
)
def test_a_layout_that_nobody_knows_gives_no_number(there: str, instead: str, message: str) -> None:
    assert there in NEW
    with pytest.raises(output.Unreadable, match=message):
        output.results(NEW.replace(there, instead, 1), 2, True)


@pytest.mark.parametrize("log", [OLD, NEW])
@pytest.mark.parametrize(
    ("there", "instead", "message"),
    [
        ("ENERGY|", "ENERGIE|", "no energy"),
        ("-17.086522827401822", "NaN", "no energy"),
        ("/bohr]", "/angstrom]", "no forces in atomic units"),
        ("[a.u.]\n\n", "[eV]\n\n", "no forces in atomic units"),
        ("tress tensor", "tretch tensor", "no stress"),
        ("STRESS|      z ", "STRESS|      q ", "cannot be read"),
    ],
)
def test_missing_numbers(log: str, there: str, instead: str, message: str) -> None:
    if there not in log:
        pytest.skip("the other layout")
    with pytest.raises(output.Unreadable, match=message):
        output.results(log.replace(there, instead), 2, True)


def test_wrong_number_of_forces() -> None:
    with pytest.raises(output.Unreadable, match="2 forces for 3 atoms"):
        output.results(OLD, 3, True)
    with pytest.raises(output.Unreadable, match="1 force for 2 atoms"):
        output.results(OLD.replace("      0.09851934080758 ", "      ****************"), 2, True)


CONVERGED = "  *** SCF run converged in     9 steps ***\n"
LEAVING = "  Leaving inner SCF loop after reaching     3 steps.\n"
WARNING = "\n *** WARNING in qs_scf.F:601 :: SCF run NOT converged ***\n\n"
STEADFAST = "\n *** WARNING in qs_scf.F:703 :: SCF run NOT converged, but the program ***\n *** continues ***\n"
NEWER = box("SCF run NOT converged. To continue the calculation", "regardless, please set IGNORE_CONVERGENCE_FAILURE.")


@pytest.mark.parametrize(
    "scf",
    [
        LEAVING + WARNING,
        CONVERGED + "  outer SCF loop FAILED to converge after    3 iterations or    9 steps\n",
        CONVERGED + LEAVING,
        LEAVING,
        "",
        LEAVING + NEWER,
        LEAVING + STEADFAST,
    ],
)
def test_unconverged(scf: str) -> None:
    for log in (OLD, NEW):
        found = output.failed(log.replace(CONVERGED, scf), 1 if scf.endswith(NEWER) else 0)
        assert found is not None
        assert found[0] == "unconverged"


NOT_CONVERGED = {
    # as 2023.1 and 2025.1 print it, and what a user reads
    "linear scaling": ("\n SCF not converged! \n", "the SCF did not converge"),
    "constrained DFT": (
        CONVERGED + "  CDFT SCF loop FAILED to converge after   2 iterations\n",
        "the SCF did not converge",
    ),
    "forces of MP2": (CONVERGED + "   Z-Vector equations NOT converged in   20 steps\n", "Z-Vector equations NOT"),
    "forces of a correction": (
        CONVERGED + "   The linear solver didn't converge! Maximum number of iterations reached.\n",
        "CP2K says: The linear solver didn't converge! Maximum number of iterations reached.",
    ),
    "solver of 2023.1": (CONVERGED + "  The linear solver didnt converge! Maximum number\n", "linear solver didnt"),
    "adaptive basis": (CONVERGED + " *** WARNING in pao_main.F:295 :: PAO not converged! ***\n", "PAO not converged!"),
    "localized orbitals": (CONVERGED + box("Optimization not converged!"), "CP2K says: Optimization not converged!"),
    "solvent": (
        "   SCCS| Iteration cycle converged in 6 steps\n   SCCS| Iteration cycle did not converge in 9 steps\n"
        + CONVERGED,
        "CP2K says: SCCS| Iteration cycle did not converge in 9 steps",
    ),
    "dielectric": (
        "   POISSON| No convergence achieved within the maximum number of iterations.\n" + CONVERGED,
        "POISSON| No convergence achieved",
    ),
    "a guess alone": ("", "the log shows no converged SCF"),
}


@pytest.mark.parametrize(("scf", "message"), NOT_CONVERGED.values(), ids=NOT_CONVERGED)
def test_what_else_can_fail_to_converge(scf: str, message: str) -> None:
    for log in (OLD, NEW):
        problem = output.failed(log.replace(CONVERGED, scf), 0)
        assert problem is not None
        assert problem[0] == "unconverged"
        assert message in problem[1]


@pytest.mark.parametrize(
    "scf",
    [
        "   SCCS| Iteration cycle did not converge in 9 steps\n   SCCS| Iteration cycle converged in 6 steps\n"
        + CONVERGED,
        "   POISSON| No convergence achieved\n   POISSON| Poisson solver converged in 6 iterations.\n" + CONVERGED,
        CONVERGED + " *** WARNING in qs_loc.F:1 :: LOCALIZATION! loop did not converge within the maximum ***\n",
        CONVERGED + "  The precon solver didnt converge! Maximum number of iterations reached.\n",
        CONVERGED + " EEQ| PBC solver failed to converge \n",
        " -------------------------------- ALMO SETTINGS --------------------------------\n",
        "\n Diagonalization                      Time:       0.01       -5.0687000000\n",
    ],
)
def test_what_need_not_converge(scf: str) -> None:
    for log in (OLD, NEW):
        assert output.failed(log.replace(CONVERGED, scf), 0) is None


def test_an_outer_loop_that_converges_late() -> None:
    late = LEAVING + CONVERGED + "  outer SCF loop converged in   4 iterations or   10 steps\n"
    assert output.failed(OLD.replace(CONVERGED, late), 0) is None


@pytest.mark.parametrize(
    ("log", "code", "kind", "message"),
    [
        (box("Use the LSD option for an odd number of electrons"), 1, "invalid-input", "odd number of electrons"),
        (box("GEOMETRY wrong or EMAX_SPLINE too small!"), 1, "invalid-input", "GEOMETRY wrong"),
        (OLD, -9, "out-of-memory", "killed"),
        (OLD, 137, "out-of-memory", "killed"),
        ("slurmstepd: error: Detected 1 oom_kill event\n", 1, "out-of-memory", "killed"),
        (OLD, -11, "crashed", "signal 11"),
        (box("Cholesky decompose failed", "for good"), 6, "crashed", "decompose failed for good (exit code 6)"),
        (OLD.replace("PROGRAM ENDED", ""), 0, "crashed", "ended early"),
    ],
)
def test_classes(log: str, code: int, kind: str, message: str) -> None:
    found = output.failed(log, code)
    assert found is not None
    assert found[0] == kind
    assert message in found[1]


def test_complaints_about_the_template() -> None:
    keyword = box("found an unknown keyword CUTOF in section MGRID", place="input/input_parsing.F:246")
    assert output.bad_template(keyword) == "found an unknown keyword CUTOF in section MGRID"
    basis = box("The requested basis set <A> for element <O> was", "not found in the basis set files <BASIS_MOLOPT>")
    assert "was not found in the basis set files" in output.bad_template(basis)
    assert output.bad_template(box("Use the LSD option")) == ""
    unit = box("Unknown unit: Rydb", place="common/cp_units.F:363")
    assert output.bad_template(unit) == "Unknown unit: Rydb"
    field = box("Stress tensor for periodic E-field not implemented", place="qs_efield_berry.F:330")
    assert output.no_stress(field) == "Stress tensor for periodic E-field not implemented"
    assert output.no_stress(box("No stress tensor is implemented for the implicit Poisson solver."))
    assert output.no_stress(keyword) == ""


def test_programs_that_never_started() -> None:
    assert "libxc.so" in output.never_started("cp2k: error while loading shared libraries: libxc.so: no\n")
    assert output.never_started(OLD + "No such file or directory\n") == ""
