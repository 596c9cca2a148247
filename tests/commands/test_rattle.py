"""psiflow rattle: how far the copies are from where they started, and what they keep."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.commands.inputs import BOX, WATER

np = pytest.importorskip("numpy")
ase_io = pytest.importorskip("ase.io", reason="the copies are read with ase")
pytestmark = pytest.mark.usefixtures("in_threads")


def test_displacements_are_normal_with_the_amplitude(psiflow):
    Path("water.xyz").write_text(WATER)
    psiflow("rattle", "water.xyz", "-n", 400, "--amplitude", "0.06", "--seed", 3)
    start = ase_io.read("water.xyz")
    copies = ase_io.read("water.rattled.xyz", ":")
    assert len(copies) == 400
    moved = np.array([copy.positions - start.positions for copy in copies])
    count = moved.size  # 3600: the standard error of the standard deviation is 1.2 %, of the mean 0.001 Å
    assert moved.std() == pytest.approx(0.06, rel=4 / np.sqrt(2 * count))
    assert abs(moved.mean()) < 4 * 0.06 / np.sqrt(count)
    assert (abs(moved) < 0.06).mean() == pytest.approx(0.683, abs=0.03)
    axes = moved.reshape(-1, 9)
    assert abs(np.corrcoef(axes.T) - np.eye(9)).max() < 5 / np.sqrt(400), "components move together"


def test_strains_are_symmetric_and_carry_the_atoms(psiflow):
    Path("box.xyz").write_text(BOX)
    psiflow("rattle", "box.xyz", "-n", 300, "--amplitude", 0, "--strain", "0.02", "-o", "strained.xyz")
    start = ase_io.read("box.xyz")
    copies = ase_io.read("strained.xyz", ":")
    fractions = start.get_scaled_positions(wrap=False)
    strains = []
    for copy in copies:
        assert copy.get_scaled_positions(wrap=False) == pytest.approx(fractions, abs=1e-12)
        strain = np.linalg.solve(start.cell.array, copy.cell.array) - np.eye(3)
        assert strain == pytest.approx(strain.T, abs=1e-12)
        strains.append(strain[np.triu_indices(3)])
    assert np.std(strains) == pytest.approx(0.02, rel=4 / np.sqrt(2 * np.size(strains)))
    assert abs(np.mean(strains)) < 4 * 0.02 / np.sqrt(np.size(strains))


def test_a_molecule_has_no_cell_to_strain(psiflow):
    Path("water.xyz").write_text(WATER)
    psiflow("rattle", "water.xyz", "-n", 2, "--amplitude", 0, "--strain", "0.1", "-o", "out.xyz")
    for copy in ase_io.read("out.xyz", ":"):
        assert copy.cell.rank == 0
        assert (copy.positions == ase_io.read("water.xyz").positions).all()


def test_the_seed_decides_and_more_copies_change_none(psiflow):
    Path("water.xyz").write_text(WATER)
    for name, seed, count in (("a", 1, 3), ("b", 1, 3), ("c", 2, 3), ("d", 1, 5)):
        psiflow("rattle", "water.xyz", "-n", count, "--seed", seed, "-o", f"{name}.xyz")
    a, b, c, d = (Path(f"{name}.xyz").read_bytes() for name in "abcd")
    assert a == b
    assert a != c
    assert d.startswith(a)
    assert len(d) > len(a)


def test_labels_go_and_everything_else_stays(psiflow):
    Path("in.xyz").write_text(
        "2\n"
        'Lattice="9 0 0 0 9 0 0 0 9" '
        "Properties=species:S:1:pos:R:3:forces:R:3:tags:I:1:REF_forces:R:3:model_forces:R:3 energy=-3.5 "
        'free_energy=-3.5 stress="1 0 0 0 1 0 0 0 1" REF_energy=-3.4 dft_energy=-3 virial="1 0 0 0 1 0 0 0 1" '
        "model_energy=-3.3 psiflow_id=abcdefabcdefabcd psiflow_reference=emt-1 psiflow_code=x failure=crashed "
        'charge=-1 multiplicity=2 config_type="a name" weight=0.5 pbc="T T T"\n'
        "O 0 0 0 1 2 3 7 1 2 3 1 2 3\nH 1 0 0 4 5 6 8 4 5 6 1 2 3\n"
    )
    psiflow("rattle", "in.xyz", "-n", 1, "-o", "out.xyz")
    comment = Path("out.xyz").read_text().splitlines()[1]
    for gone in ("energy", "forces", "stress", "virial", "psiflow_", "failure", "REF_", "dft_", "model_"):
        assert gone not in comment
    copy = ase_io.read("out.xyz")
    assert copy.calc is None
    assert copy.info == {"charge": -1, "multiplicity": 2, "config_type": "a name", "weight": 0.5}
    assert copy.arrays["tags"].tolist() == [7, 8]
    assert copy.cell.lengths().tolist() == [9, 9, 9]
    assert copy.pbc.all()


def test_through_pipes_and_again(psiflow):
    piped = psiflow("rattle", "-", "-n", 2, stdin=WATER + BOX)
    Path("in.xyz").write_text(WATER + BOX)
    psiflow("rattle", "in.xyz", "-n", 2)
    assert Path("in.rattled.xyz").read_text() == piped.stdout
    assert "up to date" in psiflow("rattle", "in.xyz", "-n", 2).stderr
    sizes = [len(copy) for copy in ase_io.read("in.rattled.xyz", ":")]
    assert sizes == [3, 3, 6, 6]  # the copies of one frame stand together
    said = psiflow("rattle", "in.xyz", "-n", 7, "-o", "other.xyz", "--dry-run").stdout
    assert "copies: 14" in said
    assert not Path("other.xyz").exists()


@pytest.mark.parametrize(
    ("arguments", "code", "what"),
    [
        (("in.xyz", "-n", "0"), 2, "-n"),
        (("in.xyz", "--amplitude", "-1"), 2, "--amplitude"),
        (("in.xyz", "--amplitude", "wide"), 2, "--amplitude"),
        (("in.xyz", "--amplitude", "nan"), 2, "--amplitude"),
        (("in.xyz", "--amplitude", "inf"), 2, "--amplitude"),
        (("in.xyz", "--strain", "0.9"), 2, "--strain"),
        (("missing.xyz",), 66, "missing.xyz"),
        (("in.xyz", "-o", "in.xyz"), 73, "in.xyz"),
        ((), 2, "FRAMES"),
    ],
)
def test_wrong_usage(psiflow, arguments, code, what):
    Path("in.xyz").write_text(WATER)
    done = psiflow("rattle", *arguments, code=code)
    assert what in done.stderr
    assert len(done.stderr.strip().splitlines()) <= 2


def test_what_is_held_stays_in_its_directions(psiflow):
    frame = "2\nProperties=species:S:1:pos:R:3:move_mask:L:3\nH 0 0 0 F F F\nH 1 0 0 T F T\n"
    Path("slab.xyz").write_text(frame)
    psiflow("rattle", "slab.xyz", "-n", 3)
    for copy in ase_io.read("slab.rattled.xyz", ":"):
        assert copy.positions[0].tolist() == [0.0, 0.0, 0.0]
        assert copy.positions[1][1] == 0.0
        assert copy.positions[1][0] != 1.0
        assert copy.positions[1][2] != 0.0
    Path("slab.xyz").write_text(frame.replace("move_mask:L:3", "move_mask:L:3 ase_constraints=Hookean"))
    said = psiflow("rattle", "slab.xyz", "-n", 3, "-o", "other.xyz", code=65).stderr
    assert "slab.xyz:1: frame 1: constraints not supported: Hookean" in said
