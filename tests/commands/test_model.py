"""psiflow model, and committees: what is shown is what is there, and an exported model has the same numbers."""

from __future__ import annotations

import hashlib
import json
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from psiflow_cli import toml
from tests import warm
from tests.commands.inputs import PSIFLOW

np = pytest.importorskip("numpy")
ase_io = pytest.importorskip("ase.io", reason="the frames are read with ase")
pytest.importorskip("mace", reason="mace-torch is not installed")
pytestmark = pytest.mark.usefixtures("in_threads")


class Pair(NamedTuple):
    """A committee of two, and frames with its predictions."""

    model: Path
    frames: list[Any]
    said: dict[str, Any]
    folder: Path


def calculator(path: Path, dtype: str = "float64") -> Any:
    from mace.calculators import MACECalculator

    return MACECalculator(model_paths=str(path), device="cpu", default_dtype=dtype)


def second_member(model: Path) -> None:
    """Give a bundle of one member another, whose weights are a little different."""
    import torch

    first, second = (model / f"member-{i}" / "mace.model" for i in (0, 1))
    shutil.copytree(first.parent, second.parent)
    network = torch.load(first, weights_only=False)
    torch.manual_seed(0)
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.mul_(1 + 0.02 * torch.randn_like(parameter))
    torch.save(network, second)
    facts = toml.loads((model / "model.toml").read_text())
    facts |= {"members": 2, "seeds": [0, 7]}
    facts["weights"]["member-1/mace.model"] = hashlib.sha256(second.read_bytes()).hexdigest()
    (model / "model.toml").write_text(toml.dumps(facts))


@pytest.fixture(scope="module")
def pair(trained, threads, tmp_path_factory) -> Pair:
    folder = tmp_path_factory.mktemp("pair")
    model = folder / "pair.model"
    shutil.copytree(trained.model, model)
    second_member(model)
    frames = ase_io.read(trained.test, ":")
    for index, atoms in enumerate(frames):
        atoms.info["config_type"] = ("cold", "hot")[index % 2]
    ase_io.write(folder / "in.xyz", frames, format="extxyz")
    arguments = ("evaluate", "in.xyz", "--model", "pair.model", "-o", "out.xyz", "--plot", "parity.png", "--json")
    done = warm.server("mace.calculators").run([PSIFLOW, *arguments, "--site", threads], cwd=folder)
    assert done.returncode == 0, done.stderr
    return Pair(model, ase_io.read(folder / "out.xyz", ":"), json.loads(done.stdout), folder)


def numbers(atoms: Any, calc: Any) -> tuple[float, Any]:
    """Energy and forces by a calculator, of a copy without those that were read."""
    bare = atoms.copy()
    bare.calc = calc
    return bare.get_potential_energy(), bare.get_forces()


def by_hand(atoms: Any, calculators: list[Any]) -> tuple[Any, Any]:
    """Energies and forces of both members."""
    found = [numbers(atoms, each) for each in calculators]
    return np.array([energy for energy, _ in found]), np.array([forces for _, forces in found])


@pytest.fixture(scope="module")
def members(pair) -> list[Any]:
    return [calculator(pair.model / f"member-{i}" / "mace.model") for i in (0, 1)]


def test_a_committee_predicts_its_mean_and_its_spread(pair, members):
    apart = []
    for atoms in pair.frames:
        energies, forces = by_hand(atoms, members)
        assert atoms.info["model_energy"] == pytest.approx(energies.mean(), abs=1e-8)
        assert atoms.arrays["model_forces"] == pytest.approx(forces.mean(axis=0), abs=1e-8)
        assert atoms.info["model_energy_std"] == pytest.approx(abs(energies[0] - energies[1]) / 2, abs=1e-8)
        of_atoms = np.sqrt((((forces[0] - forces[1]) / 2) ** 2).sum(axis=1))
        assert atoms.arrays["model_forces_std"] == pytest.approx(of_atoms, abs=1e-8)
        apart.append(of_atoms.max())
    assert min(apart) > 1e-3, "this test can see nothing"


def pairs_by_numpy(frames: list[Any]) -> dict[tuple[str, str, str], Any]:
    """{(quantity, by, group): (spreads, errors)} in meV/atom and meV/Å."""
    groups = [
        ("all", "", frames),
        *(("config_type", k, [a for a in frames if a.info["config_type"] == k]) for k in ("cold", "hot")),
    ]
    found = {}
    for by, group, chosen in groups:
        energy = [
            (a.info["model_energy_std"] / len(a), abs(a.info["model_energy"] - a.get_potential_energy()) / len(a))
            for a in chosen
        ]
        found["energy", by, group] = 1e3 * np.array(energy).T
        force = [
            np.array([a.arrays["model_forces_std"], np.linalg.norm(a.arrays["model_forces"] - a.get_forces(), axis=1)])
            for a in chosen
        ]
        found["forces", by, group] = 1e3 * np.concatenate(force, axis=1)
    symbols = np.concatenate([a.symbols for a in frames])
    for element in ("H", "O"):
        found["forces", "element", element] = found["forces", "all", ""][:, symbols == element]
    return found


def test_the_spread_against_the_error_equals_numpys(pair):
    expected = pairs_by_numpy(pair.frames)
    rows = {(r["quantity"], r["by"], r["group"]): r for r in pair.said["spread"]}
    assert rows.keys() == expected.keys()
    for key, (spreads, errors) in expected.items():
        rms = [float(np.sqrt(np.mean(values**2))) for values in (spreads, errors)]
        assert [rows[key]["spread"], rows[key]["error"]] == pytest.approx(rms, rel=1e-9)
        assert rows[key]["ratio"] == pytest.approx(rms[1] / rms[0], rel=1e-9)
        assert rows[key]["correlation"] == pytest.approx(np.corrcoef(spreads, errors)[0, 1], abs=1e-9)
        assert rows[key]["count"] == len(spreads)
    lines = pair.said["spread_table"].splitlines()
    assert max(map(len, lines)) <= 80
    assert (pair.folder / "parity.png").read_bytes().startswith(b"\x89PNG")


@pytest.mark.full
def test_sample_moves_by_the_mean_and_says_the_spread(pair, members, psiflow):
    ase_io.write("start.xyz", [pair.frames[0].copy(), pair.frames[-1].copy()], format="extxyz")
    psiflow("sample", "start.xyz", "--model", pair.model, "--steps", 4, "--every", 2, "-o", "md.xyz")
    frames = ase_io.read("md.xyz", ":")
    assert len(frames) == 4
    for atoms in frames:
        energies, forces = by_hand(atoms, members)
        assert atoms.info["model_energy"] == pytest.approx(energies.mean(), abs=1e-8)
        assert atoms.info["model_energy_std"] == pytest.approx(energies.std(), abs=1e-8)
        assert atoms.arrays["model_forces_std"] == pytest.approx(np.linalg.norm(forces.std(axis=0), axis=1), abs=1e-8)


@pytest.mark.full
def test_float32_is_that_of_the_calculator(pair, trained, psiflow):
    site = Path(trained.site).read_text()
    assert "cores = 1" in site
    Path("single.toml").write_text(site.replace("cores = 1", 'cores = 1\ndtype = "float32"'))
    psiflow("evaluate", trained.test, "--model", trained.model, "--site", "single.toml", "-o", "out.xyz")
    path = Path(trained.model) / "member-0" / "mace.model"
    frames, found = ase_io.read("out.xyz", ":"), {}
    for dtype in ("float32", "float64"):  # one after the other: MACE's calculator sets torch's default
        calc = calculator(path, dtype)
        found[dtype] = [numbers(atoms, calc) for atoms in frames]
    for atoms, (energy, forces) in zip(frames, found["float32"], strict=True):
        scale = float(np.sqrt(np.mean(forces**2)))
        assert atoms.arrays["model_forces"] == pytest.approx(forces, abs=1e-6 * scale)
        assert atoms.info["model_energy"] == pytest.approx(float(energy), rel=1e-6)
    differ = [abs(a[1] - b[1]).max() for a, b in zip(found["float32"], found["float64"], strict=True)]
    assert max(differ) > 1e-8, "both are computed in the same precision"


def test_show_says_what_the_files_say(trained, pair, psiflow):
    facts = toml.loads(Path(trained.model, "model.toml").read_text())
    metrics = json.loads(Path(trained.model, "metrics.json").read_text())["metrics"]["member-0"]
    known = json.loads(psiflow("model", "show", trained.model, "--json").stdout)
    assert {k: known[k] for k in ("family", "elements", "cutoff", "dtype", "trainer", "members")} == {
        "family": "mace", "elements": ["H", "O"], "cutoff": 4.0, "dtype": "float64", "trainer": facts["trainer"],
        "members": 1,
    }  # fmt: skip
    assert known["atomic_energies"] == facts["atomic_energies"]
    assert (known["data_sha256"], known["train_frames"]) == (facts["data_sha256"], facts["train_frames"])
    assert known["finished"] is True
    assert known["configuration"] == facts["configuration"]
    assert known["size"] == sum(p.stat().st_size for p in Path(trained.model).rglob("*") if p.is_file())
    (errors,) = known["errors"]
    assert errors["epoch"] == metrics["epoch"]
    assert errors["forces"] == {"rmse": metrics["rmse_f_meV_per_A"], "mae": metrics["mae_f_meV_per_A"]}
    text = psiflow("model", "show", trained.model).stdout
    for said in ("mace-torch", "H, O", "4 Å", "float64", facts["data_sha256"], f"{metrics['rmse_f_meV_per_A']:.3f}"):
        assert said in text
    assert "num_channels = 8" in text
    two = psiflow("model", "show", pair.model).stdout
    assert "2 (seeds 0, 7)" in two


def test_an_unfinished_model_is_said_to_be_one(trained, psiflow):
    shutil.copytree(trained.model, "part.model")
    toml_file = Path("part.model/model.toml")
    toml_file.write_text("unfinished = true\n" + toml_file.read_text())
    Path("part.model/metrics.json").unlink()
    assert json.loads(psiflow("model", "show", "part.model", "--json").stdout)["finished"] is False
    said = psiflow("model", "show", "part.model").stdout
    assert "stopped before the end after 30 epochs" in said
    assert "none are known" in said


def test_verify_names_what_differs(trained, pair, psiflow):
    assert "unchanged since it was written" in psiflow("model", "verify", pair.model).stderr
    shutil.copytree(pair.model, "copy.model")
    weights = [Path(f"copy.model/member-{i}/mace.model") for i in (0, 1)]
    data = bytearray(weights[0].read_bytes())
    data[len(data) // 2] ^= 1
    weights[0].write_bytes(data)
    weights[1].unlink()
    said = psiflow("model", "verify", "copy.model", code=65).stderr
    assert "copy.model/member-0/mace.model: not the weights" in said
    assert "copy.model/member-1/mace.model: missing" in said
    found = json.loads(psiflow("model", "verify", "copy.model", "--json", code=65).stdout)
    assert [("member-0" in w["message"]) for w in found["wrong"]] == [True, False]
    for command in (("show",), ("export", "--to", "mace")):
        assert "copy.model/member-0" in psiflow("model", *command, "copy.model", code=65).stderr
    shutil.copytree(trained.model, "other.model")
    (kept,) = Path("other.model/data").glob("train*")
    kept.write_bytes(kept.read_bytes() + b" ")
    assert "not the data" in psiflow("model", "verify", "other.model", code=65).stderr


LIGHT = """
import sys
from psiflow_cli.main import main
try:
    main(sys.argv[1:])
except SystemExit as end:
    assert not end.code
heavy = {"torch", "numpy", "ase", "mace", "parsl"} & {name.split(".")[0] for name in sys.modules}
sys.exit(f"imported {heavy}" if heavy else 0)
"""


@pytest.mark.parametrize("command", ["show", "verify"])
def test_looking_at_a_model_loads_nothing_heavy(trained, command):
    done = subprocess.run(
        [sys.executable, "-c", LIGHT, "model", command, trained.model], capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr


def test_an_exported_committee_is_an_ase_calculator_of_its_own(pair, psiflow_mace):
    """It is loaded without psiflow, where it lies, and gives what evaluate gives."""
    psiflow_mace("model", "export", pair.model, "--to", "ase", "-o", "pair-ase")
    assert "up to date" in psiflow_mace("model", "export", pair.model, "--to", "ase", "-o", "pair-ase").stderr
    frames = Path("bare.xyz").absolute()
    ase_io.write(frames, [atoms.copy() for atoms in pair.frames], format="extxyz", columns=["symbols", "positions"])
    argv = [sys.executable, "calculator.py", str(frames)]
    done = subprocess.run(argv, cwd="pair-ase", capture_output=True, text=True, timeout=200)
    assert done.returncode == 0, done.stderr
    rows = [line.split() for line in done.stdout.splitlines() if line.count(" ") == 1 and line[0] in "-0123456789"]
    assert len(rows) == len(pair.frames)
    for (energy, force), atoms in zip(rows, pair.frames, strict=True):
        assert float(energy) == pytest.approx(atoms.info["model_energy"], abs=2e-8)
        assert float(force) == pytest.approx(abs(atoms.arrays["model_forces"]).max(), abs=2e-6)


def test_the_plain_files_have_the_numbers_of_evaluate(pair, tmp_path):
    from psiflow_cli.models.mace.export import export

    made = []
    for index in (0, 1):
        (tmp_path / str(index)).mkdir()
        made.append(export([str(pair.model / f"member-{index}")], "mace", "model", str(tmp_path / str(index)), {}))
    plain = [calculator(Path(path)) for path in made]
    for atoms in pair.frames:
        energies, forces = by_hand(atoms, plain)
        assert atoms.info["model_energy"] == pytest.approx(energies.mean(), abs=1e-8)
        assert atoms.arrays["model_forces"] == pytest.approx(forces.mean(axis=0), abs=1e-8)


@pytest.mark.full
def test_what_lammps_loads_has_the_same_numbers(pair, members, tmp_path):
    """The file as pair_style mace uses it: neighbours in, energies of atoms and forces out."""
    import torch
    from mace import data
    from mace.tools import torch_geometric, torch_tools

    from psiflow_cli.models.mace.export import export

    context = {"scratch": str(tmp_path), "logs": str(tmp_path)}
    path = export([str(pair.model / "member-1")], "lammps", "libtorch", str(tmp_path), context)
    assert path.endswith("-lammps.pt")
    made = torch.jit.load(path)
    calc = members[1]
    for atoms in pair.frames[:2]:
        config = data.config_from_atoms(atoms.copy(), key_specification=data.KeySpecification())
        with torch_tools.default_dtype("float64"):
            graph = data.AtomicData.from_config(config, z_table=calc.z_table, cutoff=calc.r_max)
        batch = next(iter(torch_geometric.dataloader.DataLoader([graph], batch_size=1))).to_dict()
        batch["positions"].requires_grad_(True)
        batch = {name: value for name, value in batch.items() if isinstance(value, torch.Tensor)}
        out = made(batch, torch.ones(len(atoms), dtype=torch.float64))
        energy, forces = numbers(atoms, calc)
        assert out["total_energy_local"].item() == pytest.approx(energy, abs=1e-8)
        assert out["forces"].detach().numpy() == pytest.approx(forces, abs=1e-8)


def test_torch_sim_loads_what_is_for_it(trained, tmp_path):
    from psiflow_cli.models.mace.export import export

    path = export([str(Path(trained.model) / "member-0")], "torchsim", "model", str(tmp_path), {})
    assert Path(path).read_bytes() == (Path(trained.model) / "member-0" / "mace.model").read_bytes()
    torch_sim = pytest.importorskip("torch_sim", reason="torch-sim is not installed")
    import torch

    # MACE's own interface asks for torch-sim 0.4, which asks for Python 3.12; until then torch-sim has one.
    if hasattr(torch_sim.neighbors, "torchsim_nl"):
        from mace.calculators.mace_torchsim import MaceTorchSimModel

        model = MaceTorchSimModel(path, device=torch.device("cpu"))
    else:
        from torch_sim.models.mace import MaceModel

        whole = torch.load(path, map_location="cpu", weights_only=False)
        model = MaceModel(whole, device=torch.device("cpu"), dtype=torch.float64)
    atoms = next(a for a in ase_io.read(trained.test, ":") if a.pbc.all())
    state = torch_sim.io.atoms_to_state([atoms.copy()], torch.device("cpu"), torch.float64)
    assert model(state)["energy"].item() == pytest.approx(numbers(atoms, calculator(Path(path)))[0], abs=1e-8)


@pytest.mark.parametrize(
    ("arguments", "code", "what"),
    [
        (("show", "none.model"), 66, "none.model"),
        (("show", "in.xyz"), 65, "not a model bundle"),
        (("verify", "none.model"), 66, "none.model"),
        (("export", "{model}"), 2, "--to"),
        (("export", "{model}", "--to", "lamps"), 2, "lamps"),
        (("export", "{model}", "--to", "nequip"), 2, "mace exports to ase, lammps, mace, torchsim"),
        (("export", "{model}", "--to", "mace", "--format", "mliap"), 2, "mace has no such format"),
        (("export", "{model}", "--to", "mace", "--member", "2"), 2, "has members 0 to 1"),
        (("export", "{model}", "--to", "lammps"), 2, "--member 0"),
        (("export", "{model}", "--to", "ase", "-o", "-"), 2, "stdout"),
        (("export", "{model}", "--to", "mace", "--member", "0", "-o", "x.pt"), 2, ".model"),
        (("export", "{model}", "--to", "ase", "-o", "{model}"), 73, "is an input"),
        (("export", "{model}/member-0/mace.model", "--to", "mace"), 65, "--trust"),
    ],
)
def test_wrong_usage(psiflow, pair, arguments, code, what):
    Path("in.xyz").write_text("1\n\nH 0 0 0\n")
    before = sorted(Path().iterdir())
    done = psiflow("model", *(a.format(model=pair.model) for a in arguments), code=code)
    assert what in done.stderr
    assert len(done.stderr.splitlines()) <= 2
    assert sorted(Path().iterdir()) == before


def test_a_dry_run_says_what_and_makes_nothing(psiflow, pair):
    said = psiflow("model", "export", pair.model, "--to", "lammps", "--member", 1, "--dry-run", "--json").stdout
    assert json.loads(said) == {
        "command": "model-export", "up_to_date": False, "output": str(pair.model.with_name("pair-lammps.pt")),
        "target": "lammps", "format": "libtorch", "members": 1,
    }  # fmt: skip
    assert not pair.model.with_name("pair-lammps.pt.run").exists()
