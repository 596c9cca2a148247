"""What the workers' environment lacks is said before anything runs, and by --dry-run: of tasks, and of each option."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests import warm
from tests.commands import springs
from tests.commands.inputs import PSIFLOW

SITE = springs.SITE.replace('"threads"', '"htex"\nenvironment = "other"') + '[environments.other]\nprefix = "{}"\n'
MODEL = ("--model", "springs.model")


def asked_of(folder, has):
    """A stand-in for the Python of an environment with these modules: all that is asked is which ones it lacks."""
    python = folder / "bin" / "python"
    python.parent.mkdir(parents=True)
    python.write_text(f'#!/bin/sh\nshift 2\nfor m; do case $m in {"|".join(has)}) ;; *) echo "$m" ;; esac; done\n')
    python.chmod(0o755)


@pytest.mark.parametrize(
    ("words", "module", "needs"),
    [
        (("label", "--reference", "emt"), "ase", "the reference emt"),
        (("atomic-energies", "--reference", "emt"), "ase", "the reference emt"),
        (("evaluate", *MODEL, "--plot", "x.png"), "matplotlib", "--plot"),
        (("relax", *MODEL, "--keep-symmetry", "--cell", "isotropic"), "spglib", "--keep-symmetry"),
        (("phonons", *MODEL, "--supercell", "2,2,2"), "phonopy", "--supercell"),
        (("sample", *MODEL, "--engine", "ase", "--plot", "x.png"), "matplotlib", "--plot"),
        (("sample", *MODEL, "--engine", "ase", "--properties", "x.parquet"), "pyarrow", "--properties"),
        (("sample", *MODEL, "--engine", "ipi", "--beads", "2"), "ipi", "--engine ipi"),
        (("select", "--by", "farthest", "-n", "1", "--descriptor", "soap"), "dscribe", "--descriptor soap"),
        (("train", "--arch", "mace", "--e0s", "{1: 0, 8: 0}"), "matplotlib", "the learning curve"),
    ],
)
def test_a_missing_package_is_told(tmp_path, monkeypatch, words, module, needs):
    monkeypatch.chdir(tmp_path)
    springs.bundle(Path("springs.model"))
    asked_of(tmp_path / "other", {"ase", "mace", "torch"} - {module})
    Path("site.toml").write_text(SITE.format(tmp_path / "other"))
    labelled = springs.START.replace("pos:R:3", "pos:R:3:forces:R:3 energy=1")
    labelled = "".join(line + " 0 0 0" * line.startswith(("O", "H")) + "\n" for line in labelled.splitlines())
    Path("in.xyz").write_text(labelled + labelled.replace("0.96", "0.97"))
    program = springs.__file__ if "springs.model" in words else PSIFLOW
    before = sorted(Path().iterdir())  # a run says so in its run directory
    for more in ("--dry-run",), ():
        done = warm.server().run([program, words[0], "in.xyz", *words[1:], "--site", "site.toml", *more])
        assert done.returncode == 78, done.stderr
        assert f"{needs} needs {module}, which is not installed in the workers' environment" in done.stderr
        assert sorted(Path().iterdir()) == before or not more
