"""psiflow label as a user meets it: outputs, running again, faults, exit codes."""

from __future__ import annotations

import gzip
import json
import signal
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

import pytest

from tests.commands.inputs import PSIFLOW, alive, copper

ase_io = pytest.importorskip("ase.io", reason="the emt reference needs ase")
pytestmark = pytest.mark.usefixtures("in_threads")
SLOW = Path(__file__).with_name("slow_reference.py")


def calls(run_dir):
    return Path(run_dir, "logs", "calls").read_text().split()


@pytest.mark.usefixtures("in_workers")
def test_labels_are_what_ase_gives(psiflow):
    from ase.calculators.emt import EMT

    Path("in.xyz").write_text(copper(5))
    psiflow("label", "in.xyz", "--reference", "emt")
    out = ase_io.read("in.labelled.xyz", ":")
    for before, after in zip(ase_io.read("in.xyz", ":"), out, strict=True):
        before.calc = EMT()
        assert after.get_potential_energy() == pytest.approx(before.get_potential_energy(), abs=1e-12)
        assert after.get_forces() == pytest.approx(before.get_forces(), abs=1e-12)
        assert after.get_stress() == pytest.approx(before.get_stress(), abs=1e-12)
        assert after.info["psiflow_reference"].startswith("emt-")
        assert len(after.info["psiflow_id"]) == 16
        assert "EMT" in after.info["psiflow_code"]
    assert not Path("in.labelled.failed.xyz").exists()
    assert Path("in.labelled.xyz.run").stat().st_mode & 0o777 == 0o700


def test_what_the_reference_does_not_read_is_said(psiflow):
    """Charge, multiplicity and moments that would make another label of them."""
    with_moments = (
        copper(2).replace("pos:R:3", "pos:R:3:initial_magmoms:R:1").replace("Properties", "charge=2 Properties")
    )
    text = "\n".join(f"{line} 1.0" if line.startswith("Cu ") else line for line in with_moments.splitlines())
    Path("in.xyz").write_text(f"{text}\n")
    told = psiflow("label", "in.xyz", "--reference", "emt").stderr
    for name in ("charge", "initial_magmoms"):
        assert f"frames with {name}: 2; the reference emt does not read this" in told
    assert "multiplicity" not in told
    Path("in.xyz").write_text(text.replace("charge=2", "charge=half").replace("magmoms:R:1", "magmoms:S:1") + "\n")
    assert "frames with charge: 2" in psiflow("label", "in.xyz", "--reference", "emt", "--dry-run").stderr


def test_an_input_with_other_atoms_than_all_frames_is_refused_before_anything_runs(psiflow):
    """If they are needed: its own atoms say which copper has the basis of Cu1."""
    geometry = "geometry\n Cu 0 0 0\n Cu1 0 0 2\nend\n"
    basis = "basis\n Cu library sto-3g\n Cu1 library 6-31g\nend\ntask scf\n"
    Path("cu.nw").write_text("title x\n" + geometry + basis)
    Path("in.xyz").write_text(copper(2).replace("T T T", "F F F"))
    told = psiflow("label", "in.xyz", "--reference", "nwchem", "--input", "cu.nw", code=65).stderr
    assert (
        "cu.nw:2: none of the frames matches: the input has several kinds of Cu (Cu, Cu1), but the atoms of its" in told
    )
    assert "hint: give the input the atoms of the frames" in told


def test_running_again_computes_only_what_is_new(psiflow):
    Path("in.xyz").write_text(copper(3))
    psiflow("label", "in.xyz", "--reference", SLOW)
    first = Path("in.labelled.xyz").read_bytes()
    again = psiflow("label", "in.xyz", "--reference", SLOW, "-v")
    assert "up to date" in again.stderr
    assert "in.labelled.xyz.run/logs" in again.stderr  # also of a finished run, which may have failed
    assert len(calls("in.labelled.xyz.run")) == 3
    Path("in.xyz").write_text(copper(3) + copper(1, 0).replace("Cu 0.0 0.0 0.0", "Cu 0.7 0.0 0.0"))
    psiflow("label", "in.xyz", "--reference", SLOW)
    assert len(calls("in.labelled.xyz.run")) == 4
    assert Path("in.labelled.xyz").read_bytes().startswith(first)
    psiflow("label", "in.xyz", "--reference", SLOW, "--set", "seconds=0.01")
    assert len(calls("in.labelled.xyz.run")) == 8
    psiflow("label", "in.xyz", "--reference", SLOW)
    assert len(calls("in.labelled.xyz.run")) == 8  # the old labels are kept under their own fingerprint


def test_equal_frames_are_computed_once(psiflow):
    Path("in.xyz").write_text(copper(1) * 3)
    psiflow("label", "in.xyz", "--reference", SLOW)
    assert len(calls("in.labelled.xyz.run")) == 1
    assert len(ase_io.read("in.labelled.xyz", ":")) == 3


@pytest.mark.usefixtures("in_workers")
def test_kill_and_the_same_command_again(psiflow, start, threads):
    Path("in.xyz").write_text(copper(10))
    arguments = ("label", "in.xyz", "--reference", SLOW, "--set", "seconds=0.4")
    psiflow(*arguments, "-o", "whole.xyz", "--site", threads)
    process = start(*arguments, "-o", "killed.xyz")
    journal = Path("killed.xyz.run/journal.jsonl")
    deadline = time.monotonic() + 60
    while not journal.exists() or journal.read_text().count('"kind":"unit"') < 3:
        assert time.monotonic() < deadline
        time.sleep(0.05)
    process.send_signal(signal.SIGKILL)
    process.wait()
    finished = [json.loads(line)["id"] for line in journal.read_text().splitlines() if '"kind":"unit"' in line]
    assert not Path("killed.xyz").exists()
    deadline = time.monotonic() + 10
    while alive(str(Path.cwd() / "killed.xyz.run")):
        assert time.monotonic() < deadline, "processes are left 10 s after kill -9"
        time.sleep(0.2)
    assert json.loads(psiflow("status", "killed.xyz", "--json").stdout)[0]["state"] == "dead"
    psiflow(*arguments, "-o", "killed.xyz")
    counted = Counter(calls("killed.xyz.run"))
    assert all(counted[unit] == 1 for unit in finished)
    assert Path("killed.xyz").read_bytes() == Path("whole.xyz").read_bytes()
    assert "up to date" in psiflow(*arguments, "-o", "killed.xyz").stderr


@pytest.mark.usefixtures("in_workers")
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGUSR1, signal.SIGINT])
def test_signals_stop_in_order(psiflow, start, number):
    Path("in.xyz").write_text(copper(40))
    process = start("label", "in.xyz", "--reference", SLOW, "--set", "seconds=0.3", "-o", "out.xyz")
    journal = Path("out.xyz.run/journal.jsonl")
    deadline = time.monotonic() + 60
    while not journal.exists() or '"kind":"unit"' not in journal.read_text():
        assert time.monotonic() < deadline
        time.sleep(0.05)
    process.send_signal(number)
    begin = time.monotonic()
    _, said = process.communicate(timeout=20)
    assert process.returncode == (130 if number == signal.SIGINT else 75)
    assert time.monotonic() - begin < 8  # the contract's 5 s, and what a busy machine adds
    assert number.name in said
    assert not Path("out.xyz").exists()
    assert json.loads(psiflow("status", "out.xyz", "--json").stdout)[0]["state"] == "partial"
    assert not alive(str(Path.cwd() / "out.xyz.run"))


def test_the_deadline_stops_in_order(psiflow):
    Path("in.xyz").write_text(copper(60))
    done = psiflow("label", "in.xyz", "--reference", SLOW, "--set", "seconds=0.5", "--deadline", "6s", code=75)
    assert "deadline" in done.stderr


def test_two_commands_on_one_output(psiflow, start):
    Path("in.xyz").write_text(copper(20))
    arguments = ("label", "in.xyz", "--reference", SLOW, "--set", "seconds=0.3", "-o", "out.xyz")
    first = start(*arguments)
    while not Path("out.xyz.run/run.json").exists():
        time.sleep(0.05)
    refused = psiflow(*arguments, code=75)
    assert str(first.pid) in refused.stderr
    assert len(refused.stderr.strip().splitlines()) <= 2


def test_the_hint_says_why_the_first_frame_of_a_class_failed(psiflow):
    water = '3\nProperties=species:S:1:pos:R:3 pbc="F F F"\nO 0 0 0\nH {} 0 0\nH 0 0.96 0\n'
    Path("in.xyz").write_text("".join(map(water.format, (0.96, 0.02, 0.03))))
    why = "O (atom 1) and H (atom 2) are 0.020 Å apart"
    for _ in range(2):  # the second is up to date
        done = psiflow("label", "in.xyz", "--reference", "emt", "-o", "out.xyz", "--max-failed", "2", "--json")
        summary = json.loads(done.stdout)
        assert (summary["failures"], summary["failed_hint"]) == ({"invalid-input": 2}, why)
        assert f"hint: {why}; psiflow status" in done.stderr


@pytest.mark.full
@pytest.mark.usefixtures("in_workers")
def test_faults_end_in_the_failed_file(psiflow):
    def one(x):
        return copper(1).replace("Cu 0.0 0.0 0.0", f"Cu {x}.0 0.0 0.0")

    Path("in.xyz").write_text(
        copper(2) + one(101) + one(102) + one(103) + copper(1, 0).replace("1.8 1.8 0.0", "1.8 1.9 0.0")
    )
    done = psiflow("label", "in.xyz", "--reference", SLOW, "-o", "out.xyz", code=1)
    assert "3 of 6 failed" in done.stderr
    assert len(ase_io.read("out.xyz", ":")) == 3
    failed = ase_io.read("out.failed.xyz", ":")
    assert [f.info["failure"] for f in failed] == ["worker-lost", "crashed", "out-of-memory"]
    assert "OnlyHere" in failed[1].info["failure_message"]
    listed = json.loads(psiflow("status", "out.xyz", "--failures", "--json").stdout)[0]
    assert listed["failed"] == 3
    assert {f["failure"] for f in listed["failures"]} == {"worker-lost", "crashed", "out-of-memory"}
    before = len(calls("out.xyz.run"))
    psiflow("label", "in.xyz", "--reference", SLOW, "-o", "out.xyz", "--max-failed", "3")
    tried_again = calls("out.xyz.run")[before:]
    assert set(tried_again) == {failed[0].info["psiflow_id"], failed[2].info["psiflow_id"]}


def test_only_own_outputs_are_replaced(psiflow):
    Path("in.xyz").write_text(copper(1))
    Path("out.xyz").write_text("mine\n")
    refused = psiflow("label", "in.xyz", "--reference", "emt", "-o", "out.xyz", code=73)
    assert "--overwrite" in refused.stderr
    assert Path("out.xyz").read_text() == "mine\n"
    assert not Path("out.xyz.run").exists()
    psiflow("label", "in.xyz", "--reference", "emt", "-o", "out.xyz", "--overwrite")
    with Path("out.xyz").open("a") as stream:
        stream.write(copper(1))
    psiflow("label", "in.xyz", "--reference", "emt", "-o", "out.xyz", code=73)
    psiflow("label", "in.xyz", "--reference", "emt", "-o", "in.xyz", code=73)
    assert Path("in.xyz").read_text() == copper(1)


def test_pipes_json_and_compression(psiflow):
    piped = psiflow("label", "-", "--reference", "emt", stdin=copper(2))
    again = psiflow("label", "-", "--reference", "emt", stdin=copper(2))
    assert again.stdout == piped.stdout
    assert "up to date" in again.stderr
    assert piped.stdout.count("psiflow_id=") == 2
    psiflow("label", "-", "--reference", "emt", "--json", stdin=copper(2), code=2)
    with gzip.open("in.xyz.gz", "wt") as stream:
        stream.write(copper(2))
    said = json.loads(psiflow("label", "in.xyz.gz", "--reference", "emt", "--json").stdout)
    assert said["labelled"] == 2
    assert gzip.decompress(Path("in.labelled.xyz.gz").read_bytes()).decode() == piped.stdout
    Path("POSCAR").write_text("Cu\n1.0\n3.6 0 0\n0 3.6 0\n0 0 3.6\nCu\n4\nDirect\n0 0 0\n.5 .5 0\n.5 0 .5\n0 .5 .5\n")
    psiflow("label", "POSCAR", "--reference", "emt", "-o", "poscar.xyz")
    assert len(ase_io.read("poscar.xyz")) == 4


def test_dry_run_writes_nothing(psiflow):
    Path("in.xyz").write_text(copper(3))
    said = json.loads(psiflow("label", "in.xyz", "--reference", "emt", "--dry-run", "--json").stdout)
    assert said["todo"] == 3
    assert said["executor"] == "default (local)"
    assert said["core_hours"] is None, "nothing tells what it takes"
    assert [p.name for p in Path().iterdir()] == ["in.xyz"]


def test_defaults_come_from_the_project_and_the_site(psiflow):
    Path("in.xyz").write_text(copper(1))
    Path("psiflow.toml").write_text('[label]\nreference = "emt"\noutput = "project.xyz"\n')
    psiflow("label", "in.xyz")
    assert Path("project.xyz").exists()
    site = Path(PSIFLOW).parent
    shown = json.loads(psiflow("site", "show", "--json").stdout)
    Path("mine.toml").write_text(Path(shown["path"]).read_text() + '\n[defaults.label]\noutput = "site.xyz"\n')
    Path("psiflow.toml").write_text('[label]\nreference = "emt"\n')
    psiflow("label", "in.xyz", "--site", "mine.toml")
    assert Path("site.xyz").exists(), site


def test_without_an_environment(psiflow, tmp_path):
    Path("in.xyz").write_text(copper(1))
    done = subprocess.run(
        ["env", "-i", PSIFLOW, "label", "in.xyz", "--reference", "emt"], capture_output=True, text=True, timeout=120
    )
    assert done.returncode == 0, done.stderr
    assert Path("in.labelled.xyz").exists()


@pytest.mark.usefixtures("in_workers")
def test_hostile_names_have_no_effect(psiflow, tmp_path):
    folder = tmp_path / "a b;touch pwned $(touch pwned) 'q' {x}"
    folder.mkdir()
    (folder / "in.xyz").write_text(copper(1))
    psiflow("label", "in.xyz", "--reference", "emt", cwd=folder)
    assert (folder / "in.labelled.xyz").exists()
    assert not list(tmp_path.rglob("pwned"))


def test_modules_in_the_working_directory_are_not_imported(psiflow):
    Path("in.xyz").write_text(copper(1))
    for name in ("parsl", "ase", "numpy", "random", "json"):
        Path(f"{name}.py").write_text("raise SystemExit('imported from the working directory')\n")
    psiflow("label", "in.xyz", "--reference", "emt")


WATER = "O 0.0 0.0 0.0\nH 0.96 0.0 0.0\nH -0.24 0.93 0.0\n"


@pytest.mark.parametrize(
    ("text", "where", "what"),
    [
        ("", "in.xyz", "no frames"),
        (f"3\n\n{WATER}3\n\nO 0 0 0\n", "in.xyz:8", "frame 2"),
        (f"2\n\n{WATER}3\n\n{WATER}", "in.xyz:5", "frame"),
        (f"3\n\n{WATER}".replace("0.96", "nan"), "in.xyz:4", "frame 1"),
        (f"3\n\n{WATER}".replace("O ", "Qq "), "in.xyz:3", "Qq"),
        ('1\nLattice="1 0 0" Properties=species:S:1:pos:R:3\nH 0 0 0\n', "in.xyz:2", "Lattice"),
        ("one\n\nH 0 0 0\n", "in.xyz:1", "number of atoms"),
    ],
)
def test_broken_frames_are_named_before_anything_is_submitted(psiflow, text, where, what):
    Path("in.xyz").write_text(text)
    done = psiflow("label", "in.xyz", "--reference", "xtb", code=65)
    assert where in done.stderr
    assert what in done.stderr
    assert len(done.stderr.strip().splitlines()) <= 2
    assert not Path("in.labelled.xyz.run").exists()


def test_windows_line_ends_are_read(psiflow):
    Path("in.xyz").write_bytes(copper(2).replace("\n", "\r\n").encode())
    psiflow("label", "in.xyz", "--reference", "emt")
    assert b"\r" not in Path("in.labelled.xyz").read_bytes()
    assert len(ase_io.read("in.labelled.xyz", ":")) == 2


@pytest.mark.parametrize(
    ("arguments", "code", "what"),
    [
        (("label", "missing.xyz", "--reference", "emt"), 66, "missing.xyz"),
        (("label", "in.xyz"), 2, "--reference"),
        (("label", "in.xyz", "--reference", "cp2q"), 2, "'cp2k'"),
        (("lable", "in.xyz"), 2, "'label'"),
        (("label", "in.xyz", "--referense", "emt"), 2, "--reference"),
        (("label", "in.xyz", "--reference", "emt", "--max-failed", "lots"), 2, "--max-failed"),
        (("label", "in.xyz", "--reference", "emt", "--site", "lokal"), 78, "'local'"),
        (("label", "in.xyz", "--reference", "emt", "-o", "no/where.xyz"), 73, "no"),
        (("label", "in.xyz", "--reference", "cp2k", "--input", "none.inp"), 66, "none.inp"),
        (("label", "in.xyz", "--reference", "emt", "--deadline", "soon"), 2, "soon"),
    ],
)
def test_wrong_usage(psiflow, arguments, code, what):
    Path("in.xyz").write_text(copper(1))
    done = psiflow(*arguments, code=code)
    assert what in done.stderr
    assert done.stderr.startswith("psiflow: ")
    assert len(done.stderr.strip().splitlines()) <= 2


def test_help_imports_nothing_heavy():
    code = (
        "import sys; from click.testing import CliRunner; from psiflow_cli.main import main\n"
        "for args in (['--help'], ['label', '--help'], ['status']):\n"
        "    assert CliRunner().invoke(main, args).exit_code == 0\n"
        "print(sorted({'parsl', 'numpy', 'ase', 'torch'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
