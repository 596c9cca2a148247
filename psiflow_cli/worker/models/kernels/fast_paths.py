"""The fastest way to compute a model here, chosen by measuring its calls.

Kernels and compiled models gain or lose by model, size of batch and device, and one may be wrong: so each is compared
with the model as it is, timed on the first real batch, and the choice is kept beside the weights.
"""

from __future__ import annotations

import contextlib
import hashlib
import importlib.util
import json
import os
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from psiflow_cli.worker.failures import Fatal, is_broken_device
from psiflow_cli.worker.models import hardware
from psiflow_cli.worker.models.kernels import compiled_cache
from psiflow_cli.worker.models.kernels.compiled_cache import NotBuilt

if TYPE_CHECKING:
    import torch

    from psiflow_cli.messages import Context, FastPathChoice

EAGER, MEASURE = "eager", "measure"
_GAIN = 1.05  # how much faster than the model as it is another path must be
_WORTH_MS = 600e3  # of the model as it is: for less, none is compiled
_CALLS = 5  # of one timing, after two that load and compile
_TOLERANCE = {"float64": 1e-6, "float32": 2e-4}
"""Of forces in eV/Å, ten times energies per atom in eV, stresses in eV/Å³; relative to the largest force above 1."""


@dataclass(frozen=True)
class FastPath:
    """A way to compute a model."""

    name: str
    needs: tuple[str, ...] = ()  # modules
    install: str = ""  # what pip installs for them; `{cuda}` is the major version of CUDA
    devices: tuple[str, ...] = ("cuda",)
    needs_compiler: bool = False  # where pip installs it
    if_asked: bool = False  # less exact, or no gain as a rule

    def missing(self) -> list[str]:
        """The modules that are not installed."""
        return [name for name in self.needs if importlib.util.find_spec(name) is None]


@dataclass
class Fastest:
    """A model that chooses its path at its first call, and is called as each path is."""

    make: Callable[[str, bool], Any]
    """The model by the path of this name, as a function that returns `energy`, `forces` and perhaps `stress`.

    Raises NotBuilt where that takes minutes, and is not asked for."""
    paths: Sequence[FastPath]
    weights: Path | None
    """Beside which the choice is kept."""
    context: Context
    use: str
    """What the outputs are used for, such as `md` with stress: a choice holds for one use."""
    choice: FastPathChoice | None = None
    model: Any = None
    _is_chosen: bool = field(default=False, repr=False)

    def __post_init__(self) -> None:
        asked = self.context.get("kernels") or ""
        on_gpu = hardware.device(self.context) != "cpu"
        if asked not in ("", EAGER, MEASURE):
            path = next((each for each in self.paths if each.name == asked), None)
            known = ", ".join([EAGER, MEASURE, *(each.name for each in self.paths)])
            if path is None:
                raise Fatal(f'[resources] kernels = "{asked}": this model has no such kernels', f"it has {known}")
            if missing := path.missing():
                problem = f'[resources] kernels = "{asked}" needs {", ".join(missing)} in the worker\'s environment'
                raise Fatal(problem, f"pip install {_packages(path)}")
        self._is_chosen = asked not in ("", MEASURE) or not (on_gpu or asked == MEASURE) or not self.paths
        self.model = self.make(asked if self._is_chosen else EAGER, bool(asked))

    def __getattr__(self, name: str) -> Any:
        if name == "model" or name.startswith("__"):
            raise AttributeError(name)
        return getattr(self.model, name)

    def __call__(self, *arguments: Any) -> dict[str, torch.Tensor]:
        if not self._is_chosen:
            self._is_chosen = True
            self._choose(arguments)
        outputs: dict[str, torch.Tensor] = self.model(*arguments)
        return outputs

    def _choose(self, arguments: tuple[Any, ...]) -> None:
        eager, device = self.model, hardware.device(self.context)
        reference = eager(*arguments)
        key = self._key(len(reference["forces"])) if self.weights else ""
        open_to = [path for path in self.paths if device in path.devices and not path.if_asked]
        known = _read(self.weights, key) if self.weights else None
        ready = [path.name for path in open_to if not path.missing()]
        choice: FastPathChoice = {
            "path": EAGER, "ms": {}, "refused": {}, "device": device, "atoms": len(reference["forces"]),
            "install": [_packages(path) for path in open_to if path.missing()],
        }  # fmt: skip
        if known and set(ready) <= {*known["ms"], *known["refused"]}:
            choice, ready = {**known, "install": choice["install"]}, [known["path"]] if known["path"] != EAGER else []
        else:
            choice["ms"][EAGER] = _milliseconds(eager, arguments, device)
        for name in ready:
            self._try(name, arguments, reference, choice)
        if choice["path"] == EAGER:
            self.model = eager
        self.choice = choice
        if self.weights:
            _write(self.weights, key, choice)

    def _try(
        self, name: str, arguments: tuple[Any, ...], reference: Mapping[str, torch.Tensor], choice: FastPathChoice
    ) -> None:
        """Take a path if it agrees with the model as it is and is the fastest so far."""
        device = hardware.device(self.context)
        try:
            model = self.make(name, choice["ms"][EAGER] * self.context.get("calls", 0) > _WORTH_MS)
            if difference := differs(model(*arguments), reference):
                raise ValueError(difference)
            needed = _milliseconds(model, arguments, device)
        except NotBuilt:
            return
        except Exception as error:  # whatever a kernel or a compiler raises: the model as it is remains
            if is_broken_device(error):
                raise
            choice["refused"][name] = f"{type(error).__name__}: {' '.join(str(error).split())}"[:300]
            choice["path"] = EAGER if choice["path"] == name else choice["path"]
            return
        choice["ms"][name] = needed
        best = min(choice["ms"].get(each, needed) for each in (EAGER, choice["path"]))
        if name == choice["path"] or needed * _GAIN < best:
            choice["path"], self.model = name, model

    def _key(self, atoms: int) -> str:
        """What a choice depends on; batches count as alike within a factor of two."""
        machine = compiled_cache.machine(hardware.device(self.context))
        weights = compiled_cache.sha256(self.weights) if self.weights else ""
        how = [self.use, self.context.get("dtype"), self.context.get("head")]
        facts = [weights, machine, *how, atoms.bit_length()]
        return hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()[:16]


def _packages(path: FastPath) -> str:
    """What pip is to install for a path."""
    import torch

    return path.install.format(cuda=(torch.version.cuda or "12").partition(".")[0])


def differs(outputs: Mapping[str, torch.Tensor], reference: Mapping[str, torch.Tensor]) -> str:
    """How outputs differ from those of the model as it is, by more than the precision explains; "" if they do not."""
    forces = reference["forces"].double()
    dtype = str(reference["forces"].dtype).removeprefix("torch.")
    allowed = _TOLERANCE.get(dtype, _TOLERANCE["float32"]) * max(1.0, float(forces.abs().max()))
    names = [name for name in ("energy", "forces", "stress") if name in reference]
    apart = {name: float((outputs[name].double() - reference[name].double()).abs().max()) for name in names}
    apart["energy"] *= 10 * len(reference["energy"]) / len(forces)
    worst = max(apart, key=lambda name: apart[name] if apart[name] == apart[name] else float("inf"))
    return "" if apart[worst] <= allowed else f"{worst}: {apart[worst]:.1e} apart from the model itself"


def _milliseconds(model: Callable[..., object], arguments: tuple[Any, ...], device: str) -> float:
    """Of one call, the least of a few."""
    import torch

    def wait() -> None:
        if device == "cuda":
            torch.cuda.synchronize()

    least = float("inf")
    for call in range(_CALLS + 2):
        wait()
        began = time.perf_counter()
        model(*arguments)
        wait()
        if call >= 2:
            least = min(least, time.perf_counter() - began)
    return round(1e3 * least, 3)


def _place(weights: Path, key: str) -> Path:
    return weights.parent / compiled_cache.FOLDER / f"fast-path-{key}.json"


def _read(weights: Path, key: str) -> FastPathChoice | None:
    with contextlib.suppress(OSError, ValueError, KeyError):
        choice: FastPathChoice = json.loads(_place(weights, key).read_text(encoding="utf-8"))
        return choice if choice["path"] in (EAGER, *choice["ms"]) else None
    return None


def _write(weights: Path, key: str, choice: FastPathChoice) -> None:
    """Keep a choice for other workers and runs, unless the bundle may not be written."""
    path = _place(weights, key)
    with contextlib.suppress(OSError):
        path.parent.mkdir(exist_ok=True)
        temporary = path.with_suffix(f".{os.uname().nodename}-{os.getpid()}.part")
        temporary.write_text(json.dumps(choice, indent=1) + "\n", encoding="utf-8")
        os.replace(temporary, path)
