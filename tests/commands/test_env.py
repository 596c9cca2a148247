"""psiflow env: real environments, filled by the real pip with tiny packages; with MACE itself under --full."""

from __future__ import annotations

import fcntl
import json
import os
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest
from click.testing import CliRunner

from psiflow_cli.main import main
from psiflow_cli.site import environments
from psiflow_cli.stages.setup import install
from tests.commands.inputs import ATOMS, PSIFLOW, SMALL

TRAINER = ("mace", "torch", "ase")


def wheel(folder: Path, name: str, version: str, modules: tuple[str, ...], metadata: str = "") -> None:
    """The least that pip takes for a wheel, with empty packages in it."""
    folder.mkdir(exist_ok=True)
    info = f"{name}-{version}.dist-info"
    with zipfile.ZipFile(folder / f"{name}-{version}-py3-none-any.whl", "w") as archive:
        for module in modules:
            archive.writestr(f"{module.replace('.', '/')}/__init__.py", "")
        archive.writestr(f"{info}/METADATA", f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n{metadata}")
        archive.writestr(f"{info}/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
        archive.writestr(f"{info}/RECORD", "")


@pytest.fixture
def shop(tmp_path, monkeypatch):
    """A folder of wheels, all that pip sees: a stand-in for psiflow with its extra, for Parsl and for the trainer."""
    folder = tmp_path / "wheels"
    needs = "Provides-Extra: mace\nRequires-Dist: parsl\nRequires-Dist: trainer; extra == 'mace'\n"
    packages = ("psiflow_cli", "psiflow_cli.worker", "psiflow_cli.worker.pool")
    wheel(folder, "psiflow_standin", "1", (*packages, "psiflow_cli.worker.pool.call"), needs)
    wheel(folder, "parsl", environments.running()["parsl"], ("parsl",))
    wheel(folder, "trainer", "2", TRAINER)
    monkeypatch.setattr(install, "psiflow_itself", lambda _folder, extra: [f"psiflow_standin[{extra}]"])
    for name in [name for name in os.environ if name.startswith("PIP_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("PIP_CONFIG_FILE", os.devnull)
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(folder))
    return folder


@pytest.fixture
def env(tmp_path, monkeypatch):
    """`psiflow env ARGS` in this process, with an empty place for environments; returns what it said."""
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "data"))
    monkeypatch.chdir(tmp_path)

    def run(*args, code=0):
        done = CliRunner().invoke(main, ["env", *map(str, args)])
        assert done.exit_code == code, done.output
        assert "Traceback" not in done.stderr
        assert code == 0 or len(done.stderr.strip().splitlines()) <= 3, done.stderr
        return done

    return run


def listed(env):
    return {row["name"]: row for row in json.loads(env("list", "--json").stdout)}


@pytest.fixture
def place(tmp_path):
    return tmp_path / "data" / "psiflow" / "envs"


def test_create_list_remove(env, shop, place):
    made = json.loads(env("create", "mace", "--json").stdout)
    prefix = place / "mace"
    assert (made["prefix"], made["family"], made["matches"], made["up_to_date"]) == (str(prefix), "mace", True, False)
    inside = "import mace, torch, parsl, sys; print(sys.prefix, '%d.%d' % sys.version_info[:2])"
    said = subprocess.run([prefix / "bin" / "python", "-I", "-c", inside], capture_output=True, text=True, check=True)
    assert said.stdout.split() == [str(prefix), environments.running()["python"]]

    before = (prefix / environments.MARKER).stat()
    again = env("create", "mace", "--json")
    assert json.loads(again.stdout)["up_to_date"] is True
    assert "is up to date" in again.stderr
    assert (prefix / environments.MARKER).stat() == before
    assert "mace  mace, Python" in env("list").stdout
    assert listed(env)["mace"]["parsl"] == environments.running()["parsl"]

    # what a user has put there is not psiflow's to remove
    (prefix / "notes.txt").write_text("mine")
    assert "did not make it: notes.txt" in env("remove", "mace").stderr
    assert os.listdir(prefix) == ["notes.txt"]
    shutil.rmtree(prefix)
    assert listed(env) == {}
    assert "no environment named 'mace'" in env("remove", "mace", code=66).stderr
    assert list(place.iterdir()) == []


@pytest.mark.full
def test_what_a_failure_leaves_and_one_of_other_versions_are_made_anew(env, shop, place, monkeypatch):
    (shop / "trainer-2-py3-none-any.whl").rename(shop / "away")
    said = env("create", "mace", code=73).stderr
    assert "psiflow: pip failed: No matching distribution found for trainer" in said
    assert f"hint: complete output: {place / 'mace.psiflow-env.log'}" in said
    assert "from versions: none" in (place / "mace.psiflow-env.log").read_text()
    assert listed(env)["mace"]["problem"] == "unfinished"
    (shop / "away").rename(shop / "trainer-2-py3-none-any.whl")
    assert "unfinished" in env("create", "mace").stderr
    assert listed(env)["mace"]["matches"]

    stray = place / "mace" / "lib" / "stray"
    stray.write_text("")
    running = {**environments.running(), "parsl": "2099.1.1"}
    wheel(shop, "parsl", "2099.1.1", ("parsl",))
    monkeypatch.setattr(environments, "running", lambda: running)
    assert "Parsl" in listed(env)["mace"]["problem"]
    made = env("create", "mace", "--with", "trainer==2", "--json")
    assert "is made again: Parsl" in made.stderr
    assert json.loads(made.stdout)["parsl"] == "2099.1.1"
    assert not stray.exists()
    assert listed(env)["mace"]["matches"]


def test_one_that_cannot_import_its_trainer_is_not_finished(env, shop, place):
    wheel(shop, "trainer", "2", TRAINER[1:])
    said = env("create", "mace", code=73).stderr
    assert "trying it failed: ModuleNotFoundError: No module named 'mace'" in said
    assert listed(env)["mace"]["problem"] == "unfinished"
    env("remove", "mace")
    assert list(place.iterdir()) == []


def test_a_prefix_is_found_by_a_link(env, shop, place, tmp_path):
    prefix = tmp_path / "shared disk" / "mace"
    env("create", "mace", "--prefix", prefix)
    assert (place / "mace").is_symlink()
    assert listed(env)["mace"]["prefix"] == str(prefix)
    taken = env("create", "mace", "--prefix", tmp_path / "other", code=73).stderr
    assert f"mace is the name of the environment in {prefix}" in taken
    assert "--name" in taken
    shutil.rmtree(prefix)
    assert listed(env)["mace"]["problem"] == "its folder was deleted"
    env("remove", "mace")
    assert listed(env) == {}


@pytest.mark.parametrize("by_name", [True, False])
def test_a_folder_that_psiflow_did_not_make_is_left_alone(env, shop, place, tmp_path, by_name):
    folder = place / "mace" if by_name else tmp_path / "mine"
    folder.mkdir(parents=True)
    (folder / "precious").write_text("")
    said = env("create", "mace", *([] if by_name else ["--prefix", folder]), code=73).stderr
    assert f"{folder}: exists, and psiflow did not make it" in said
    if by_name:
        env("remove", "mace", code=73)
    assert listed(env) == {}
    assert os.listdir(folder) == ["precious"]


def test_another_command_is_making_it(env, shop, place):
    place.mkdir(parents=True)
    with (place / "mace.psiflow-env.log").open("w") as log:
        fcntl.flock(log, fcntl.LOCK_EX)
        assert "is being made by another command" in env("create", "mace", code=75).stderr
    assert not (place / "mace").exists()


@pytest.mark.parametrize(
    ("args", "code", "what"),
    [
        (["create", "maec"], 2, "did you mean 'mace'?"),
        (["create", "mace", "--name", "../up"], 2, "is not a valid name"),
        (["create", "mace", "--python", "/nowhere/python"], 2, "cannot run /nowhere/python"),
        (["create", "mace", "--python", "true"], 2, "true is Python ?, but the command runs on"),
        (["remove", "../.."], 66, "no environment named"),
    ],
)
def test_wrong_usage(env, place, args, code, what):
    assert what in env(*args, code=code).stderr
    assert not place.exists()


@pytest.fixture(scope="module")
def bare(tmp_path_factory, root):
    """The command in an environment with its own dependencies and no trainer, no ASE, no torch."""
    pytest.importorskip("hatchling", reason="needs the extra dev")
    folder = tmp_path_factory.mktemp("bare")
    subprocess.run([sys.executable, "-m", "venv", folder], check=True)
    pip = [folder / "bin" / "pip", "install", "-q", "-c", root / "constraints.txt"]
    done = subprocess.run([*pip, "-e", root], capture_output=True, text=True)
    if done.returncode:
        pytest.skip(f"pip cannot install psiflow here: {done.stderr.strip().splitlines()[-1]}")
    return folder / "bin" / "psiflow"


@pytest.mark.full
@pytest.mark.timeout(1200)
def test_train_and_evaluate_with_mace_in_an_environment_of_its_own(bare, tmp_path, monkeypatch):
    """From a command that has no MACE, to a trained model; about 3 minutes."""
    pytest.importorskip("tblite", reason="the labels come from the xtb reference")
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "data"))
    monkeypatch.chdir(tmp_path)
    Path("atoms.xyz").write_text(ATOMS)

    def run(program, *args, code=0):
        done = subprocess.run([program, *map(str, args)], capture_output=True, text=True)
        assert done.returncode == code, done.stderr
        return done

    water = "3\nProperties=species:S:1:pos:R:3\nO 0 0 0\nH 0.96 0 0\nH -0.24 0.93 0\n"
    Path("water.xyz").write_text(water)
    run(PSIFLOW, "rattle", "water.xyz", "-n", 12, "--amplitude", 0.05, "--seed", 1, "-o", "waters.xyz")
    run(PSIFLOW, "label", "waters.xyz", "atoms.xyz", "--reference", "xtb", "-o", "data.xyz")
    training = ("train", "data.xyz", "--arch", "mace", *SMALL, "--set", "max_num_epochs=2", "-o", "water.model")
    said = run(bare, *training, code=78).stderr
    assert "mace, torch and ase are not installed in" in said
    assert "hint: psiflow env create mace" in said
    run(bare, "env", "create", "mace")
    run(bare, *training)
    run(bare, "evaluate", "data.xyz", "--model", "water.model", "-o", "there.xyz")
    run(PSIFLOW, "evaluate", "data.xyz", "--model", "water.model", "-o", "here.xyz")
    assert Path("there.xyz").read_bytes() == Path("here.xyz").read_bytes()
    used = json.loads(Path("water.model.run", "run.json").read_text())
    assert used["command"] == "train"
