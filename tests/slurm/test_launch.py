"""Launch templates of shipped sites inside a block, which is one SLURM task with many cores."""

from __future__ import annotations

import json
import shlex
import sys
import time
from pathlib import Path

import pytest

from psiflow_cli.site import load

LAUNCH = """
import json, subprocess, sys
from psiflow_cli.worker.process import launcher
context = json.loads(sys.argv[1])
argv = [*launcher.prefix(context), "printenv", "SLURM_PROCID", "OMP_NUM_THREADS"]
done = subprocess.run(argv, env=launcher.environment(context), capture_output=True, text=True, timeout=60)
print(json.dumps([done.returncode, done.stdout, done.stderr]))
"""


@pytest.mark.parametrize(("ranks", "threads"), [(4, 1), (2, 2)])
def test_srun_starts_the_ranks_that_lumi_is_asked_for(slurm, tmp_path: Path, root: Path, ranks, threads) -> None:
    launch = load.parse(root / "site.d" / "lumi.toml").resources["singlepoint"].launch
    context = json.dumps({"launch": launch, "ranks": ranks, "threads": threads})
    (tmp_path / "launch.py").write_text(LAUNCH)
    script = tmp_path / "block.sh"
    command = shlex.join([sys.executable, str(tmp_path / "launch.py"), context])
    script.write_text(
        f"#!/bin/bash\n#SBATCH --nodes=1 --ntasks-per-node=1 --cpus-per-task=4 --time=2\ncd {root}\n{command}\n"
    )
    output = tmp_path / "out.json"
    slurm.run("sbatch", f"--output={output}", str(script))
    deadline = time.monotonic() + 60
    while not (output.exists() and output.read_text().endswith("]\n")):
        assert time.monotonic() < deadline, output.read_text() if output.exists() else "the job did not run"
        time.sleep(0.2)
    code, out, err = json.loads(output.read_text())
    assert code == 0, err
    assert sorted(out.split()) == sorted([*map(str, range(ranks)), *[str(threads)] * ranks])
