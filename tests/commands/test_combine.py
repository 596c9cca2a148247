"""psiflow model combine, and what commands do with a sum or with a Python file as their model."""

from __future__ import annotations

import importlib.util
import json
import shutil
from importlib.util import find_spec
from pathlib import Path

import pytest

ase_io = pytest.importorskip("ase.io", reason="the potentials of these tests are ASE's")
pytestmark = pytest.mark.usefixtures("in_threads")
MINE = """from ase.calculators.lj import LennardJones
def calculator(device, dtype):
    return LennardJones(epsilon=0.1, sigma=2.2, rc=4.0, smooth=True)
"""
REFERENCE = """SUMMARY, REQUIRES, FRAME_INPUTS, DEFAULT_TASK_SECONDS = "a constant", (), (), 1.0
def settings(input_file, options): return {}
def check(settings, elements): pass
def label(frames, settings, context):
    return [{"energy": 3.0, "forces": [[0, 0, 0]] * len(f["symbols"]), "stress": [0] * 6} for f in frames]
"""
CUT_OFF = 5e-6
"""eV/Å³: by how much finite differences may be off, because atoms cross the cut-off of D3 (60 bohr).

In boxes of two water molecules it is 8e-7 (measured), and 3e-8 with twice the cut-off.
"""


@pytest.fixture
def copper(tmp_path):
    """Two crystals, the second one rattled and strained."""
    from ase.build import bulk

    crystal = bulk("Cu", cubic=True)
    strained = crystal.copy()
    strained.rattle(0.1, seed=1)
    strained.set_cell(strained.cell.array * [1.02, 0.98, 1.0] + [[0, 0.1, 0], [0, 0, 0], [0, 0, 0]], scale_atoms=True)
    ase_io.write(tmp_path / "cu.xyz", [crystal, strained])
    (tmp_path / "mine.py").write_text(MINE)
    return ase_io.read(tmp_path / "cu.xyz", ":")


def by_hand(atoms, *terms):
    """Energy, forces and stress of factors and calculators."""
    values = []
    for factor, calculator in terms:
        atoms = atoms.copy()
        atoms.calc = calculator
        numbers = (atoms.get_potential_energy(), atoms.get_forces(), atoms.get_stress(voigt=False))
        values.append([factor * each for each in numbers])
    return [sum(each) for each in zip(*values, strict=True)]


def assert_predicts(path, frames, *terms):
    for found, atoms in zip(ase_io.read(path, ":"), frames, strict=True):
        energy, forces, stress = by_hand(atoms, *terms)
        assert found.info["model_energy"] == pytest.approx(energy, abs=1e-9)
        assert found.arrays["model_forces"] == pytest.approx(forces, abs=1e-9)
        assert found.info["model_stress"].reshape(-1) == pytest.approx(stress.reshape(-1), abs=1e-10)


def test_a_sum_is_the_sum_by_hand(psiflow, copper, tmp_path):
    from ase.calculators.emt import EMT
    from ase.calculators.lj import LennardJones

    psiflow("model", "combine", "0.5*emt - 2*mine.py", "-o", "sum.model")
    psiflow("evaluate", "cu.xyz", "--model", "sum.model", "-o", "out.xyz")
    mine = LennardJones(epsilon=0.1, sigma=2.2, rc=4.0, smooth=True)
    assert_predicts("out.xyz", copper, (0.5, EMT()), (-2.0, mine))
    # a sum of a sum, far from what it was made of
    psiflow("model", "combine", "2*sum.model + 1/2*mine.py", "-o", "more.model")
    (tmp_path / "elsewhere").mkdir()
    shutil.move("more.model", "elsewhere/more.model")
    shutil.rmtree("sum.model")
    (tmp_path / "mine.py").unlink()
    psiflow("evaluate", "cu.xyz", "--model", "elsewhere/more.model", "-o", "more.xyz")
    assert_predicts("more.xyz", copper, (1.0, EMT()), (-3.5, mine))
    psiflow("model", "export", "elsewhere/more.model", "--to", "ase", "-o", "exported")
    assert exported("exported")(copper[1]) == pytest.approx(ase_io.read("more.xyz", 1).info["model_energy"], abs=1e-9)
    shown = psiflow("model", "show", "elsewhere/more.model").stdout
    for term in ("+1 * emt (reference", "-4 * mine.py (python", "+0.5 * mine.py"):
        assert term in shown
    psiflow("relax", "cu.xyz", "--model", "elsewhere/more.model", "-o", "relaxed.xyz")
    psiflow("train", "cu.xyz", "--init", "elsewhere/more.model", "-o", "new.model", code=2)


def test_what_a_bundle_consists_of_is_verified(psiflow, copper):
    psiflow("model", "combine", "emt + mine.py", "-o", "sum.model")
    assert "unchanged since it was written" in psiflow("model", "verify", "sum.model").stderr
    with open("sum.model/term-1/mine.py", "a") as stream:
        stream.write("# changed\n")
    assert "term-1/mine.py: not the weights" in psiflow("model", "verify", "sum.model", code=65).stderr
    psiflow("evaluate", "cu.xyz", "--model", "sum.model", code=65)


def test_nothing_is_replaced_unasked(psiflow, copper, tmp_path):
    psiflow("model", "combine", "emt + mine.py", "-o", "sum.model")
    assert "up to date" in psiflow("model", "combine", "emt+mine.py", "-o", "sum.model").stderr
    assert "--overwrite" in psiflow("model", "combine", "2*emt", "-o", "sum.model", code=73).stderr
    psiflow("model", "combine", "2*emt", "-o", "sum.model", "--overwrite")
    (tmp_path / "data").mkdir()
    psiflow("model", "combine", "2*emt", "-o", "data", "--overwrite", code=73)
    assert not [path for path in tmp_path.iterdir() if path.name.startswith(".")]


@pytest.mark.parametrize(
    ("expression", "words", "code"),
    [
        ("emt + dfd:xc=pbe", "character 7: 'dfd:xc=pbe' is neither a model in this folder nor a reference", 2),
        ("emt + gone.model", "character 7: gone.model: no such model", 2),
        ("emt + dftd", "character 7: the reference dftd needs the functional\n  hint: dftd:xc=pbe", 2),
        ("emt + cp2k", "because it starts a program or needs an input file\n  hint: references that can: dftd, emt", 2),
        ("emt:a=b", "unknown option 'a'", 2),
        ("dftd:xc=pbe,version=d9", "character 1: dftd:version=d9: must be one of d3bj", 2),
        ("emt@pbe", "emt is a reference, which has no heads", 2),
        ("empty.py", "character 1: empty.py:1: it defines neither calculator(device, dtype)", 65),
        ("broken.py", "character 1: broken.py:1: ", 65),
        ("weights.model + emt", "character 1: weights.model: a model file outside a bundle is a program", 65),
    ],
)  # fmt: skip
def test_a_wrong_term_has_its_place(psiflow, tmp_path, expression, words, code):
    (tmp_path / "empty.py").write_text("x = 1\n")
    (tmp_path / "broken.py").write_text("def calculator(:\n")
    (tmp_path / "weights.model").write_text("")
    done = psiflow("model", "combine", expression, "-o", "sum.model", code=code)
    assert words in done.stderr
    assert not (tmp_path / "sum.model").exists()


def test_a_python_file_is_a_model_everywhere(psiflow, copper, tmp_path):
    from ase.calculators.lj import LennardJones

    mine = LennardJones(epsilon=0.1, sigma=2.2, rc=4.0, smooth=True)
    psiflow("evaluate", "cu.xyz", "--model", "./mine.py", "-o", "out.xyz")
    assert_predicts("out.xyz", copper, (1.0, mine))
    psiflow("relax", "cu.xyz", "--model", "mine.py", "-o", "relaxed.xyz")
    psiflow("phonons", "relaxed.xyz", "--model", "mine.py", "-o", "modes.xyz")
    psiflow("sample", "cu.xyz", "--model", "mine.py", "--steps", 4, "--every", 2, "-o", "path.xyz")
    psiflow("label", "cu.xyz", "--reference", "./mine.py", "-o", "labelled.xyz")
    labelled, predicted = ase_io.read("labelled.xyz", ":"), ase_io.read("out.xyz", ":")
    assert [a.get_potential_energy() for a in labelled] == [b.info["model_energy"] for b in predicted]
    psiflow("select", "out.xyz", "-n", 1, "--by", "error", "--keys", "forces=model_forces", "--model", "mine.py")
    # a changed file is another result, and so is a changed file that it reads
    (tmp_path / "mine.py").write_text(MINE.replace("epsilon=0.1", "epsilon=0.2"))
    assert "2 frames evaluated" in psiflow("evaluate", "cu.xyz", "--model", "mine.py", "-o", "out.xyz").stderr
    assert "mine.py" in psiflow("model", "show", "mine.py").stdout


def test_what_a_python_file_reads_is_part_of_it(psiflow, copper, tmp_path):
    (tmp_path / "code").mkdir()
    (tmp_path / "code" / "mine.py").write_text(
        MINE.replace("epsilon=0.1", "epsilon=read()") + "from beside import read\n"
    )
    text = "from pathlib import Path\ndef read(): return float(Path(__file__).with_name('data.txt').read_text())\n"
    (tmp_path / "code" / "beside.py").write_text(text)
    (tmp_path / "code" / "data.txt").write_text("0.1")
    psiflow("evaluate", "cu.xyz", "--model", "code/mine.py", "-o", "out.xyz")
    assert "up to date" in psiflow("evaluate", "cu.xyz", "--model", "code/mine.py", "-o", "out.xyz").stderr
    psiflow("model", "combine", "code/mine.py", "-o", "sum.model")
    (tmp_path / "code" / "data.txt").write_text("0.2")
    psiflow("evaluate", "cu.xyz", "--model", "code/mine.py", "-o", "changed.xyz")
    psiflow("evaluate", "cu.xyz", "--model", "sum.model", "-o", "kept.xyz")
    energies = [ase_io.read(name, 1).info["model_energy"] for name in ("out.xyz", "changed.xyz", "kept.xyz")]
    assert energies[1] == pytest.approx(2 * energies[0])
    assert energies[2] == energies[0]


def test_what_a_model_prints_is_not_among_the_frames(psiflow, copper, tmp_path):
    (tmp_path / "loud.py").write_text(f"import os\nprint('loud')\nos.write(1, b'louder\\n')\n{MINE}")
    done = psiflow("evaluate", "cu.xyz", "--model", "loud.py", "-o", "-")
    psiflow("evaluate", "cu.xyz", "--model", "loud.py", "-o", "out.xyz")
    assert done.stdout == Path("out.xyz").read_text()
    assert "loud\n" in done.stderr
    assert "louder" in done.stderr


def test_a_reference_of_ones_own_is_a_term(psiflow, copper, tmp_path):
    (tmp_path / "constant.py").write_text(REFERENCE)
    psiflow("model", "combine", "mine.py - 2*constant.py", "-o", "sum.model")
    psiflow("evaluate", "cu.xyz", "--model", "sum.model", "-o", "sum.xyz")
    psiflow("evaluate", "cu.xyz", "--model", "mine.py", "-o", "mine.xyz")
    for one, other in zip(ase_io.read("sum.xyz", ":"), ase_io.read("mine.xyz", ":"), strict=True):
        assert one.info["model_energy"] == pytest.approx(other.info["model_energy"] - 6.0, abs=1e-12)
    assert "the reference" not in psiflow("label", "cu.xyz", "--reference", "constant.py", "-o", "c.xyz").stderr


def test_a_charge_reaches_the_terms(psiflow, tmp_path):
    pytest.importorskip("tblite", reason="the reference xtb needs tblite")
    frame = '2\nProperties=species:S:1:pos:R:3 {}pbc="F F F"\nO 0 0 0\nH 0 0 0.97\n'
    (tmp_path / "ions.xyz").write_text(frame.format("charge=-1 ") + frame.format("charge=1 "))
    psiflow("model", "combine", "xtb", "-o", "xtb.model")
    psiflow("label", "ions.xyz", "--reference", "xtb", "-o", "labels.xyz")
    psiflow("label", "ions.xyz", "--reference", "xtb.model", "-o", "again.xyz")
    psiflow("evaluate", "ions.xyz", "--model", "xtb.model", "-o", "predicted.xyz")
    labels, again, predicted = (ase_io.read(f"{name}.xyz", ":") for name in ("labels", "again", "predicted"))
    for label, same, prediction in zip(labels, again, predicted, strict=True):
        assert same.get_potential_energy() == label.get_potential_energy() == prediction.info["model_energy"]
    assert abs(labels[0].get_potential_energy() - labels[1].get_potential_energy()) > 1


def test_mace_with_dispersion(psiflow_mace, trained, tmp_path):
    """Energies by hand to 1e-9 eV, the stress by finite differences, dynamics in both engines."""
    pytest.importorskip("dftd3", reason="s-dftd3 is not installed")
    import numpy as np
    from dftd3.ase import DFTD3
    from mace.calculators import MACECalculator

    psiflow_mace("model", "combine", f"{trained.model} + dftd:xc=pbe,version=d3", "-o", "d3.model")
    psiflow_mace("evaluate", trained.test, "--model", "d3.model", "-o", "out.xyz")
    files = sorted(str(path) for path in tmp_path.glob("d3.model/term-0/member-0/*.model"))
    mace = MACECalculator(model_paths=files, device="cpu")
    d3 = DFTD3(method="pbe", damping="d3bj")
    boxes = []
    for found in ase_io.read("out.xyz", ":"):
        atoms = found.copy()
        atoms.calc, other = mace, found.copy()
        other.calc = d3
        energy = atoms.get_potential_energy() + other.get_potential_energy()
        assert found.info["model_energy"] == pytest.approx(energy, abs=1e-9)
        assert found.arrays["model_forces"] == pytest.approx(atoms.get_forces() + other.get_forces(), abs=1e-7)
        boxes += [found] if found.pbc.all() else []
    strained = []
    for sign in (1, -1):
        atoms = boxes[0].copy()
        atoms.set_cell(atoms.cell.array @ (np.eye(3) + sign * 1e-4 * np.diag([1, 0, 0])), scale_atoms=True)
        strained.append(atoms)
    ase_io.write("strained.xyz", strained)
    psiflow_mace("evaluate", "strained.xyz", "--model", "d3.model", "-o", "energies.xyz")
    above, below = (atoms.info["model_energy"] for atoms in ase_io.read("energies.xyz", ":"))
    stress = (above - below) / 2e-4 / boxes[0].get_volume()
    assert boxes[0].info["model_stress"].reshape(-1)[0] == pytest.approx(stress, abs=CUT_OFF)
    ase_io.write("start.xyz", boxes[0])
    psiflow_mace("model", "export", "d3.model", "--to", "ase", "-o", "exported")
    assert exported("exported")(boxes[0]) == pytest.approx(boxes[0].info["model_energy"], abs=1e-9)
    psiflow_mace("select", trained.test, "-n", 3, "--by", "farthest", "--model", trained.model, "-o", "by-mace.xyz")
    done = psiflow_mace("select", trained.test, "-n", 3, "--by", "farthest", "--model", "d3.model", "-o", "by-sum.xyz")
    assert "the features of" in done.stderr
    assert Path("by-sum.xyz").read_bytes() == Path("by-mace.xyz").read_bytes()
    assert "exports to ase" in psiflow_mace("model", "export", "d3.model", "--to", "mace", code=2).stderr
    arguments = ("sample", "start.xyz", "--model", "d3.model", "--steps", 6, "--every", 6, "--ensemble", "nve")
    psiflow_mace(*arguments, "--engine", "ase", "-o", "one.xyz")
    one = ase_io.read("one.xyz")
    if find_spec("torch_sim"):
        psiflow_mace(*arguments, "--engine", "torchsim", "--walkers", 2, "--batch", 2, "-o", "two.xyz")
        first = ase_io.read("two.xyz", 0)
        assert first.info["model_energy"] == pytest.approx(one.info["model_energy"], abs=1e-6)
        assert first.positions == pytest.approx(one.positions, abs=1e-6)


def exported(folder):
    """The energy that the exported calculator gives for atoms."""
    spec = importlib.util.spec_from_file_location("exported", Path(folder, "calculator.py").absolute())
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    calculator = module.calculator()
    return lambda atoms: calculator.get_potential_energy(atoms.copy())


def test_a_committee_makes_the_sum_one(psiflow_mace, trained, tmp_path):
    """Members are added one by one, so that the spread is the factor times that of the committee."""
    two = tmp_path / "two.model"
    shutil.copytree(trained.model, two)
    shutil.copytree(two / "member-0", two / "member-1")
    _double_weights(two)
    psiflow_mace("model", "combine", f"3*two.model - {trained.model}", "-o", "sum.model")
    psiflow_mace("evaluate", trained.test, "--model", "two.model", "-o", "two.xyz")
    psiflow_mace("evaluate", trained.test, "--model", "sum.model", "-o", "sum.xyz")
    for one, other in zip(ase_io.read("two.xyz", ":"), ase_io.read("sum.xyz", ":"), strict=True):
        assert one.info["model_energy_std"] > 0
        assert other.info["model_energy_std"] == pytest.approx(3 * one.info["model_energy_std"], rel=1e-6)
        assert other.arrays["model_forces_std"] == pytest.approx(3 * one.arrays["model_forces_std"], rel=1e-6, abs=1e-9)


def _double_weights(folder):
    """Give the second member other weights, and name them in model.toml."""
    import hashlib

    import torch

    from psiflow_cli import toml

    facts = toml.loads((folder / "model.toml").read_text())
    (name,) = (path.name for path in (folder / "member-1").glob("*.model"))
    model = torch.load(folder / "member-1" / name, weights_only=False)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.mul_(1.01)
    torch.save(model, folder / "member-1" / name)
    digest = hashlib.sha256((folder / "member-1" / name).read_bytes()).hexdigest()
    facts["weights"][f"member-1/{name}"], facts["members"] = digest, 2
    (folder / "model.toml").write_text(toml.dumps(facts))


def test_lammps_adds_the_terms_that_it_has(psiflow):
    """By hand, LAMMPS 22Jul2025 and s-dftd3 give the same for D3(BJ) and D3(0): 2e-6 eV in 1.8, forces to 1e-8 eV/Å."""
    psiflow("model", "combine", "dftd:xc=pbe,version=d3 - 0.5*dftd:xc=revpbe,version=d3zero", "-o", "d3.model")
    psiflow("model", "export", "d3.model", "--to", "lammps", "-o", "d3-lammps")
    lines = Path("d3-lammps/potential.in").read_text().splitlines()
    parts = "1 dispersion/d3 bj pbe 31.7506 21.1671 -0.5 dispersion/d3 original revpbe 31.7506 21.1671"
    assert f"pair_style hybrid/scaled {parts}" in lines
    for number in (1, 2):
        assert f"pair_coeff * * dispersion/d3 {number} ${{elements}}" in lines
    for term in ("emt", "dftd:xc=pbe", "dftd:xc=pbe,version=d3,atm=true", "dftd:xc=pbe,version=d3op"):
        psiflow("model", "combine", f"dftd:xc=pbe,version=d3 + {term}", "-o", "no.model", "--overwrite")
        done = psiflow("model", "export", "no.model", "--to", "lammps", "-o", "no-lammps", code=2)
        assert f"{term}: " in done.stderr
        assert not Path("no-lammps").exists()


def test_json(psiflow, copper):
    told = json.loads(psiflow("model", "combine", "-2*emt + mine.py", "-o", "sum.model", "--json").stdout)
    assert [(term["factor"], term["what"]) for term in told["terms"]] == [(-2.0, "emt"), (1.0, "mine.py")]
    assert "terms" in json.loads(psiflow("model", "show", "sum.model", "--json").stdout)


@pytest.mark.full
@pytest.mark.timeout(3600)
@pytest.mark.parametrize("walkers", [1, 64])
def test_dynamics_of_a_sum(psiflow_mace, trained, walkers):
    """Energies by hand to 1e-9 eV, NVE as good as that of the model alone, the stress after NPT by differences."""
    pytest.importorskip("dftd3", reason="s-dftd3 is not installed")
    pytest.importorskip("torch_sim", reason="torch-sim is not installed")
    import numpy as np
    from dftd3.ase import DFTD3
    from mace.calculators import MACECalculator

    psiflow_mace("model", "combine", f"{trained.model} + dftd:xc=pbe,version=d3", "-o", "d3.model")
    mace = MACECalculator(model_paths=[str(next(Path("d3.model").rglob("*.model")))], device="cpu")
    d3 = DFTD3(method="pbe", damping="d3bj")

    def energy(atoms):
        return mace.get_potential_energy(atoms) + d3.get_potential_energy(atoms)

    box = next(atoms for atoms in ase_io.iread(trained.test) if atoms.pbc.all())
    ase_io.write("box.xyz", box)
    engine = ("--engine", "ase") if walkers == 1 else ("--engine", "torchsim", "--batch", walkers)
    common = ("sample", "box.xyz", "--timestep", 0.25, "--seed", 3, "--walkers", walkers, *engine)
    patience = {"timeout": 1500}  # s
    spreads = []
    for name, model in (("alone", trained.model), ("sum", "d3.model")):
        nve = ("--model", model, "--ensemble", "nve", "--steps", 100, "--every", 10)
        psiflow_mace(*common, *nve, "-o", f"{name}.xyz", **patience)
        infos = [atoms.info for atoms in ase_io.iread(f"{name}.xyz")]
        potential = np.array([info["model_energy"] for info in infos]).reshape(walkers, 10)
        kinetic = np.array([info["kinetic_energy"] for info in infos]).reshape(walkers, 10)
        spreads.append((potential + kinetic).std(axis=1).mean())
        assert spreads[-1] < 0.03 * potential.std(axis=1).mean()
    assert spreads[1] < 1.2 * spreads[0]

    npt = ("--ensemble", "npt", "--cell", "flexible", "--pressure", 1000, "--steps", 40, "--every", 20)
    psiflow_mace(*common, "--model", "d3.model", *npt, "-o", "npt.xyz", **patience)
    frames = [*ase_io.read("sum.xyz", "::10"), *ase_io.read("npt.xyz", "1::2")]
    assert [atoms.info["model_energy"] for atoms in frames] == pytest.approx([energy(a) for a in frames], abs=1e-9)
    last = frames[-1]
    assert last.get_volume() != box.get_volume()
    ase_io.write("last.xyz", last)
    last = ase_io.read("last.xyz")  # with the digits that the file has
    psiflow_mace("evaluate", "last.xyz", "--model", "d3.model", "-o", "stress.xyz")
    stress = ase_io.read("stress.xyz").info["model_stress"]
    by_terms = mace.get_stress(last) + d3.get_stress(last)
    assert stress.reshape(-1)[[0, 4, 8, 5, 2, 1]] == pytest.approx(by_terms, abs=1e-9)
    for i, j in ((0, 0), (1, 1), (2, 2), (1, 2), (0, 2), (0, 1)):
        energies = []
        for sign in (1, -1):
            strain = np.eye(3)
            strain[i, j] += sign * 1e-4
            strained = last.copy()
            strained.set_cell(last.cell.array @ (strain + strain.T) / 2, scale_atoms=True)
            energies.append(energy(strained))
        assert stress[i, j] == pytest.approx((energies[0] - energies[1]) / 2e-4 / last.get_volume(), abs=CUT_OFF)
