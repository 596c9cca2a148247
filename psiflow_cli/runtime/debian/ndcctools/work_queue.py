"""Debian's module `work_queue` under the name that Parsl imports, wherever its package put it.

Only these two files are taken from Debian's folder, since everything else in it would hide what a virtual environment
lacks on purpose. This folder is last on `sys.path`, so an `ndcctools` of one's own comes first.
"""

import importlib.machinery
import importlib.util
import sys
import sysconfig

FOLDER = "/usr/lib/python3/dist-packages"


def _load(name: str, path: str) -> None:
    spec = importlib.util.spec_from_file_location(name, path)
    if spec is None or spec.loader is None:
        raise ImportError(f"{path} cannot be loaded")
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    try:
        spec.loader.exec_module(module)
    except (ImportError, OSError) as error:
        del sys.modules[name]
        raise ImportError(f"{path}: {error}") from None


if "_work_queue" not in sys.modules:  # built for one minor version of Python, which its name says
    _load("_work_queue", f"{FOLDER}/_work_queue{sysconfig.get_config_var('EXT_SUFFIX')}")
if "work_queue" not in sys.modules:
    _load("work_queue", f"{FOLDER}/work_queue.py")

globals().update({key: value for key, value in vars(sys.modules["work_queue"]).items() if not key.startswith("__")})
