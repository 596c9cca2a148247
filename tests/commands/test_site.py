"""psiflow site: what is listed and shown, and which site a command runs on."""

from __future__ import annotations

import json
import os
import re
import venv
from importlib.util import find_spec
from pathlib import Path

import msgspec
import pytest
from click.testing import CliRunner

from psiflow_cli import toml
from psiflow_cli.main import main
from psiflow_cli.site import load
from tests.commands.inputs import copper
from tests.conftest import ROOT

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


def test_the_list_goes_on_past_what_cannot_be_read(site):
    Path("site.d").mkdir()
    Path("site.d/bytes.toml").write_bytes(b"\xff\xfe")
    Path("site.d/folder.toml").mkdir()
    Path("site.d/gone.toml").symlink_to("nowhere")
    Path("site.d/lost.toml").write_text('extends = "nobody"\n')
    rows = {row["name"]: row["description"] for row in json.loads(site("list", "--json").stdout)}
    assert rows["bytes"] == "broken: site.d/bytes.toml: not UTF-8 text (byte 0)"
    assert rows["lost"] == "broken: site.d/lost.toml: extends: no other site named 'nobody' (line 1)"
    assert not {"folder", "gone"} & set(rows)
    assert rows["local"].startswith("This machine")


def test_show(site):
    shown = site("show").stdout
    path = shown.splitlines()[0].removeprefix("# ")
    assert Path(path).is_file()
    assert "# default: executor default:" in shown
    assert "# mace.train: executor training: 1 task at once" in shown
    data = json.loads(site("show", "local", "--json").stdout)
    assert data["path"] == path
    assert data["site"]["use"]["default"] == "default"
    assert data["machine"]["cores"] >= 1
    assert data["machine"]["memory_mb"] > 100
    most = min(data["machine"]["cores"], data["machine"]["memory_mb"] // 4096)
    members = f"; up to {most} members of a committee at a time, which share the cores"
    assert data["machine"]["gpus"] or most < 2 or members in shown


def test_show_says_what_cannot_run_here(site):
    Path("big.toml").write_text(THREADS.replace("[resources.task]", "[resources.task]\ncores = 4000"))
    shown = site("show", "big").stdout
    assert "# default: [resources.task] cores: 4000 requested" in shown


SHIPPED = sorted(path.stem for path in (ROOT / "site.d").glob("*.toml"))


@pytest.mark.parametrize("name", SHIPPED)
def test_what_is_shown_is_the_site(tmp_path, name):
    """With what it extends and every default, and no more than that."""
    there = load.parse(ROOT / "site.d" / f"{name}.toml")
    done = CliRunner().invoke(main.commands["site"], ["show", str(ROOT / "site.d" / f"{name}.toml")])
    assert done.exit_code == 0, done.output
    (tmp_path / "shown.toml").write_text(done.stdout)
    assert load.parse(tmp_path / "shown.toml") == msgspec.structs.replace(there, extends="")
    data = toml.loads(done.stdout)
    assert data["run"]["retries"]["worker-lost"] == there.run.retries.worker_lost
    for label, executor in data["executors"].items():
        assert executor["idle_time"] == there.executors[label].idle_time


def test_what_a_site_extends_is_shown_in_it(site):
    Path("mine.toml").write_text('extends = "hortense"\nproviders.milan.account = "a1"\nrun.cache = false\n')
    shown = site("show", "mine").stdout
    assert shown.startswith("# mine.toml, which extends hortense\n")
    data = toml.loads(shown)
    assert data["providers"]["milan"]["account"] == "a1"
    assert data["providers"]["milan"]["cores_per_node"] == 128
    assert data["run"]["cache"] is False
    assert "extends" not in data


@pytest.mark.parametrize(
    ("name", "what", "hint"),
    [
        ("lokal", "no site named 'lokal'", "'local'"),
        ("./none.toml", "./none.toml: no such site file", "psiflow site list"),
        ("bad", "bad.toml: [executors.default] provder: unknown key", "'provider'"),
        ("torn", "torn.toml:1: not valid TOML", "psiflow-site(5)"),
        ("bytes", "bytes.toml: not UTF-8 text (byte 0)", "UTF-8"),
        ("./folder", "./folder: no such site file", "psiflow site list"),
    ],
)
@pytest.mark.parametrize("command", ["show", "check"])
def test_a_wrong_one(site, command, name, what, hint):
    Path("bytes.toml").write_bytes(b"\xff\xfe")
    Path("folder").mkdir()
    Path("bad.toml").write_text(THREADS.replace("provider =", "provder ="))
    Path("torn.toml").write_text("[providers\n")
    done = site(command, name, code=78)
    assert what in done.stderr
    assert hint in done.stderr
    assert len(done.stderr.strip().splitlines()) == 2
    assert done.stdout == ""


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_a_file_that_may_not_be_read(site):
    Path("mine.toml").write_text(THREADS)
    Path("mine.toml").chmod(0)
    assert "mine.toml: Permission denied" in site("show", "mine", code=78).stderr


def test_the_script_of_an_executor(site):
    Path("mine.toml").write_text('extends = "slurm"\nproviders.cpu.account = "a1"\n')
    assert "#SBATCH --account=a1" in site("show", "mine", "--script", "reference").stdout
    said = site("show", "mine", "--script", "refrence", code=2).stderr
    assert "no executor 'refrence' in this site" in said
    assert "'reference'" in said


def validator():
    """Of the schema that the command prints."""
    jsonschema = pytest.importorskip("jsonschema", reason="needs the extra dev")
    schema = json.loads(CliRunner().invoke(main.commands["site"], ["schema"]).stdout)
    jsonschema.Draft202012Validator.check_schema(schema)
    return jsonschema.Draft202012Validator(schema)


@pytest.mark.parametrize("name", SHIPPED)
def test_a_shipped_site_fits_the_schema(name):
    data = toml.loads((ROOT / "site.d" / f"{name}.toml").read_text())
    assert [error.message for error in validator().iter_errors(data)] == []


@pytest.mark.parametrize(
    ("text", "fits"),
    [
        ('extends = "hortense"\nproviders.milan.account = "x"\n', True),
        ('[providers.a]\ntype = "slurm"\npartitoin = "x"\n', False),
        ('[providers.a]\ntype = "slrm"\n', False),
        ("[resources.a]\ncores = 0\n", False),
        ('[resources.a]\ncores = "some"\n', False),
        ("[ressources.a]\n", False),
        ("[run.retries]\nworker-lost = 1\n", True),
    ],
)
def test_the_schema_finds_what_the_command_would(text, fits):
    assert validator().is_valid(toml.loads(text)) is fits


def test_check_says_what_it_looks_at(site):
    Path("mine.toml").write_text(THREADS)
    done = site("check", "mine")
    assert (done.stdout, done.stderr) == ("default: good\n", "psiflow: checking mine.toml\n")
    assert site("check", "mine", "-q").stderr == ""
    done = site("check", "./mine.toml", "--json", "--submit")
    assert json.loads(done.stdout) == [{"executor": "default", "problem": ""}]


@pytest.mark.parametrize(
    ("line", "what"),
    [
        ("cores = 4000", "[resources.task] cores: 4000 requested, but this process may use"),
        ('executable = "no-such-program"', "'no-such-program' was not found"),
        ('launch = "no-such-launcher -n {ranks}"', "'no-such-launcher' was not found"),
        ("gpus = 99", "[resources.task] gpus: 99 requested"),
    ],
)
def test_what_is_wrong_is_said_before_anything_runs(site, line, what):
    Path("mine.toml").write_text(THREADS.replace("[resources.task]", f"[resources.task]\n{line}"))
    done = site("check", "mine", "--submit", code=78)
    assert done.stdout.startswith(f"default: {what}")
    assert len(done.stdout.splitlines()) == 1
    assert "no job was submitted" in done.stderr


def test_a_family_without_an_environment_is_named(site, tmp_path):
    """The Python of the workers is a bare one, which has nothing that MACE needs."""
    venv.create(tmp_path / "bare", symlinks=True)
    more = f'mace.train = "default"\n[environments.bare]\nprefix = "{tmp_path}/bare"\n'
    text = THREADS.replace('type = "threads"', 'environment = "bare"') + more
    Path("mine.toml").write_text(text)
    said = site("check", "mine", code=78).stdout.splitlines()
    assert f"default: {tmp_path}/bare/bin/python has no parsl" in said
    hint = "psiflow env create mace"
    assert f"default: mace: mace, torch and ase are not installed in {tmp_path}/bare: {hint}" in said


@pytest.mark.skipif(find_spec("nequip") is not None, reason="nequip is installed")
def test_a_family_that_is_not_installed_here_is_a_note(site, monkeypatch, tmp_path):
    """A machine has the families that its user wants, and the shipped sites name them all."""
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "data"))
    text = THREADS.replace('"threads"', '"htex"') + 'nequip.train = "default"\n'
    Path("mine.toml").write_text(text)
    first, second = site("check", "mine").stdout.splitlines()
    assert first == "default: good"
    assert second.startswith("default: note: nequip: nequip")
    assert second.endswith(": psiflow env create nequip")
    rows = json.loads(site("check", "mine", "--json").stdout)
    assert [(row["executor"], row["problem"]) for row in rows] == [("default", "")] * 2
    assert [row.get("note") for row in rows] == [None, second.removeprefix("default: note: ")]


@pytest.fixture
def nothing(monkeypatch):
    """No SLURM answers, and no program of MPI or CP2K is found."""
    monkeypatch.setenv("PATH", "/nonexistent")


def test_init_without_slurm_is_this_machine(site, nothing):
    done = site("init", "--json")
    assert done.stderr.startswith(
        "psiflow: SLURM was not found (sinfo is not installed here): this site uses only this machine\n"
    )
    made = json.loads(done.stdout)
    assert made["cluster"] == ""
    data = toml.loads(Path(made["path"]).read_text())
    assert data["providers"] == {"here": {"type": "local"}}
    assert data["use"]["default"] == "default"
    name, text = Path(made["path"]).stem, Path(made["path"]).read_text()
    Path(made["path"]).write_text(re.sub(r"(?m)^mace\..*\n", "", text))  # which would take its time to be imported
    checked = site("check", name).stdout.splitlines()
    assert [line for line in checked if ": note: " not in line] == [
        f"{label}: good" for label in ("default", "reference", "model", "training")
    ]
    assert "site: note: [executors.model]: not used by any line of [use]" in checked
    assert site("show", name).returncode == 0


def test_init_to_stdout_writes_no_file(site, nothing):
    done = site("init", "-o", "-")
    assert toml.loads(done.stdout)["executors"]["default"]["provider"] == "here"
    assert list(Path().iterdir()) == []
    assert "stdout is already used for the site file" in site("init", "-o", "-", "--json", code=2).stderr


def test_init_destroys_nothing(site, nothing):
    Path("mine.toml").write_text("precious")
    assert "mine.toml: exists already" in site("init", "-o", "mine.toml", code=73).stderr
    assert Path("mine.toml").read_text() == "precious"
    site("init", "-o", "mine.toml", "--overwrite", "-q")
    assert "[providers.here]" in Path("mine.toml").read_text()
    assert "no/such/mine.toml: No such file" in site("init", "-o", "no/such/mine.toml", code=73).stderr
    Path("folder").mkdir()
    assert "folder: is a directory" in site("init", "-o", "folder", "--overwrite", code=73).stderr
    assert sorted(path.name for path in Path().iterdir()) == ["folder", "mine.toml"]


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
        ("[label]\ndeadline = 24:00:00\n", "", "psiflow.toml:2: not valid TOML", "quote durations"),
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
    assert said.startswith("psiflow: mine.toml: [resources.task] cores: 4000 requested")
    assert "hint" in said
