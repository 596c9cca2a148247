"""A site on top of another one: the account goes into a file of the user's own."""

from __future__ import annotations

from pathlib import Path

import pytest

from psiflow_cli.errors import BadConfig
from psiflow_cli.site import load


@pytest.fixture
def sites(tmp_path, monkeypatch):
    """An empty working directory with a site.d."""
    monkeypatch.chdir(tmp_path)
    Path("site.d").mkdir()
    return Path("site.d")


def test_a_file_of_the_same_name_changes_one_line(sites):
    (sites / "slurm.toml").write_text('extends = "slurm"\n[providers.cpu]\naccount = "2026_001"\n')
    shipped = load.parse(load.folders()[-1] / "slurm.toml")
    mine = load.load("slurm")
    assert mine.providers["cpu"].account == "2026_001"
    assert mine.providers["cpu"].partition == shipped.providers["cpu"].partition
    assert mine.executors == shipped.executors


def test_shipped_sites_hold_no_account():
    for path in load.folders()[-1].glob("*.toml"):
        for provider in load.parse(path).providers.values():
            assert not getattr(provider, "account", ""), path


@pytest.mark.parametrize(
    ("text", "what"),
    [
        ('extends = "slrum"\n', "'slrum'"),
        ('extends = "one"\n', "no other site named 'one'"),
        ("extends = 3\n", "extends"),
        ('extends = "local"\n[resources.singlepoint]\nrnaks = 2\n', r"\[resources.singlepoint\] rnaks"),
        ('extends = "./one.toml"\n', "refers back to itself"),
    ],
)
def test_mistakes_are_named(sites, text, what):
    (sites / "one.toml").write_text(text)
    with pytest.raises(BadConfig, match=what):
        load.load("one")
