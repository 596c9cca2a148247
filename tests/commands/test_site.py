"""psiflow site: what is listed and shown, and which site a command runs on."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.commands.inputs import copper

THREADS = """description = "in this process"
[providers.here]
[resources.task]
[executors.default]
type = "threads"
provider = "here"
resources = "task"
[use]
default = "default"
"""


@pytest.fixture
def site(psiflow, monkeypatch, tmp_path):
    """`psiflow site ARGS` without the user's own configuration."""
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    return lambda *args, **options: psiflow("site", *args, **options)


def used(output):
    """The site that a run says it ran on."""
    return json.loads(Path(f"{output}.run", "run.json").read_text())["site"]


def test_list(site):
    listed = {row["name"]: row for row in json.loads(site("list", "--json").stdout)}
    assert Path(listed["local"]["path"]).is_file()
    assert listed["local"]["description"].startswith("This machine")
    Path("site.d").mkdir()
    Path("site.d/mine.toml").write_text(THREADS)
    Path("site.d/broken.toml").write_text("[providers\n")
    text = site("list").stdout
    assert "mine" in text
    assert "in this process" in text
    assert "broken: site.d/broken.toml:1: not valid TOML" in text
    Path("site.d/local.toml").write_text(THREADS)
    nearer = {row["name"]: row for row in json.loads(site("list", "--json").stdout)}
    assert nearer["local"]["path"] == "site.d/local.toml"


def test_show(site):
    shown = site("show").stdout
    path = shown.splitlines()[0].removeprefix("# ")
    assert Path(path).read_text().rstrip() in shown
    assert "# default: executor default:" in shown
    assert "# mace.train: executor training: 1 task(s) at once" in shown
    data = json.loads(site("show", "local", "--json").stdout)
    assert data["path"] == path
    assert data["site"]["use"]["default"] == "default"
    assert data["machine"]["cores"] >= 1
    assert data["machine"]["memory_mb"] > 100


def test_show_says_what_cannot_run_here(site):
    Path("big.toml").write_text(THREADS.replace("[resources.task]", "[resources.task]\ncores = 4000"))
    shown = site("show", "big").stdout
    assert "# default: [resources.task] cores: 4000 asked for" in shown


@pytest.mark.parametrize(
    ("name", "what", "hint"),
    [
        ("lokal", "no site named 'lokal'", "'local'"),
        ("./none.toml", "./none.toml: no such site file", "psiflow site list"),
        ("bad", "bad.toml: [executors.default] provder: unknown key", "'provider'"),
        ("torn", "torn.toml:1: not valid TOML", "psiflow-site(5)"),
    ],
)
def test_show_a_wrong_one(site, name, what, hint):
    Path("bad.toml").write_text(THREADS.replace("provider =", "provder ="))
    Path("torn.toml").write_text("[providers\n")
    said = site("show", name, code=78).stderr
    assert what in said
    assert hint in said
    assert len(said.strip().splitlines()) <= 2


def test_a_site_with_threads_gives_the_same_labels(psiflow):
    pytest.importorskip("ase", reason="the emt reference needs ase")
    Path("in.xyz").write_text(copper(4))
    Path("mine.toml").write_text(THREADS)
    psiflow("label", "in.xyz", "--reference", "emt", "-o", "threads.xyz", "--site", "mine")
    psiflow("label", "in.xyz", "--reference", "emt", "-o", "htex.xyz")
    assert Path("threads.xyz").read_bytes() == Path("htex.xyz").read_bytes()
    assert used("threads.xyz")["name"] == "mine"
    assert used("htex.xyz")["name"] == "local"


def test_where_the_site_comes_from(psiflow, monkeypatch):
    """The command line, then $PSIFLOW_SITE, then ./psiflow.toml, then local; its [defaults] come from the same."""
    pytest.importorskip("ase", reason="the emt reference needs ase")
    Path("in.xyz").write_text(copper(1))
    for name in ("one", "two", "three"):
        Path(f"{name}.toml").write_text(f'{THREADS}[defaults.label]\noutput = "{name}.xyz"\n')

    def name_of(output, *arguments):
        psiflow("label", "in.xyz", "--reference", "emt", *arguments)
        return used(f"{output}.xyz")["name"]

    Path("psiflow.toml").write_text('[label]\nsite = "two"\n')
    assert name_of("two") == "two"
    monkeypatch.setenv("PSIFLOW_SITE", "one")
    assert name_of("one") == "one"
    assert "in this process" in psiflow("site", "show").stdout
    assert name_of("three", "--site", "three") == "three"
    assert name_of("three", "--site=three.toml", "--overwrite") == "three.toml"
    monkeypatch.setenv("PSIFLOW_SITE", "oen")
    assert "no site named 'oen'" in psiflow("label", "in.xyz", "--reference", "emt", code=78).stderr


@pytest.mark.parametrize(
    ("project", "site", "what", "hint"),
    [
        ("[label]\nreferense = 'emt'\n", "", "psiflow.toml: [label] referense: unknown option", "'reference'"),
        ("[labl]\n", "", "psiflow.toml: [labl]: no such command", "'label'"),
        ("[label\n", "", "psiflow.toml:1: not valid TOML", ""),
        ("\n[label]\ndeadline = 12:00:00\n[train\n", "", "psiflow.toml:4: not valid TOML", ""),
        ("[label]\ndeadline = 24:00:00\n", "", "psiflow.toml:2: not valid TOML", "quoted"),
        ("label = 3\n", "", "psiflow.toml: label: must be a table", ""),
        ("", "[defaults.label]\nreferense = 'emt'\n", "mine.toml: [defaults.label] referense: unknown", "'reference'"),
        ("", "[defaults.labl]\nreference = 'emt'\n", "mine.toml: [defaults.labl]: no such command", "'label'"),
        ("", "[resources.more]\ncores = 4000\n[use2]\n", "mine.toml: use2: unknown key", "'use'"),
    ],
)
def test_wrong_defaults_end_before_anything_runs(psiflow, project, site, what, hint):
    Path("in.xyz").write_text(copper(1))
    if project:
        Path("psiflow.toml").write_text(project)
    Path("mine.toml").write_text(THREADS + site)
    said = psiflow("label", "in.xyz", "--reference", "emt", "--site", "mine", code=78).stderr
    assert what in said
    assert hint in said
    assert len(said.strip().splitlines()) <= 2
    assert not Path("in.labelled.xyz.run").exists()


def test_too_much_is_asked_for(psiflow):
    Path("in.xyz").write_text(copper(1))
    Path("mine.toml").write_text(THREADS.replace("[resources.task]", "[resources.task]\ncores = 4000"))
    said = psiflow("label", "in.xyz", "--reference", "emt", "--site", "mine.toml", code=78).stderr
    assert said.startswith("psiflow: mine.toml: [resources.task] cores: 4000 asked for")
    assert "hint" in said
