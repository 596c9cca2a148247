"""The function that Parsl runs: it calls a back end by name and never lets an exception cross the wire.

A worker that raises an exception class which the command's process cannot import kills Parsl's result thread, and the
command would hang; so every outcome is a plain dict, and every exception becomes text.
"""

from __future__ import annotations

import importlib
import importlib.util
import os
import pickle
import sys
import threading
import time
import traceback
from collections.abc import Callable, Mapping, Sequence
from types import ModuleType
from typing import TYPE_CHECKING, Any, cast

from psiflow_cli.worker.environment_faults import environment_fault
from psiflow_cli.worker.failures import BrokenDevice, Fatal
from psiflow_cli.worker.pool import gpu_slots, parsl_result_queue, place, short_tmpdir, watchdog
from psiflow_cli.worker.process import task_logs

if TYPE_CHECKING:
    from psiflow_cli.messages import Context, Outcome

_loading = threading.RLock()
_ELSEWHERE_S = 1.0


def pack(value: object) -> bytes:
    """Builtins as they cross the wire: Parsl would take dill for them, which is slow with long lists of numbers."""
    return pickle.dumps(value, pickle.HIGHEST_PROTOCOL)


def unpack(data: bytes) -> Any:
    return pickle.loads(data)


def call_packed(arguments: bytes) -> bytes:
    """What Parsl runs: `call`, with packed arguments and outcome."""
    outcome = call(*unpack(arguments))
    try:
        return pack(outcome)
    except Exception as error:
        error_text = {"error": f"{type(error).__name__}: {error}", "traceback": traceback.format_exc()}
        return pack({"seconds": outcome["seconds"], "host": outcome["host"], **error_text})


def call(
    function: str, payload: Mapping[str, object], hang_log: str = "", last_words: str = "", avoid: Sequence[str] = ()
) -> Outcome:
    """Call `module:function` (or `/path/file.py:function`) with the payload's items as keyword arguments.

    A task that takes longer than the walltime of its context ends this process, if there is a `hang_log` to tell; so
    does one whose GPU is broken, if there is a file for its `last_words`. Nothing runs at a place to `avoid`.
    """
    parsl_result_queue.settle()
    gpu_slots.take_own()
    short_tmpdir.give_back()
    start = time.perf_counter()
    context = cast("Context | None", payload.get("context"))
    if context is not None:
        payload = {**payload, "context": _with_worker_facts(context)}
    places = place.names(os.environ)
    outcome: Outcome = {"seconds": 0.0, "host": os.uname().nodename}
    outcome["places"] = places
    if not set(places).isdisjoint(avoid):
        time.sleep(_ELSEWHERE_S)  # meanwhile a worker at another place may get idle
        return {**outcome, "elsewhere": True}
    if block := os.environ.get("PARSL_WORKER_BLOCK_ID"):
        outcome["block"] = block
    try:
        with watchdog.limit(context.get("walltime") if context else None, hang_log), task_logs.collected() as logs:
            outcome["value"] = resolve(function)(**payload)
        if logs:
            outcome["logs"] = logs
    except MemoryError:
        outcome.update({"error": "out of memory", "traceback": ""})
    except (Exception, SystemExit) as error:  # a library that exits must not take the worker with it
        fatal = error if isinstance(error, Fatal) else environment_fault(error)
        if isinstance(fatal, BrokenDevice) and last_words:
            place.end(last_words, fatal.message)
        if fatal:
            outcome.update({"fatal": fatal.message, "hint": fatal.hint, "exit_code": fatal.exit_code})
        else:
            outcome.update({"error": f"{type(error).__name__}: {error}", "traceback": traceback.format_exc()})
    outcome["seconds"] = time.perf_counter() - start
    return outcome


def _with_worker_facts(context: Context) -> Context:
    """The context with what only the worker knows: its CPUs, its scratch folder."""
    import tempfile

    cpus = sorted(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else None
    scratch = os.path.expandvars(context["scratch"]) or tempfile.gettempdir()
    return {**context, "cpus": cpus, "scratch": scratch}


def resolve(address: str) -> Callable[..., object]:
    """The function that `module:function` or `/path/file.py:function` names."""
    name, _, function = address.rpartition(":")
    if not name.endswith(".py"):
        return _function(importlib.import_module(name), function)
    with _loading:  # tasks may run in threads: none may see a module that is half there
        module = sys.modules.get(name)
        if module is None:
            if (folder := os.path.dirname(name)) not in sys.path:
                sys.path.append(folder)  # what lies beside a file of the user's own, it may import
            sys.dont_write_bytecode = True  # and nothing is left there
            spec = importlib.util.spec_from_file_location(name, name)
            if spec is None or spec.loader is None:
                raise ImportError(name)
            module = importlib.util.module_from_spec(spec)
            sys.modules[name] = module
            try:
                spec.loader.exec_module(module)
            except BaseException:
                del sys.modules[name]
                raise
    return _function(module, function)


def _function(module: ModuleType, name: str) -> Callable[..., object]:
    function: Callable[..., object] = getattr(module, name)
    return function
