"""What is sent to another machine, and how a command line reads there."""

from __future__ import annotations

import os
import subprocess

import click
import pytest

from psiflow_cli import defaults
from psiflow_cli.errors import NoInput
from psiflow_cli.main import main
from psiflow_cli.remote import arguments, inputs, record, ssh


def parsed(*words):
    root = click.Context(main, info_name="psiflow")
    context = main.commands[words[0]].make_context(words[0], list(words[1:]), parent=root)
    typed = context.meta[defaults.ARGUMENTS]
    return typed, arguments.named(context, typed)


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    monkeypatch.delenv("PSIFLOW_SITE", raising=False)
    work = tmp_path / "work"
    work.mkdir()
    monkeypatch.chdir(work)
    for name in ("data.xyz", "cp2k.inp", "mace", "../other.xyz"):
        (work / name).write_text("")
    return work


def test_paths_of_here_become_those_of_the_mirror(folder):
    other = folder.parent / "other.xyz"
    words = ["label", "data.xyz", str(other), "../other.xyz", "--reference=mace", f"-o{folder}/out.xyz"]
    words += ["--set", f"a={folder}/cp2k.inp", "--site", "local", "--deadline=2h", f"--input={folder}/cp2k.inp"]
    typed, paths = parsed(*words)
    assert arguments.for_other_machine(typed, paths, "/far") == [
        *("data.xyz", f"/far{other}", "../other.xyz", "--reference=mace", f"-o/far{folder}/out.xyz"),
        *("--set", f"a=/far{folder}/cp2k.inp", f"--input=/far{folder}/cp2k.inp"),
    ]
    assert inputs.gather(paths.inputs) == sorted(
        [str(other), *(str(folder / name) for name in ("cp2k.inp", "data.xyz", "mace"))]
    )
    assert arguments.table_there({"label": {"input": f"{folder}/cp2k.inp", "n": 1}}, paths, "/far") == {
        "label": {"input": f"/far{folder}/cp2k.inp", "n": 1}
    }
    said = f'{{"a": "/f\\u00e4r{folder}/x", "b": "/other"}} /fär{folder}/y'
    assert record.with_local_paths(said, "/fär") == f'{{"a": "{folder}/x", "b": "/other"}} {folder}/y'


def test_a_folder_named_like_a_word_stays_here(folder):
    (folder / "emt").mkdir()
    assert parsed("label", "data.xyz", "--reference", "emt")[1].inputs == ["data.xyz"]
    assert parsed("label", "-", "--reference", "emt")[1].stdin
    with pytest.raises(NoInput, match=r"no\.xyz: no such file"):
        parsed("label", "no.xyz", "--reference", "emt")
    os.mkfifo(folder / "pipe.xyz")
    with pytest.raises(NoInput, match=r"pipe\.xyz: is not a regular file"):
        inputs.gather(["pipe.xyz"])


def test_files_that_files_name_go_along(folder):
    (folder / "deep" / "pseudo").mkdir(parents=True)
    (folder / "deep" / "a.model").mkdir()
    for name in ("deep/basis", "deep/pseudo/H.UPF", "deep/a.model/model.toml", "unused", "deep/run.recover.toml"):
        (folder / name).write_text("")
    absolute = folder.parent / "absolute"
    absolute.write_text("")
    (folder / "include.inc").write_text("BASIS_SET_FILE_NAME basis\n")
    (folder / "deep" / "run.inp").write_text(
        f"@INCLUDE 'include.inc'\n BASIS_SET_FILE_NAME ./basis ! unused.\npseudo_dir='./pseudo/',\nH 1.0 H.UPF\n"
        f"model: [a.model]\n{absolute}\n../data.xyz\n. .. /\n"
    )
    wanted = ("data.xyz", "deep/a.model", "deep/basis", "deep/pseudo/H.UPF", "deep/run.inp", "deep/run.recover.toml")
    assert inputs.gather(["deep/run.inp"]) == [str(folder / name) for name in (*wanted, "include.inc", "unused")]
    link = folder / "link"
    link.symlink_to(folder / "deep" / "pseudo")
    assert inputs.gather(["link/../basis"]) == [str(folder / "deep" / "basis")]


def test_nothing_that_the_user_names_is_read_by_a_shell(folder):
    home = folder / "it's home"
    home.mkdir()
    program = home / 'p $(touch oops) "x"'
    program.write_text('#!/bin/sh\nprintf "%s\\n" "$@"\n')
    program.chmod(0o755)
    words = ["a b", "it's", "$HOME", "`touch oops`", "ä;touch oops", "*", "--", ""]
    for name in (str(program), "~/" + program.name, "$PLACE/" + program.name, "${PLACE}/" + program.name):
        line = ssh.line(name, words)
        environment = {**os.environ, "HOME": str(home), "PLACE": str(home)}
        done = subprocess.run(["sh", "-c", line], env=environment, capture_output=True, text=True, check=True)
        assert done.stdout.splitlines()[-len(words) :] == words
    assert not (folder / "oops").exists()
