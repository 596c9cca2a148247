"""Completion as the shells ask for it, and in a real bash."""

from __future__ import annotations

import os
import shlex
import shutil
import subprocess
from pathlib import Path

import pytest
from click.testing import CliRunner

from psiflow_cli import errors
from psiflow_cli.main import main
from tests.commands.inputs import PSIFLOW
from tests.commands.terminal import Terminal


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """Two bundles and two runs, and what is neither."""
    monkeypatch.chdir(tmp_path)
    for name in ("water.model", "round-1/committee.model", "round-1/deep/er/still/too.model"):
        Path(name).mkdir(parents=True)
        Path(name, "model.toml").touch()
    for name in ("labels.xyz.run", "round-1/train.run"):
        Path(name).mkdir(parents=True)
        Path(name, "run.json").touch()
    Path("start.xyz").touch()
    return tmp_path


def complete(*words):
    """What bash is told: (kind, text) of each."""
    environment = {**os.environ, "_PSIFLOW_COMPLETE": "bash_complete", "COMP_CWORD": str(len(words))}
    environment["COMP_WORDS"] = " ".join(["psiflow", *words])
    done = subprocess.run([PSIFLOW], env=environment, capture_output=True, text=True, check=True)
    return [tuple(line.split(",", 1)) for line in done.stdout.splitlines()]


@pytest.mark.parametrize(
    ("words", "wanted"),
    [
        (("rel",), ["relax"]),
        (("sample", "--temp"), ["--temperature"]),
        (("select", "x.xyz", "--by", "far"), ["farthest"]),
        (("label", "x.xyz", "--site", "hor"), ["hortense"]),
        (("site", "show", "lum"), ["lumi"]),
        (("train", "x.xyz", "--arch", "al"), ["allegro"]),
        (("label", "x.xyz", "--reference", "cp"), ["cp2k"]),
        (("label", "x.xyz", "--reference", "wat"), ["water.model"]),
        (("sample", "x.xyz", "--model", "w"), ["water.model"]),
        (("sample", "x.xyz", "--model", "round-1/"), ["round-1/committee.model"]),
        (("model", "show", ""), ["round-1/committee.model", "water.model"]),
        (("status", "l"), ["labels.xyz.run"]),
        (("cancel", "round"), ["round-1/train.run"]),
        (("clean", "./lab"), ["labels.xyz.run"]),
    ],
)
def test_names_that_are_known(folder, words, wanted):
    assert complete(*words) == [("plain", name) for name in wanted]


@pytest.mark.parametrize(
    "words", [("label", "st"), ("label", "x.xyz", "-o", "st"), ("sample", "--model", "st"), ("label", "--site", "./st")]
)
def test_anything_else_is_a_file(folder, words):
    assert complete(*words) == [("file", words[-1])]


def test_a_folder_is_one(folder):
    assert complete("label", "x.xyz", "--run-dir", "ro") == [("dir", "ro")]


def install(folder, *words, code=0, **environment):
    """`psiflow completion install` with its HOME in a folder; what it says."""
    home = {"HOME": str(folder), "SHELL": "/bin/bash", "XDG_DATA_HOME": "", "XDG_CONFIG_HOME": "", **environment}
    done = CliRunner(env=home).invoke(main, ["completion", "install", *words])
    assert done.exit_code == code, done.stderr
    return done.stderr


@pytest.mark.parametrize(
    ("shell", "place"),
    [
        ("bash", ".local/share/bash-completion/completions/psiflow"),
        ("zsh", ".local/share/zsh/site-functions/_psiflow"),
        ("fish", ".config/fish/completions/psiflow.fish"),
    ],
)
def test_a_file_is_installed_and_none_of_another_s_replaced(folder, shell, place):
    path = folder / place
    assert f"wrote {path}" in install(folder, SHELL=f"/usr/bin/{shell}")
    text = path.read_text()
    assert "up to date" in install(folder, shell.upper())
    path.write_text(text.replace("psiflow_completion", "older"))
    assert "wrote" in install(folder, shell)
    assert path.read_text() == text
    path.write_text("mine")
    assert "psiflow did not write it" in install(folder, shell, code=errors.CANNOT_CREATE)
    assert path.read_text() == "mine"
    path.unlink()
    path.symlink_to(folder / "start.xyz")
    install(folder, shell, code=errors.CANNOT_CREATE)
    install(folder, shell, "--overwrite")
    assert path.read_text() == text
    assert (folder / "start.xyz").read_text() == ""
    assert "give one of bash, zsh, fish" in install(folder, SHELL="/bin/tcsh", code=2)


def test_bash_itself(folder):
    install(folder, "bash")
    script = (
        f"source {folder}/.local/share/bash-completion/completions/psiflow"
        + """
COMP_WORDS=(psiflow sample start.xyz --model wa) COMP_CWORD=4 COMPREPLY=()
_psiflow_completion psiflow
printf "%s\\n" "${COMPREPLY[@]}"
complete -p psiflow
"""
    )
    path = f"{Path(PSIFLOW).parent}:{os.environ['PATH']}"
    done = subprocess.run(
        ["bash", "-c", script], env={**os.environ, "PATH": path}, capture_output=True, text=True, check=True
    )
    assert done.stdout.splitlines()[0] == "water.model"
    assert "_psiflow_completion psiflow" in done.stdout


TYPED = [
    ("psiflow rel", "relax"),
    ("psiflow sample --temp", "--temperature"),
    ("psiflow label x.xyz --site hor", "hortense"),
    ("psiflow sample start.xyz --model wa", "water.model"),
    ("psiflow status lab", "labels.xyz.run"),
    ("psiflow label st", "start.xyz"),
]


@pytest.mark.parametrize(("typed", "wanted"), TYPED)
def test_fish_itself(folder, typed, wanted):
    if not shutil.which("fish"):
        pytest.skip("fish is not installed")
    script = f"_PSIFLOW_COMPLETE=fish_source psiflow | source; complete -C {shlex.quote(typed)}"
    path = f"{Path(PSIFLOW).parent}:{os.environ['PATH']}"
    done = subprocess.run(
        ["fish", "--no-config", "-c", script], env={**os.environ, "PATH": path, "HOME": str(folder)},
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert [line.split("\t")[0] for line in done.stdout.split("\n") if line] == [wanted]


def test_zsh_itself(folder):
    if not shutil.which("zsh"):
        pytest.skip("zsh is not installed")
    path = f"{Path(PSIFLOW).parent}:{os.environ['PATH']}"
    shell = Terminal("-f", "-i", program="zsh", columns=200, PATH=path, HOME=str(folder), PS1="> ", TERM="dumb")
    ready = 'eval "$(_PSIFLOW_COMPLETE=zsh_source psiflow)"'
    shell.type(f"autoload -Uz compinit; compinit -u -D; {ready}; echo rea''dy\n")
    shell.read_until("ready\n")
    for typed, wanted in TYPED:
        shell.text = ""
        shell.type(f"{typed}\t")
        shell.read_until(f"{typed.rpartition(' ')[0]} {wanted}")
        shell.type("\x15")  # the line is done with
    shell.type("exit\n")
    assert shell.end()[0] == 0
