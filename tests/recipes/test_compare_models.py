"""Families on the same data, with the real trainers: one table, without the family that is not installed."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest

from tests.commands.inputs import ATOMS, WATER
from tests.commands.test_nequip import ENVIRONMENT, SITE
from tests.recipes.conftest import Recipe

pytest.importorskip("mace", reason="needs the extra mace")
TINY = {
    "mace": "r_max = 3.0\nmax_num_epochs = 2\nbatch_size = 4\nnum_channels = 4\nmax_L = 0\ncorrelation = 1\n",
    "nequip": "r_max = 3.0\nmax_epochs = 2\nbatch_size = 4\nnum_layers = 1\nnum_features = 4\n",
    "allegro": "r_max = 3.0\nmax_epochs = 2\nbatch_size = 4\nnum_layers = 1\nnum_tensor_features = 4\n",
}


def prepare(folder: Path) -> tuple[Path, Path, dict[str, str]]:
    """Data, a folder with tiny settings, and an environment with the real psiflow and no environments of workers."""
    labelled = []
    for i in range(20):
        atoms = WATER.replace("pos:R:3", "pos:R:3:forces:R:3").replace("pbc", f"energy={-14.0 + 0.01 * i} pbc")
        lines = atoms.replace("0.96", f"{0.9 + 0.005 * i:.3f}").splitlines()
        labelled += [*lines[:2], *(f"{line} 0.1 0.0 0.0" for line in lines[2:])]
    energies = iter(("energy=-0.5 ", "energy=-13.0 "))
    single = "".join(part + next(energies, "") for part in ATOMS.replace("pbc", "\0pbc").split("\0"))
    (folder / "data.xyz").write_text("\n".join(labelled) + "\n" + single)
    (folder / "compared").mkdir()
    for family, settings in TINY.items():
        (folder / "compared" / f"{family}.toml").write_text(settings)
    path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
    env = {**os.environ, "PATH": path, "XDG_DATA_HOME": str(folder / "none")}
    env.pop("PSIFLOW_SITE", None)
    return folder / "data.xyz", folder / "compared", env


@pytest.mark.full
def test_a_family_that_is_not_installed_is_left_out(recipe: Recipe, tmp_path: Path) -> None:
    from importlib.util import find_spec

    if find_spec("nequip"):
        pytest.skip("nequip is installed beside mace")
    data, folder, env = prepare(tmp_path)
    done = recipe("compare-models.sh", data, folder, env={**env, "FAMILIES": "mace nequip"})
    assert "nequip is skipped" in done.stderr
    assert "psiflow env create nequip" in done.stderr
    assert [line.split()[:2] for line in done.stdout.splitlines()[2:]] == [["mace/errors.json", "2"]]
    none = recipe("compare-models.sh", data, folder, env={**env, "FAMILIES": "nequip"}, code=78)
    assert "none of these families can be trained here: nequip" in none.stderr
    wrong = recipe("compare-models.sh", data, folder, env={**env, "FAMILIES": "mace nekwip"}, code=2)
    assert "nequip" in wrong.stderr


@pytest.mark.full
@pytest.mark.skipif(not (ENVIRONMENT / "bin" / "python").exists(), reason="no environment .venv-nequip")
def test_three_families_in_one_table(recipe: Recipe, tmp_path: Path) -> None:
    data, folder, env = prepare(tmp_path)
    site = tmp_path / "site.toml"
    site.write_text(SITE)
    done = recipe("compare-models.sh", data, folder, env={**env, "PSIFLOW_SITE": str(site)})
    assert [line.split()[0] for line in done.stdout.splitlines()[2:]] == ["mace", "nequip", "allegro"]
    again = recipe("compare-models.sh", data, folder, env={**env, "PSIFLOW_SITE": str(site)})
    assert again.stderr.count("is up to date") == 7
    assert again.stdout == done.stdout
