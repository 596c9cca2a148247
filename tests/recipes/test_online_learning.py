"""The loop: errors that fall, a test set that stays apart, ends that are said, and a kill that leaves no trace."""

from __future__ import annotations

import itertools
import json
import os
import shutil
import signal
import subprocess
import time
from pathlib import Path

import pytest

from psiflow_cli import extxyz
from tests.recipes.conftest import LOOP, PROJECT, Learned, Recipe, made, prepare

pytest.importorskip("ase", reason="needs ase")


def rmse(folder: Path, number: int) -> float:
    rows = json.loads((folder / f"round-{number}" / "errors.json").read_text())["errors"]
    return next(float(row["rmse"]) for row in rows if row["quantity"] == "forces")


def ids(*files: Path) -> set[str]:
    return {extxyz.frame_id(frame, ()) for file in files for frame in extxyz.read(file)}


def test_the_error_falls_and_the_test_set_stays_apart(learned: Learned) -> None:
    folder, table = learned.folder, learned.stdout
    rounds = [folder / f"round-{k}" for k in range(2)]
    assert rmse(folder, 1) < rmse(folder, 0)
    assert [line.split()[0] for line in table.splitlines()[2:4]] == ["round-0", "round-1"]
    assert f"{rmse(folder, 1):.2f}" in table
    assert f"{rmse(folder, 1):.2f}" in (folder / "report.html").read_text()

    test = ids(folder / "test.xyz")
    used = ids(*(each / f"{part}.xyz" for each in rounds for part in ("train", "valid")))
    assert len(test) == 20
    assert not test & used
    assert len(used) == 12 + 10
    for before, after in itertools.pairwise(rounds):
        for part in ("train", "valid"):
            assert ids(after / f"{part}.xyz") == ids(before / f"{part}.xyz") | ids(after / f"labelled.{part}.xyz")


@pytest.mark.parametrize(
    ("changed", "said", "rounds"),
    [
        ("", "the last committee is", 2),
        ("TARGET=100000\n", "the target of 100000 meV/Å is reached", 1),
        ("ROUNDS=2\nGAIN=99%\nPATIENCE=1\n", "has not fallen by 99% in 1 rounds", 2),
    ],
)
def test_again_it_is_up_to_date_and_ends_where_it_is_told(
    learned: Learned, start: Path, cheap: dict[str, str], recipe: Recipe,
    changed: str, said: str, rounds: int,
) -> None:  # fmt: skip
    folder = learned.folder
    before = made(folder)
    (folder / "loop.conf").write_text(LOOP + changed)
    try:
        done = recipe("online-learning.sh", start, folder, env=cheap)
    finally:
        (folder / "loop.conf").write_text(LOOP)
    assert said in done.stderr
    assert done.stderr.count("is up to date") >= 4 + 5 * rounds
    assert "computed now" not in done.stderr
    assert done.stdout.count("\nround-") == rounds
    assert made(folder) == before


@pytest.mark.full
def test_killed_in_the_middle_it_comes_to_the_same_end(
    learned: Learned, start: Path, cheap: dict[str, str], recipe: Recipe, root: Path, tmp_path: Path
) -> None:
    folder = prepare(tmp_path / "loop")
    kill(root, cheap, start, folder, "round-1/labelled.xyz.run/journal.jsonl")
    assert not (folder / "round-1" / "committee.model").exists()
    done = recipe("online-learning.sh", start, folder, env=cheap)
    assert made(folder) == made(learned.folder)
    assert done.stdout == learned.stdout


def kill(root: Path, env: dict[str, str], start: Path, folder: Path, sign: str) -> None:
    """Start the loop, and end it with all its commands at once, by SIGKILL, as soon as there is a file."""
    command = [str(root / "recipes" / "online-learning.sh"), str(start), str(folder)]
    loop = subprocess.Popen(command, env=env, start_new_session=True, stderr=subprocess.DEVNULL)
    try:
        limit = time.monotonic() + 300
        while not (folder / sign).exists():
            assert loop.poll() is None, f"it ended before {sign}"
            assert time.monotonic() < limit, f"no {sign}"
            time.sleep(0.02)
    finally:
        os.killpg(loop.pid, signal.SIGKILL)
        loop.wait()


@pytest.mark.full
def test_killed_at_any_place_it_comes_to_the_same_end(
    learned: Learned, start: Path, cheap: dict[str, str], recipe: Recipe, root: Path, tmp_path: Path
) -> None:
    """After every sign of life of every command in turn."""
    folder = prepare(tmp_path / "loop")
    runs = sorted(learned.folder.glob("**/*.run/journal.jsonl"), key=lambda path: path.stat().st_mtime)
    assert len(runs) >= 15
    for sign in runs:
        if not (folder / sign.relative_to(learned.folder)).exists():
            kill(root, cheap, start, folder, str(sign.relative_to(learned.folder)))
    recipe("online-learning.sh", start, folder, env=cheap)
    assert made(folder) == made(learned.folder)


def test_what_ends_a_command_ends_the_loop(start: Path, cheap: dict[str, str], recipe: Recipe, tmp_path: Path) -> None:
    folder = prepare(tmp_path / "late")
    (folder / "psiflow.toml").write_text(PROJECT.replace("[label]\n", '[label]\ndeadline = "0.01 s"\n'))
    done = recipe("online-learning.sh", start, folder, env=cheap, code=75)
    assert "psiflow split" not in done.stderr
    wrong = prepare(tmp_path / "wrong", LOOP + "FROM=scratch\n")
    assert "FROM=scratch is not nothing or previous" in recipe(
        "online-learning.sh", start, wrong, env=cheap, code=78
    ).stderr  # fmt: skip
    for loop, code, what in (
        ("FIRST=0\n", 78, "FIRST=0 without DATA"),
        ("DATA=own.xyz\n", 66, "DATA=own.xyz: no such"),
        ("PLUMED=bias.dat\n", 66, "PLUMED=bias.dat: no such"),
        ("ROUND=3\n", 78, "ROUND: no such setting"),
        ("ROUNDS=three\n", 78, "ROUNDS=three is not a whole number"),
        ("CONTINUE=on\n", 78, "CONTINUE=on is not yes or no"),
        ("CONTINUE=yes\nRESET=200\n", 78, "RESET=200 is not of the form forces:200"),
        ("RESET=forces:200\n", 78, "RESET=forces:200 without CONTINUE=yes"),
        ("TEMPERATURE=100-500\n", 78, "TEMPERATURE=100-500 is not of the form 300 or 100:1000"),
        ("VARY=(AT=1:3)\n", 78, "VARY without PLUMED"),
        ("PLUMED=psiflow.toml\nVARY=(AT=1:3)\n", 78, "psiflow.toml does not contain @AT@"),
        ("ROUNDS=(1\n", 78, "bash cannot read it"),
    ):
        (wrong / "loop.conf").write_text(LOOP + loop)
        assert what in recipe("online-learning.sh", start, wrong, env=cheap, code=code).stderr
    recipe("online-learning.sh", tmp_path / "gone.xyz", wrong, env=cheap, code=66)
    recipe("online-learning.sh", env=cheap, code=2)


@pytest.mark.full
def test_data_and_a_test_set_of_ones_own_and_a_start_from_the_round_before(
    learned: Learned, start: Path, cheap: dict[str, str], recipe: Recipe, tmp_path: Path
) -> None:
    folder = prepare(tmp_path / "own", LOOP + "ROUNDS=1\nFIRST=0\nDATA=data.xyz\nFROM=previous\nBY=random\n")
    shutil.copy(learned.folder / "test.xyz", folder / "test.xyz")
    shutil.copy(learned.folder / "round-0" / "labelled.xyz", folder / "data.xyz")
    done = recipe("online-learning.sh", start, folder, env=cheap)
    assert "the test set is your own test.xyz" in done.stderr
    assert not (folder / "test.xyz.run").exists()
    assert not (folder / "round-0" / "selected.xyz").exists()
    first = [folder / "round-0" / f"{part}.xyz" for part in ("train", "valid")]
    assert ids(*first) == ids(folder / "data.xyz")
    assert (folder / "test.xyz").read_bytes() == (learned.folder / "test.xyz").read_bytes()
    facts = (folder / "round-1" / "committee.model" / "model.toml").read_text()
    assert "init = " in facts
