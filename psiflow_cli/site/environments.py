"""Workers' Python environments that psiflow made: where they are, what is in them, and which of them fits."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, TypedDict, cast

from psiflow_cli import __version__, registry
from psiflow_cli.errors import BadConfig
from psiflow_cli.site.executor import ResolvedExecutor

if TYPE_CHECKING:
    from psiflow_cli.messages import EnvironmentMarker

MARKER = "psiflow-env.json"
"""In every environment that psiflow began; it has the key `finished` once all is installed and was tried."""
DISTRIBUTION = "psiflow-cli"
_TIMEOUT_S = 60
_ASK = "import sys; from importlib.util import find_spec; print(*(n for n in sys.argv[1:] if not find_spec(n)))"
_REQUIREMENTS = {"torch_sim": "torch-sim-atomistic", "mace": "mace-torch", "allegro": "nequip-allegro"}
"""What pip calls a module whose distribution has another name."""


class Versions(TypedDict):
    """What an environment must share with the command."""

    python: str
    """The minor version."""
    parsl: str
    psiflow: str
    code: str
    """What tells one psiflow from another."""


@dataclass(frozen=True)
class Environment:
    """One environment, as far as its own folder tells."""

    name: str
    prefix: Path
    facts: EnvironmentMarker
    """What the marker says; empty if psiflow did not make this folder."""

    @property
    def python(self) -> Path:
        return self.prefix / "bin" / "python"

    def unfit(self, command: Versions) -> str:
        """Why it cannot serve the command whose `running()` this is; empty if it can."""
        if not self.facts:
            return "not made by psiflow" if self.prefix.is_dir() else "its folder was deleted"
        if not self.facts.get("finished"):
            return "unfinished"
        if not os.access(self.python, os.X_OK):
            return "its Python was deleted"
        python, parsl = self.facts.get("python"), self.facts.get("parsl")
        for word, version, needed in (("Python", python, command["python"]), ("Parsl", parsl, command["parsl"])):
            if version != needed:
                return f"{word} {version}, not {needed}"
        return "" if self.facts.get("code") == command["code"] else "made by another version of psiflow"


def running() -> Versions:
    """The versions of the command that runs."""
    from importlib.metadata import version

    return {
        "python": f"{sys.version_info[0]}.{sys.version_info[1]}",
        "parsl": version("parsl"),
        "psiflow": __version__,
        "code": _code(),
    }


def checkout() -> Path | None:
    """The project folder that the running psiflow is read from, if it is not an installed copy."""
    root = Path(__file__).resolve().parents[2]
    return root if (root / "pyproject.toml").is_file() else None


def _code() -> str:
    """What tells one psiflow from another: the checkout, or a digest of the installed files (of pip's own record)."""
    import hashlib
    from importlib.metadata import distribution

    if root := checkout():
        return str(root)
    record = distribution(DISTRIBUTION).read_text("RECORD") or ""
    files = sorted(
        line for line in record.splitlines() if line.startswith("psiflow_cli/") and "__pycache__" not in line
    )
    return hashlib.sha256("\n".join([__version__, *files]).encode()).hexdigest()[:16]


class NotInstalled(BadConfig):
    """A model family or a reference that no environment has, on a machine that may do without it."""


def folder() -> Path:
    """Where environments are by name, or a link to where they are."""
    data = os.environ.get("XDG_DATA_HOME", "")
    if not os.path.isabs(data):  # a relative one counts as unset, says the XDG specification
        data = os.path.join(os.environ.get("HOME") or _home(), ".local", "share")
    return Path(data) / "psiflow" / "envs"


def _home() -> str:
    import pwd

    try:
        return pwd.getpwuid(os.getuid()).pw_dir
    except KeyError:
        raise BadConfig("this user has no home directory", "set HOME or XDG_DATA_HOME, or give --prefix") from None


def read(prefix: Path, name: str = "") -> Environment:
    """The environment in a folder."""
    try:
        marker = json.loads((prefix / MARKER).read_text())
    except (OSError, ValueError):
        marker = {}
    facts = marker if isinstance(marker, dict) and "family" in marker else {}
    return Environment(name or prefix.name, prefix, cast("EnvironmentMarker", facts))


def find(name: str) -> Environment | None:
    """The environment of a name, also one that is unfinished, gone or not ours."""
    place = folder() / name
    return read(link_target(place), name) if os.path.lexists(place) else None


def link_target(place: Path) -> Path:
    """The folder that a name stands for, as the user wrote it: the link itself is all that is resolved."""
    return place.parent / os.readlink(place) if place.is_symlink() else place


def available() -> list[Environment]:
    """Every environment by name."""
    place = folder()
    names = sorted(n for n in os.listdir(place) if not n.startswith(".")) if place.is_dir() else []
    # the logs lie beside the environments that they are about
    folders = [name for name in names if os.path.islink(place / name) or os.path.isdir(place / name)]
    listed = [read(link_target(place / name), name) for name in folders]
    return [environment for environment in listed if environment.facts or os.path.islink(place / environment.name)]


def python_for(family: str, executor: str) -> str:
    """The Python for the workers of a model family or a reference where the site names none.

    The command's own, if it has what the family needs (or is not known to need anything); else that of the environment
    with the family's name; else that of the first that has it all. Raises BadConfig if there is none.
    """
    needs = back_end.REQUIRES if (back_end := registry.family(family)) else ()
    missing = [name for name in needs if not _has(name)]
    if not missing:
        return sys.executable
    words = " and ".join(filter(None, (", ".join(missing[:-1]), missing[-1])))
    what = f"{words} {'is' if len(missing) == 1 else 'are'} not installed in {sys.prefix}"
    if executor == "threads":
        raise NotInstalled(f"{what}, which threads use", 'use type = "htex", which has its own environment')
    command, own = running(), find(family)
    candidates = ([own] if own else []) + available()
    having = [each for each in candidates if set(needs) <= set(each.facts.get("modules", ()))]
    for candidate in having:
        if not candidate.unfit(command):
            return str(candidate.python)
    stale = own if own and own.unfit(command) else next(iter(having), None)
    if stale is None:
        raise NotInstalled(what, _hint(family, missing))
    why = f"; the environment {stale.name}: {stale.unfit(command)}"
    raise BadConfig(what + why, _again(stale) if stale.facts else _hint(family, missing))


def _has(module: str) -> bool:
    """Whether the command's own process could import a package, without doing so."""
    return find_spec(module.partition(".")[0]) is not None


def _again(stale: Environment) -> str:
    """The command that makes an environment as it was."""
    words = ["psiflow env create", stale.facts["family"]]
    words += [f"--name {stale.name}"] if stale.name != stale.facts["family"] else []
    words += [f"--prefix {stale.prefix}"] if stale.prefix.parent != folder() else []
    return " ".join([*words, *(f"--with {name}" for name in stale.facts.get("with", ()))])


def _hint(family: str, missing: list[str]) -> str:
    if family in registry.families():
        return f"psiflow env create {family}"
    beside = "".join(f" --with {name}" for name in missing if name != "ase")  # every family's has it
    other = f"{sys.executable} -m pip install {' '.join(missing)}"
    return f"psiflow env create mace{beside}, or {other}, or use an [environments.NAME] that has it"


def require(executor: ResolvedExecutor, needs: Mapping[str, str]) -> None:
    """Raise BadConfig where a module is missing; `needs` is {module: what needs it, such as an option}.

    Containers are not asked, nor is a Python that does not run on this host: there the task itself will tell.
    """
    if missing := _lacks(executor, list(needs)):
        what = needs[missing[0]]
        modules = [module for module in missing if needs[module] == what]
        place = f"[environments.{name}]" if (name := executor.table.environment) else executor.python
        words = f"{' and '.join(modules)}, which {'is' if len(modules) == 1 else 'are'}"
        without = f", or leave out {what}" if what.startswith("--") else ""
        install = " ".join(_REQUIREMENTS.get(module, module) for module in modules)
        raise BadConfig(
            f"{what} needs {words} not installed in the workers' environment ({place})",
            f"{executor.python} -m pip install {install}{without}",
        )


def _lacks(executor: ResolvedExecutor, modules: list[str]) -> list[str]:
    if executor.python == sys.executable:
        return [module for module in modules if find_spec(module) is None]
    if executor.environment.container or not modules:
        return []
    argv = [*executor.isolation, executor.python, "-c", _ASK, *modules]
    try:
        done = subprocess.run(argv, capture_output=True, text=True, timeout=_TIMEOUT_S, cwd="/", check=False)
    except (OSError, subprocess.TimeoutExpired):
        return []
    return done.stdout.split() if done.returncode == 0 else []
