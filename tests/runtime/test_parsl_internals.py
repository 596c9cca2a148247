"""What psiflow reaches into is still there in the Parsl that is installed; each failure names the file to fix."""

from __future__ import annotations

import ast
import contextlib
import importlib
import inspect
import os
import re
import shlex
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import parsl
import pytest
import zmq
from click.testing import CliRunner
from packaging.specifiers import SpecifierSet
from parsl.executors.high_throughput import interchange, process_worker_pool, zmq_pipes
from parsl.executors.high_throughput.errors import ManagerLost, WorkerLost
from parsl.jobs.states import JobState, JobStatus
from parsl.providers import LocalProvider

from psiflow_cli.errors import BadConfig, NoResources
from psiflow_cli.main import main
from psiflow_cli.runtime import parsl_internals
from psiflow_cli.runtime.block_record import LIVE, BlockState
from psiflow_cli.runtime.executors import _interchange, _work_queue, htex
from psiflow_cli.runtime.parsl_internals import known_parsl, require
from psiflow_cli.site import detect, load, resolve
from psiflow_cli.worker.pool import gpu_slots

ROOT = Path(__file__).parents[2]
WHERE = f"parsl {parsl.__version__}: {{}}; see runtime/parsl_internals.py"


@pytest.fixture(scope="module")
def started(tmp_path_factory):
    """HTEX as psiflow makes it, with its interchange and without a block."""
    folder = tmp_path_factory.mktemp("parsl")
    resolved = resolve.executor_of(load.load("local"), "emt", "label", detect.machine())
    executor = htex.build(resolved, LocalProvider(init_blocks=0, min_blocks=0, max_blocks=0), folder)
    config = parsl.Config(executors=[executor], run_dir=str(folder), strategy="none", initialize_logging=False)
    kernel = parsl.DataFlowKernel(config)
    htex.started(executor)
    yield executor
    executor.interchange_proc.kill()
    executor.interchange_proc.wait()
    with pytest.raises(OSError, match="the interchange has ended"):
        executor.connected_managers()
    assert parsl_internals.interchange_has_ended(executor)
    for _ in range(2):  # the socket may take one more before it notices
        executor.outgoing_q.put("a task that nobody takes")
        executor.outgoing_q.zmq_socket.poll(500, 0)
    assert not executor.outgoing_q.zmq_socket.poll(0, zmq.POLLOUT), "the last one had nowhere to go, and put returned"
    with contextlib.suppress(OSError):
        kernel.cleanup()


def test_a_parsl_that_lacks_something_is_named_with_the_file_to_mend():
    with pytest.raises(BadConfig) as caught:
        require(parsl.HighThroughputExecutor, "label", "teleport")
    assert caught.value.message == WHERE.format("HighThroughputExecutor has no teleport")
    assert caught.value.hint == f"pip install parsl=={parsl_internals.SEEN_IN}"


PUBLIC = {
    "parsl", "parsl.addresses", "parsl.executors", "parsl.executors.base", "parsl.launchers", "parsl.launchers.base",
    "parsl.jobs.states", "parsl.providers", "parsl.providers.base", "parsl.providers.cluster_provider", "parsl.version",
}  # fmt: skip
"""What Parsl's documentation has a page for, and what its providers return.

Everything else is reached into by the guarded files.
"""
GUARDED = {
    "runtime/parsl_internals.py", "runtime/providers/_parsl_internals.py", "runtime/batch_queue/patient.py",
    "runtime/executors/_interchange.py", "runtime/executors/_messages_to_interchange.py",
    "runtime/executors/_work_queue.py",
}  # fmt: skip


def test_only_the_guarded_files_reach_into_parsl():
    for path in (ROOT / "psiflow_cli").rglob("*.py"):
        name = path.relative_to(ROOT / "psiflow_cli").as_posix()
        if name in GUARDED:
            continue
        for node in ast.walk(ast.parse(path.read_text())):
            modules = [node.module or ""] if isinstance(node, ast.ImportFrom) and not node.level else []
            modules += [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            inside = {module for module in modules if module.split(".")[0] == "parsl"} - PUBLIC
            assert not inside, f"{name}:{node.lineno}: {inside}: put it into {', '.join(sorted(GUARDED))}"
            if name.startswith("runtime/") and isinstance(node, ast.Attribute) and re.match("_[a-z]", node.attr):
                assert ast.unparse(node.value) == "self", f"{name}:{node.lineno}: {node.attr} is private"


def test_versions_are_bounded_from_both_sides():
    (bounds,) = re.findall(r'"parsl(>=[\d.]+,<[\d.]+)"', (ROOT / "pyproject.toml").read_text())
    assert parsl.__version__ in SpecifierSet(bounds), WHERE.format(f"psiflow wants parsl{bounds}")


@pytest.mark.parametrize(
    ("call", "what"),
    [
        (lambda: parsl.HighThroughputExecutor(teleport=True), "got an unexpected keyword argument 'teleport'"),
        (lambda: importlib.import_module("parsl.teleport"), "No module named 'parsl.teleport'"),
        (lambda: parsl.teleport, "module 'parsl' has no attribute 'teleport'"),
        (lambda: parsl.HighThroughputExecutor.teleport, "has no attribute 'teleport'"),
    ],
)
def test_an_unknown_parsl_is_told_in_one_line(call, what):
    with pytest.raises(BadConfig, match=r"parsl .* is not supported by psiflow: ") as caught, known_parsl():
        call()
    assert what in caught.value.message
    assert caught.value.hint == f"pip install parsl=={parsl_internals.SEEN_IN}"


@pytest.mark.parametrize("call", [lambda: {}.teleport, lambda: int([]), lambda: importlib.import_module("no_such")])
def test_what_has_nothing_to_do_with_parsl_passes(call):
    with pytest.raises((AttributeError, TypeError, ImportError)) as caught, known_parsl():
        call()
    assert not isinstance(caught.value, BadConfig)


def test_a_provider_of_an_unknown_parsl_is_told_in_one_line(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(parsl.providers.SlurmProvider, "__init__", lambda self, partition=None: None)
    done = CliRunner().invoke(main, ["site", "show", "slurm", "--script", "reference"])
    assert done.exit_code == 78
    assert "is not supported by psiflow" in done.output
    assert len(done.output.splitlines()) == 2


def test_the_version_it_was_seen_in_is_the_one_that_is_tested_with():
    pins = (ROOT / "constraints.txt").read_text()
    assert f"parsl=={parsl_internals.SEEN_IN}\n" in pins


def test_htex_has_what_a_run_uses(started):
    require(started, "drain_period", "command_client", "interchange_proc", "connected_managers", "all_addresses")
    require(started, "status_facade", "blocks_to_job_id", "provider", "block_error_handler")
    require(started, "run_dir", "worker_port", "cert_dir", "initialize_scaling", "_get_launch_command")
    require(started.provider, "max_blocks", "cancel")
    require(started.command_client, "zmq_socket", "_lock", "run")
    require(started.outgoing_q, "zmq_socket", "put")


def test_questions_to_the_interchange_are_bound_and_answered(started):
    assert started.connected_managers() == []
    assert parsl_internals.connected_blocks(started) == set()
    assert not parsl_internals.interchange_has_ended(started)
    ours, theirs = (
        inspect.signature(run).parameters for run in (started.command_client.run, zmq_pipes.CommandClient.run)
    )
    assert list(ours) == list(theirs)[1:], WHERE.format("CommandClient.run takes other arguments")


def test_the_pool_is_started_by_our_words_with_parsls_arguments(started):
    command = parsl_internals.pool_launch_command("/py 'a {b}' pool.py", 600)
    assert command.startswith("/py 'a {{b}}' pool.py {debug} {max_workers_per_node} ")
    filled = shlex.split(started.launch_cmd)
    assert filled[0] == "/usr/bin/env", WHERE.format("launch_cmd is not what is started")
    assert sys.executable in filled[1:], WHERE.format("launch_cmd is not what is started")
    assert [word for word in filled if re.match(r"--(port|cert_dir|drain_period|hb_period)=", word)]


def test_parsls_pool_is_beside_python():
    script = parsl_internals.POOL_SCRIPT
    assert Path(sys.executable).with_name(script).is_file(), WHERE.format(f"installs no {script}")


def test_the_interchange_has_what_a_patient_one_reaches_into():
    source = inspect.getsource(interchange)
    for name in ("_ready_managers", "manager_sock", '["last_heartbeat"]', "heartbeat_threshold", "zmq.ROUTER"):
        assert name.replace('"', "'") in source.replace('"', "'"), WHERE.format(f"the interchange has no {name}")
    require(interchange, "PKL_HEARTBEAT_CODE", "PKL_SHUTDOWN_CODE")
    main = source.partition('if __name__ == "__main__":')[2]
    assert "Interchange(**config)" in main, WHERE.format("the interchange is started in another way")


def test_an_interchange_that_is_too_slow_is_no_bug_of_psiflow(monkeypatch):
    source = inspect.getsource(parsl.HighThroughputExecutor)
    assert _interchange.NOT_STARTED in source, WHERE.format("the executor says it in other words")
    ended = []
    process = SimpleNamespace(kill=lambda: ended.append(True))

    def raise_it(config):
        raise Exception(config)

    monkeypatch.setattr(parsl, "DataFlowKernel", raise_it)
    with pytest.raises(NoResources, match="did not start within two minutes"):
        _interchange.start_kernel(_interchange.NOT_STARTED, SimpleNamespace(interchange_proc=process))
    assert ended
    with pytest.raises(Exception, match="another"):
        _interchange.start_kernel("another", SimpleNamespace())


def test_the_pool_is_a_module_that_runs():
    argv = [sys.executable, "-m", parsl_internals.POOL_MODULE, "--help"]
    done = subprocess.run(argv, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, WHERE.format(f"{parsl_internals.POOL_MODULE} does not run")
    assert "--drain_period" in done.stdout, WHERE.format("the pool takes no --drain_period")
    assert "--max_workers_per_node" in done.stdout, WHERE.format("supervisor.py sets another number of workers")


def test_every_state_of_a_job_has_a_sentence():
    for state in JobState:
        assert BlockState(state.name).value == state.name, WHERE.format(f"JobState has {state.name}")
    live = {state.name for state in JobState if not JobStatus(state).terminal} - {"UNKNOWN"}
    assert live == set(LIVE), WHERE.format(f"live states are {live}")
    require(JobStatus(JobState.FAILED), "message", "stderr_summary", "terminal")


def test_errors_of_lost_tasks_are_told_apart():
    from parsl.executors.errors import BadStateException
    from parsl.executors.workqueue.errors import WorkQueueTaskFailure

    assert parsl_internals.host_of_lost_worker(WorkerLost(3, "node7")) == "node7"
    assert parsl_internals.lost_pool(ManagerLost(b"abc", "node7")) == ("abc", "node7")
    assert parsl_internals.could_not_start(BadStateException(SimpleNamespace(label="x"), ValueError("no")))
    assert _work_queue.work_queue_reason(WorkQueueTaskFailure("work queue result: gone", None)) == "gone"
    assert _work_queue.work_queue_reason(WorkQueueTaskFailure("its own", ValueError())) is None
    for ask in (
        parsl_internals.host_of_lost_worker,
        parsl_internals.lost_pool,
        _work_queue.work_queue_reason,
    ):
        assert ask(ValueError()) is None


def test_threads_can_be_told_to_begin_no_more(tmp_path):
    executor = parsl.ThreadPoolExecutor(max_threads=1, working_dir=str(tmp_path))
    executor.start()
    require(executor, "executor")
    parsl_internals.stop_threads(executor)
    with pytest.raises(RuntimeError, match="after shutdown"):
        executor.executor.submit(os.getpid)


def test_work_queue_has_what_a_run_uses():
    if reason := _work_queue.why_no_work_queue():
        pytest.skip(reason)
    executor = _work_queue.work_queue_class()(label="wq", provider=LocalProvider(init_blocks=0))
    _work_queue.leave_blocks_alone(executor)
    before = executor.launch_cmd
    _work_queue.set_task_start(executor, "/py 'a {b}'")
    assert before.startswith("{package_prefix}python3 "), WHERE.format(f"Work Queue's launch_cmd is {before}")
    assert executor.launch_cmd == f"/py 'a {{{{b}}}}' {before.split(' ', 1)[1]}"


def test_providers_have_what_scripts_and_clouds_use():
    from parsl.providers.cluster_provider import ClusterProvider
    from parsl.providers.googlecloud import googlecloud
    from parsl.providers.kubernetes import kube

    require(ClusterProvider, "execute_wait", "submit")
    require(googlecloud.GoogleCloudProvider, "get_zone")
    assert "create_namespaced_pod" in inspect.getsource(kube), WHERE.format("kube makes pods in another way")
    assert "self.kube_client" in inspect.getsource(kube), WHERE.format("kube has no kube_client")


def test_the_workers_side_finds_the_queue_of_results():
    """`worker/pool/parsl_result_queue.py` looks for a local variable of the function that calls tasks."""
    require(process_worker_pool, "worker")
    code = inspect.unwrap(process_worker_pool.worker).__code__
    names = {*code.co_varnames, *code.co_cellvars} if code.co_name == "worker" else set()
    assert "result_queue" in names, WHERE.format("process_worker_pool.worker has no result_queue")


def test_workers_know_their_rank():
    """`worker/pool/gpu_slots.py` takes the GPUs of it; Parsl's documentation names the variable."""
    source = Path(process_worker_pool.__file__).read_text()
    assert gpu_slots._RANK in source, WHERE.format(f"workers have no {gpu_slots._RANK}")
    assert gpu_slots._RANK in parsl.HighThroughputExecutor.__doc__
