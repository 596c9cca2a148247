"""Parsl's scripts without the whole of Parsl, which is there as soon as somebody asks for it."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

from psiflow_cli.worker.pool import light_parsl
from tests.commands.conftest import psiflow
from tests.commands.inputs import copper

__all__ = ["psiflow"]  # a fixture

SCRIPT = """
import json, multiprocessing, sys
from parsl.executors.high_throughput import process_worker_pool as pool
from parsl.app.errors import RemoteExceptionWrapper

def work(queue):
    queue.put([__name__, sorted(name for name in sys.modules if name.startswith("parsl."))])

if __name__ == "__main__":
    context = multiprocessing.get_context("spawn")
    queue = context.Queue()
    context.Process(target=work, args=(queue,)).start()
    spawned = queue.get()
    before = sorted(name for name in sys.modules if name.startswith("parsl."))
    import parsl
    import parsl.executors
    late = [parsl.DataFlowKernel.__module__, parsl.executors.ThreadPoolExecutor.__module__]
    same = sys.modules["parsl.executors.high_throughput.process_worker_pool"] is pool
    print(json.dumps({"spawned": spawned, "before": before, "late": late, "same": same, "argv": sys.argv}))
"""
REFERENCE = """
import sys
SUMMARY, REQUIRES, FRAME_INPUTS, DEFAULT_TASK_SECONDS = "what a worker has loaded", (), (), 0.0
def settings(input_file, options): return {}
def check(settings, elements): return None
def label(frames, settings, context):
    code = f"dataflow={'parsl.dataflow.dflow' in sys.modules} path={sys.path[0].endswith('process')}"
    return [{"energy": 0.0, "forces": [[0.0] * 3] * len(f["symbols"]), "stress": None, "code": code} for f in frames]
"""


def test_a_script_and_what_it_spawns_load_a_part_of_parsl(tmp_path: Path) -> None:
    script = tmp_path / "script.py"
    script.write_text(SCRIPT)
    argv = [sys.executable, light_parsl.__file__, str(script), "--option"]
    done = subprocess.run(argv, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    seen = json.loads(done.stdout)
    name, loaded = seen["spawned"]
    for modules in (seen["before"], loaded):
        assert "parsl.executors.high_throughput.process_worker_pool" in modules
        assert "parsl.dataflow.dflow" not in modules
    assert name == "__mp_main__"
    assert seen["late"] == ["parsl.dataflow.dflow", "parsl.executors.threads"]
    assert seen["same"]
    assert seen["argv"] == [str(script), "--option"]


def test_the_pool_of_a_command_is_started_so(psiflow) -> None:
    Path("in.xyz").write_text(copper(2))
    Path("mine.py").write_text(REFERENCE)
    psiflow("label", "in.xyz", "--reference", "./mine.py", "-o", "out.xyz")
    assert Path("out.xyz").read_text().count('psiflow_code="dataflow=False path=False"') == 2
