"""Which environment serves a family, by what the folders say; none is made here (see tests/commands/test_env.py)."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest

from psiflow_cli.errors import BadConfig
from psiflow_cli.site import environments, load, resolve
from psiflow_cli.stages.setup import install
from tests.site.sites import SITE, machine


@pytest.fixture
def place(tmp_path, monkeypatch):
    """An empty place for environments."""
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path))
    return tmp_path / "psiflow" / "envs"


@pytest.fixture
def lacks(monkeypatch):
    """Take packages out of the command's own process."""

    def take(*names):
        monkeypatch.setattr(environments, "_has", lambda module: module not in names)

    return take


def make(place: Path, name: str, **changed) -> Path:
    """A folder that looks like a finished environment."""
    facts = {"family": name, "finished": "2026-01-01", "modules": ["ase", "mace", "torch"], **environments.running()}
    (place / name / "bin").mkdir(parents=True)
    python = place / name / "bin" / "python"
    python.symlink_to(sys.executable)
    (place / name / environments.MARKER).write_text(json.dumps({**facts, **changed}))
    return python


def test_the_place(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("XDG_DATA_HOME", "relative")
    assert environments.folder() == tmp_path / ".local" / "share" / "psiflow" / "envs"
    monkeypatch.setenv("XDG_DATA_HOME", "/somewhere")
    assert environments.folder() == Path("/somewhere/psiflow/envs")
    monkeypatch.delenv("XDG_DATA_HOME")
    monkeypatch.delenv("HOME")  # as in a cron job with an empty environment
    assert environments.folder().is_absolute()


def test_the_command_itself_is_preferred(place, lacks):
    lacks()
    make(place, "mace")
    assert environments.python_for("mace", "htex") == sys.executable
    assert environments.python_for("default", "htex") == sys.executable


def test_the_environment_of_the_family_is_found(place, lacks):
    lacks("mace", "torch")
    python = make(place, "mace")
    assert environments.python_for("mace", "htex") == str(python)


def test_an_environment_that_has_what_a_reference_needs(place, lacks):
    lacks("ase", "tblite")
    make(place, "another", modules=["torch"])
    python = make(place, "mace")
    assert environments.python_for("cp2k", "htex") == str(python)
    with pytest.raises(BadConfig, match="tblite and ase are not installed in") as caught:
        environments.python_for("xtb", "htex")
    assert "-m pip install tblite ase" in caught.value.hint
    assert "psiflow env create mace --with tblite, or" in caught.value.hint


def test_one_of_an_older_psiflow_that_has_it_is_made_anew_as_it_was(place, lacks):
    lacks("ase", "tblite")
    make(place, "mace", modules=["ase", "mace", "tblite"], code="/elsewhere", **{"with": ["chemiscope", "tblite"]})
    with pytest.raises(BadConfig, match="the environment mace: made by another version of psiflow") as caught:
        environments.python_for("xtb", "htex")
    assert caught.value.hint == "psiflow env create mace --with chemiscope --with tblite"


def test_none_is_there(place, lacks):
    lacks("mace")
    with pytest.raises(BadConfig, match="mace is not installed in") as caught:
        environments.python_for("mace", "htex")
    assert caught.value.hint == "psiflow env create mace"
    assert caught.value.exit_code == 78


@pytest.mark.parametrize(
    ("changed", "why"),
    [
        ({"python": "3.7"}, "Python 3.7, not"),
        ({"parsl": "2024.1.1"}, "Parsl 2024.1.1, not"),
        ({"code": "/elsewhere"}, "made by another version of psiflow"),
        ({"finished": False}, "unfinished"),
        ({"modules": ["ase"]}, ""),
    ],
)
def test_one_that_does_not_fit_is_not_used(place, lacks, changed, why):
    lacks("mace")
    make(place, "mace", **changed)
    with pytest.raises(BadConfig) as caught:
        environments.python_for("mace", "htex")
    assert ("; the environment mace: " in caught.value.message) == bool(why)
    assert why in caught.value.message


def test_one_whose_python_is_gone(place, lacks):
    lacks("mace")
    make(place, "mace").unlink()
    with pytest.raises(BadConfig, match="its Python was deleted"):
        environments.python_for("mace", "htex")


def test_threads_run_in_the_command_itself(place, lacks):
    lacks("mace")
    make(place, "mace")
    with pytest.raises(BadConfig, match="which threads use"):
        environments.python_for("mace", "threads")


def test_a_site_uses_what_it_finds_unless_it_names_a_prefix(place, lacks, tmp_path):
    lacks("mace", "ase")
    python = make(place, "mace")
    path = tmp_path / "mine.toml"
    path.write_text(SITE.replace('prefix = ""', f'prefix = "{sys.prefix}"'))
    site = load.parse(path)
    assert resolve.executor_of(site, "mace", "train", machine()).python == str(python)
    assert resolve.executor_of(site, "cp2k", "label", machine()).python == str(Path(sys.prefix) / "bin" / "python")


def test_the_pins(monkeypatch):
    running = {**environments.running(), "parsl": "2099.1.1"}
    monkeypatch.setattr(environments, "running", lambda: running)
    pins = install.constraints().splitlines()
    assert pins.count("parsl==2099.1.1") == 1
    assert len([pin for pin in pins if pin.startswith("parsl")]) == 1
    assert [pin for pin in pins if pin.startswith("torch==")]
    freed = install.constraints(("torch==2.6.0+cu124", "Opt_Einsum>=3")).splitlines()
    assert set(pins) - set(freed) == {p for p in pins if p.startswith(("torch==", "opt_einsum=="))}
    assert [pin for pin in freed if pin.startswith("torch-ema")]
