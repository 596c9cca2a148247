"""psiflow evaluate: predictions equal the model by hand, errors equal numpy's, and models nobody vouches for."""

from __future__ import annotations

import csv
import json
import os
import pickle
import shutil
import struct
from pathlib import Path

import pytest

from tests import warm
from tests.commands import springs
from tests.commands.inputs import PSIFLOW, WATER

np = pytest.importorskip("numpy")
ase_io = pytest.importorskip("ase.io", reason="the frames are read with ase")
pytest.importorskip("mace", reason="mace-torch is not installed")
pytestmark = pytest.mark.usefixtures("in_threads")

FOREIGN = (
    '2\nProperties=species:S:1:pos:R:3:forces:R:3 energy=-5 note=foreign pbc="F F F"\nN 0 0 0 1 0 0\nO 1.1 0 0 0 0 0\n'
)


@pytest.fixture(scope="module")
def evaluated(trained, threads, tmp_path_factory):
    """A folder with in.xyz (labelled, with and without periodicity, one foreign frame) and what evaluate made of it."""
    folder = tmp_path_factory.mktemp("evaluated")
    frames = ase_io.read(trained.test, ":")
    assert {atoms.pbc.all() for atoms in frames} == {np.True_, np.False_}
    for index, atoms in enumerate(frames):
        atoms.info["config_type"] = ("cold", "hot phase")[index % 2]
        atoms.info["index"] = index
    ase_io.write(folder / "in.xyz", frames, format="extxyz")
    bare = WATER.replace("pbc=", "index=99 model_energy=-1 failure=crashed pbc=")  # without labels, evaluated before
    with (folder / "in.xyz").open("a") as stream:
        stream.write(FOREIGN + bare)
    arguments = ["evaluate", "in.xyz", "--model", trained.model, "--plot", "parity.png", "-o", "out.xyz", "--json"]
    done = warm.server("mace.calculators").run([PSIFLOW, *arguments, "--site", threads], cwd=folder)
    assert done.returncode == 1, done.stderr
    (folder / "said.json").write_text(done.stdout)
    (folder / "stderr").write_text(done.stderr)
    return folder


@pytest.fixture(scope="module")
def calculator(trained):
    from mace.calculators import MACECalculator

    path = str(Path(trained.model) / "member-0" / "mace.model")
    return MACECalculator(model_paths=path, device="cpu", default_dtype="float64")


def known(folder, name="out.xyz"):
    return [atoms for atoms in ase_io.read(folder / name, ":") if atoms.info.get("note") != "foreign"]


def test_predictions_equal_the_model_by_hand(evaluated, calculator):
    for atoms in known(evaluated):
        info, forces = atoms.info, atoms.arrays["model_forces"]
        atoms.calc = calculator
        assert info["model_energy"] == pytest.approx(atoms.get_potential_energy(), abs=1e-8)
        assert forces == pytest.approx(atoms.get_forces(), abs=1e-8)
        if atoms.pbc.all():
            assert info["model_stress"] == pytest.approx(atoms.get_stress(voigt=False), abs=1e-8)
            assert abs(info["model_stress"]).max() > 1e-4
        else:
            assert "model_stress" not in info
        assert "model_energy_std" not in info


def test_labels_and_the_rest_stay(evaluated):
    before, after = (ase_io.read(evaluated / name, ":") for name in ("in.xyz", "out.xyz"))
    assert [a.info.get("index") for a in after] == [a.info.get("index") for a in before], "the order changed"
    for old, new in zip(before, after, strict=True):
        assert (old.positions == new.positions).all()
        assert (old.cell.array == new.cell.array).all()
        assert new.info.get("config_type") == old.info.get("config_type")
        if old.calc is None:
            assert new.calc is None
            continue
        assert new.get_potential_energy() == old.get_potential_energy()
        assert (new.get_forces() == old.get_forces()).all()
        if old.pbc.all():
            assert (new.get_stress() == old.get_stress()).all()
    assert "failure" not in after[-1].info, "a failure of an earlier evaluation stayed"


def test_a_foreign_frame_keeps_its_place_and_says_why(evaluated):
    (foreign,) = [a for a in ase_io.read(evaluated / "out.xyz", ":") if a.info.get("note") == "foreign"]
    assert foreign.info["failure"] == "invalid-input"
    assert "N" in foreign.info["failure_message"]
    assert "model_energy" not in foreign.info
    assert "model_forces" not in foreign.arrays
    said = json.loads((evaluated / "said.json").read_text())
    assert (said["total"], said["failed"], said["failures"]) == (13, 1, {"invalid-input": 1})
    stderr = (evaluated / "stderr").read_text()
    assert "1 of 13 failed: 1 invalid-input" in stderr
    assert "the model does not know N" in stderr


def by_numpy(frames):
    """{(quantity, by, group): (RMSE, MAE, max, count)} in meV/atom, meV/Å and MPa."""
    from ase.units import GPa

    found = {}
    for by, group, chosen in (
        ("all", "", frames),
        *(
            ("config_type", name, [a for a in frames if a.info["config_type"] == name])
            for name in ("cold", "hot phase")
        ),
    ):
        energy = [(a.info["model_energy"] - a.get_potential_energy()) / len(a) for a in chosen]
        forces = np.concatenate([(a.arrays["model_forces"] - a.get_forces()).ravel() for a in chosen])
        stress = [
            (a.info["model_stress"] - a.get_stress(voigt=False))[np.triu_indices(3)] for a in chosen if a.pbc.all()
        ]
        found["energy", by, group] = 1e3 * np.array(energy)
        found["forces", by, group] = 1e3 * forces
        if stress:
            found["stress", by, group] = np.concatenate(stress) / GPa * 1e3
    for element in ("H", "O"):
        parts = [(a.arrays["model_forces"] - a.get_forces())[a.symbols == element].ravel() for a in frames]
        found["forces", "element", element] = 1e3 * np.concatenate(parts)
    return {key: (np.sqrt(np.mean(d**2)), np.mean(abs(d)), abs(d).max(), len(d)) for key, d in found.items()}


def test_the_errors_equal_numpys(evaluated):
    said = json.loads((evaluated / "said.json").read_text())
    expected = by_numpy([atoms for atoms in known(evaluated) if atoms.calc is not None])
    rows = {(r["quantity"], r["by"], r["group"]): (r["rmse"], r["mae"], r["max"], r["count"]) for r in said["errors"]}
    assert rows.keys() == expected.keys()
    for key, row in rows.items():
        assert row == pytest.approx(expected[key], rel=1e-7), key  # ASE's GPa is that of CODATA 2014
    units = {row["quantity"]: row["unit"] for row in said["errors"]}
    assert units == {"energy": "meV/atom", "forces": "meV/Å", "stress": "MPa"}
    lines = said["table"].splitlines()
    assert max(map(len, lines)) <= 80
    assert f"{expected['forces', 'all', ''][0]:.3f}" in next(line for line in lines if line.startswith("forces"))


def test_the_plot_is_an_image_of_sensible_size(evaluated):
    data = (evaluated / "parity.png").read_bytes()
    assert data.startswith(b"\x89PNG\r\n\x1a\n")
    width, height = struct.unpack(">II", data[16:24])
    assert 1200 < width < 4000  # three panels
    assert 400 < height < 3000  # a row for the elements, too
    assert 20_000 < len(data) < 2_000_000
    assert json.loads((evaluated / "said.json").read_text())["plot"] == "parity.png"


def test_again_is_up_to_date_with_the_same_code(evaluated, trained, psiflow):
    again = psiflow(
        *("evaluate", "in.xyz", "--model", trained.model, "--plot", "parity.png", "-o", "out.xyz"),
        code=1,
        cwd=evaluated,
    )
    assert "up to date" in again.stderr
    assert again.stdout.rstrip() == json.loads((evaluated / "said.json").read_text())["table"], "there is no table"
    listed = psiflow("status", "out.xyz", "--failures", cwd=evaluated).stdout
    assert "the model does not know N" in listed
    assert "12/13" in listed or "13/13" in listed


def test_nothing_that_the_model_knows(psiflow, trained):
    Path("in.xyz").write_text(FOREIGN.replace("O ", "Cl "))
    said = psiflow("evaluate", "in.xyz", "--model", trained.model, code=65).stderr
    assert "Cl, N" in said
    assert "knows H, O" in said
    assert not Path("in.evaluated.xyz.run").exists()


def copied(trained, name="copy.model"):
    shutil.copytree(trained.model, name)
    return Path(name)


def test_tampered_weights_are_refused(psiflow, trained):
    Path("in.xyz").write_text(WATER)
    weights = copied(trained) / "member-0" / "mace.model"
    data = bytearray(weights.read_bytes())
    data[len(data) // 2] ^= 1
    weights.write_bytes(data)
    for command in ("evaluate", "sample"):
        said = psiflow(command, "in.xyz", "--model", "copy.model", code=65).stderr
        assert "copy.model/member-0/mace.model" in said
        assert "sha256" in said
    weights.unlink()
    assert "missing" in psiflow("evaluate", "in.xyz", "--model", "copy.model", code=65).stderr


class Evil:
    """What a pickle can do to whoever loads it."""

    def __reduce__(self):
        return os.system, ("touch pwned",)


@pytest.mark.parametrize("name", ["mace.model", "more.model"])
def test_a_malicious_model_is_never_run(psiflow, trained, tmp_path, name):
    """In the weights' place, or beside them."""
    Path("in.xyz").write_text(WATER)
    folder = copied(trained)
    (folder / "member-0" / name).write_bytes(pickle.dumps(Evil()))
    pickle.loads(pickle.dumps(Evil()))
    assert Path("pwned").exists(), "this test can see nothing"
    Path("pwned").unlink()
    for arguments in (("status",), ("status", "copy.model"), ("--help",), ("evaluate", "--help"), ("site", "show")):
        psiflow(*arguments)
    psiflow("label", "in.xyz", "--reference", "emt")
    for command in ("evaluate", "sample"):
        assert "copy.model/member-0" in psiflow(command, "in.xyz", "--model", "copy.model", code=65).stderr
        psiflow(command, "in.xyz", "--model", str(folder / "member-0" / name), code=65)
    assert not list(tmp_path.rglob("pwned"))
    assert not Path(trained.model, "pwned").exists()


@pytest.mark.parametrize(
    ("arguments", "code", "what"),
    [
        ((), 2, "--model"),
        (("--model", "none.model"), 66, "none.model"),
        (("--model", "in.xyz"), 65, "in.xyz: neither a model bundle nor a model file"),
        (("--model", "{model}", "--keys", "energi=E"), 2, "'energy'"),
        (("--model", "{model}", "--keys", "energy=E"), 65, "in.xyz:1: frame 1: no key 'E'"),
        (("--model", "{model}", "--plot", "none/parity.png"), 73, "none"),
        (("--model", "{model}", "--plot", "in.xyz"), 2, "in.xyz"),
        (("--model", "{model}", "--json", "-o", "-"), 2, "--json"),
    ],
)
def test_wrong_usage(psiflow, trained, arguments, code, what):
    Path("in.xyz").write_text(WATER)
    said = psiflow("evaluate", "in.xyz", *(a.format(model=trained.model) for a in arguments), code=code).stderr
    assert what in said
    assert len(said.strip().splitlines()) <= 2


def test_several_files_have_rows_and_the_table_is_never_among_frames(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    springs.bundle(Path("springs.model"))
    Path("threads.toml").write_text(springs.SITE)
    labelled = springs.START.replace("Lattice", "energy={} Lattice")
    Path("a.xyz").write_text(labelled.format(0.003))
    Path("a/long/way").mkdir(parents=True)
    far = "a/long/way/to-a-file.xyz"
    Path(far).write_text(labelled.format(-0.006) + labelled.format(0.0))

    def evaluate(*arguments, code=0):
        words = [springs.__file__, "evaluate", "a.xyz", far, "--model", "springs.model", *arguments]
        done = warm.server().run([*words, "--site", "threads.toml"])
        assert done.returncode == code, done.stderr
        return done

    done = evaluate("-o", "out.xyz", "--table", "errors.csv")
    rows = list(csv.DictReader(Path("errors.csv").read_text().splitlines()))
    assert [(row["by"], row["group"], row["count"]) for row in rows] == [
        ("all", "", "3"), ("file", "a.xyz", "1"), ("file", far, "2"),
    ]  # fmt: skip
    errors = [float(row["rmse"]) for row in rows]
    assert errors == pytest.approx([1e3 * np.sqrt(5e-6 / 3), 1.0, 1e3 * np.sqrt(2e-6)], rel=1e-6)
    assert [line.split()[0] for line in done.stdout.splitlines()[1:]] == ["energy", "a.xyz", far]
    assert done.stderr.endswith("out.xyz, errors.csv\n")
    assert evaluate("-o", "out.xyz", "--table", "errors.csv", "-q").stdout == done.stdout, "it is up to date"
    streamed = evaluate("-o", "-")
    assert streamed.stdout == Path("out.xyz").read_text()
    assert done.stdout in streamed.stderr
    assert "--json and frames cannot both go to stdout" in evaluate("-o", "-", "--json", code=2).stderr


def test_what_a_library_prints_in_a_thread_is_not_on_stdout(psiflow, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("cu.xyz").write_text("2\n\nCu 0 0 0\nCu 2.5 0 0\n")
    Path("noisy.py").write_text(
        "import os\n\ndef calculator(member=None, context=None):\n    from ase.calculators.emt import EMT\n\n"
        '    print("a library")\n    os.write(1, b"in C\\n")\n    return EMT()\n'
    )
    done = psiflow("evaluate", "cu.xyz", "--model", "./noisy.py", "-o", "out.xyz", "--json")
    assert json.loads(done.stdout)["total"] == 1
    assert "a library\n" in done.stderr
    assert "in C\n" in done.stderr
