"""What is wrong with a worker's environment ends the run at once, and leaves no trace once it is mended."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from psiflow_cli.runtime import journal
from tests.commands.inputs import BOX, SMALL, WATER, copper
from tests.faults.environments import LIBRARY, Environment, poison
from tests.faults.runs import SITE, records

pytest.importorskip("ase", reason="labels need ASE")
BREAKS_LIBRARY = f"raise ImportError({LIBRARY!r})"
PROGRAM = '''"""Starts the site's executable."""
from psiflow_cli.worker.failures import failure
from psiflow_cli.worker.process.single_run import Executable, run
SUMMARY, REQUIRES, FRAME_INPUTS, DEFAULT_TASK_SECONDS = "for a test", (), (), 0.0

def settings(input_file, options):
    return {}

def check(settings, elements):
    pass

def label(frames, settings, context):
    ran = run(Executable("Echo", "echo"), ["-17"], {}, context)
    return [{"energy": float(ran.log), "forces": [[0.0] * 3] * len(f["symbols"]), "stress": None} for f in frames]
'''


def site(executor: str = "threads", resources: str = "", environment: str = "") -> None:
    more = 'environment = "mine"' if environment else ""
    text = SITE.format(executor=executor, resources=resources, more=more)
    Path("site.toml").write_text(f'{text}\n[environments.mine]\nprefix = "{environment}"\n' if environment else text)


def broken(psiflow, *args: object, output: str = "out.xyz", **options: object) -> str:
    """Run a command that is to end with 78, without outputs and without a trace in the journal; what it says."""
    done = psiflow(*args, "--site", "./site.toml", "-o", output, code=78, **options)
    assert not Path(output).exists()
    assert not Path("out.failed.xyz").exists()
    assert not [record for record in records(output) if record["kind"] not in ("begin", "output")]
    return str(done.stderr)


@pytest.mark.skipif(not Path("/usr/bin/env").exists(), reason="no /usr/bin/env")
def test_labels_after_a_library_a_package_and_pythonpath_were_broken(psiflow):
    """In worker processes, with an environment of their own."""
    pytest.importorskip("tblite", reason="the xtb reference needs tblite")
    Path("in.xyz").write_text(WATER + BOX)
    command = ("label", "in.xyz", "--reference", "xtb")
    site()
    psiflow(*command, "--site", "./site.toml", "-o", "whole.xyz")
    environment = Environment(Path("env"))
    site("htex", environment="env")
    environment.poison("tblite", BREAKS_LIBRARY)
    assert LIBRARY in broken(psiflow, *command)
    environment.fix()
    environment.lose_packages()
    said = broken(psiflow, *command)
    assert (
        "the reference xtb needs tblite and ase, which are not installed in the workers' environment"
        " ([environments.mine])" in said
    )
    environment.fix()
    wrong = poison(Path("wrong"), "numpy", "raise ImportError('of another Python')")
    psiflow(
        *command, "--site", "./site.toml", "-o", "out.xyz", env={**os.environ, "PYTHONPATH": str(wrong)}
    )  # which is the shell's, and not the workers'
    assert Path("out.xyz").read_bytes() == Path("whole.xyz").read_bytes()


def test_labels_after_the_executable_and_the_scratch_folder_were_missing(psiflow):
    Path("in.xyz").write_text(copper(2))
    Path("mine.py").write_text(PROGRAM)
    command = ("label", "in.xyz", "--reference", "./mine.py")
    site()
    psiflow(*command, "--site", "./site.toml", "-o", "whole.xyz")
    Path("file").touch()
    for resources, words in {
        'executable = "no-such-program"': "executable 'no-such-program' cannot be started",
        'scratch = "file"': "the scratch folder file on host",
        'scratch = "/dev/null/below"': "cannot be written: Not a directory",
    }.items():
        site(resources=resources)
        assert words in broken(psiflow, *command)
    site()
    psiflow(*command, "--site", "./site.toml", "-o", "out.xyz")
    assert Path("out.xyz").read_bytes() == Path("whole.xyz").read_bytes()


@pytest.mark.full
def test_a_model_after_its_package_was_broken(psiflow, trained, pytestconfig):
    """Trained, evaluated and moved: in threads, whose process itself does not need that package."""
    site(resources='cores = "all"\nranks = 1\nthreads = 1')
    Path("in.xyz").write_text(BOX + BOX.replace("2.6 2.4 2.7", "2.6 2.4 2.75"))
    without = {**os.environ, "PYTHONPATH": str(poison(Path("wrong"), "mace", BREAKS_LIBRARY))}
    small = (*SMALL, "--set", "max_num_epochs=1")
    for output, command in {
        "one.model": ("train", trained.train, "--valid", trained.test, "--arch", "mace", *small),
        "evaluated.xyz": ("evaluate", "in.xyz", "--model", trained.model),
        "sampled.xyz": ("sample", "in.xyz", "--model", trained.model, "--engine", "ase", "--steps", 10),
    }.items():
        said = broken(psiflow, *command, output=output, env=without)
        assert "libgomp.so.1: cannot open shared object file" in said
        if command[0] != "evaluate" and not pytestconfig.getoption("--full"):
            continue
        for place in (output, f"whole-{output}"):
            psiflow(*command, "--site", "./site.toml", "-o", place)
        mended, whole = Path(output), Path(f"whole-{output}")
        if mended.is_dir():
            mended, whole = (folder / "member-0/mace.model" for folder in (mended, whole))
        assert mended.read_bytes() == whole.read_bytes()


def test_what_an_earlier_psiflow_blamed_on_frames_is_tried_again(psiflow):
    Path("in.xyz").write_text(copper(2))
    reference = PROGRAM.replace(
        "    ran = ", "    return [failure('crashed', 'in its own way') for _ in frames]\n    ran = "
    )
    Path("mine.py").write_text(reference)
    command = ("label", "in.xyz", "--reference", "./mine.py", "--site", "./site.toml", "-o", "out.xyz")
    site()
    psiflow(*command, code=1)
    assert "up to date" in psiflow(*command, code=1).stderr
    path = Path("out.xyz.run/journal.jsonl")
    lines = [json.loads(line) for line in path.read_text().splitlines()]
    for record in lines:
        if record["kind"] == "unit":
            record["value"]["message"] = "ImportError: tblite C extension unimportable, cannot use C-API"
    path.write_bytes(b"".join(journal.encode({k: v for k, v in r.items() if k != "crc"}) for r in lines))
    assert "(2 computed now)" in psiflow(*command, code=1).stderr
    assert "up to date" in psiflow(*command, code=1).stderr
