"""Model bundles: a directory with `model.toml` and the weights of each member in the trainer's native format.

Of a sum of potentials, each member is a list of terms, and `term-0`, `term-1`, … hold what the terms consist of.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import tempfile
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, cast

from psiflow_cli import toml
from psiflow_cli.errors import BadData, NoInput, counted

if TYPE_CHECKING:
    from psiflow_cli.messages import BundleFacts, Calibration, ErrorScale, ErrorScales


CALIBRATION = "calibration.json"
"""What `psiflow evaluate --calibrate` adds to a bundle."""


@dataclass(frozen=True)
class Bundle:
    """A model as `psiflow train` or `psiflow model combine` left it."""

    path: Path
    facts: BundleFacts  # the contents of model.toml
    head: str | None = None  # the one that is chosen, of a model that has several

    @property
    def family(self) -> str:
        return self.facts["family"]

    @property
    def elements(self) -> list[str]:
        return list(self.facts["elements"])

    @property
    def is_foreign(self) -> bool:
        """Whether it is a bare model file, of which nothing is known before it is run."""
        return bool(self.facts.get("foreign"))

    @property
    def runs_as(self) -> str:
        """The family by which a site names where it runs."""
        return self.facts.get("runs_as", self.family)

    @property
    def frame_inputs(self) -> tuple[str, ...]:
        """What it reads of a frame besides its structure."""
        return tuple(self.facts.get("frame_inputs", ()))

    @property
    def unfinished(self) -> bool:
        """Whether its training was stopped before the end."""
        return bool(self.facts.get("unfinished"))

    @property
    def members(self) -> list[str]:
        """Absolute paths of the members' folders, or of a bare model file."""
        if self.is_foreign:
            return [str(self.path.absolute())]
        return [str((self.path / f"member-{i}").absolute()) for i in range(self.facts["members"])]

    @property
    def weights(self) -> dict[str, str]:
        """The sha256 of every weight file, by absolute path."""
        place = self.path.parent if self.is_foreign else self.path
        return {str((place / name).absolute()): digest for name, digest in self.facts["weights"].items()}

    @property
    def fingerprint(self) -> str:
        """16 hex digits over the weights of every member, and the head that is chosen."""
        weights = "\n".join(f"{name} {digest}" for name, digest in sorted(self.facts["weights"].items()))
        if self.head is not None:
            weights += f"\nhead {self.head}"
        return hashlib.sha256(weights.encode()).hexdigest()[:16]


def foreign(path: Path, family: str, beside: Iterable[str] = ()) -> Bundle:
    """A bare model file as a bundle of one member; its elements are not known, since nothing of it is run.

    `beside` are absolute paths of files that are part of it.
    """
    folder = str(path.parent.absolute())
    names = [path.name, *(each.removeprefix(f"{folder}/") for each in beside)]
    weights = {name: hashlib.sha256((path.parent / name).read_bytes()).hexdigest() for name in names}
    return Bundle(path, {"family": family, "elements": [], "members": 1, "weights": weights, "foreign": True})


def pinned(bundle: Bundle, folder: Path) -> Bundle:
    """A copy below `folder`, by fingerprint, that stays when the bundle is replaced; made whole or not at all.

    The copy's weights are checked: raises BadData where they changed meanwhile.
    """
    place = folder / bundle.fingerprint
    if not place.exists():
        folder.mkdir(parents=True, exist_ok=True)
        copy = Path(tempfile.mkdtemp(prefix=".", dir=folder))
        try:
            if bundle.is_foreign:
                shutil.copyfile(bundle.path, copy / bundle.path.name)
            else:
                copy_files(bundle, copy)
            copy.rename(place)
        finally:
            shutil.rmtree(copy, ignore_errors=True)
    copied = foreign(place / bundle.path.name, bundle.family) if bundle.is_foreign else load(str(place))
    return replace(copied, head=bundle.head)


def copy_files(bundle: Bundle, copy: Path) -> None:
    """Copy what a bundle needs into a folder."""
    for file in ("model.toml", *bundle.facts["weights"], *bundle.facts.get("data", {})):
        if (bundle.path / file).is_file():
            (copy / file).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(bundle.path / file, copy / file)


def training_data(bundle: Bundle) -> dict[str, Path]:
    """The files of what it was trained on and validated with, as far as it still has them: `train`, `valid`.

    Raises BadData for one that was changed.
    """
    files = {}
    for name, digest in bundle.facts.get("data", {}).items():
        path = bundle.path / name
        if not path.is_file():
            continue  # whoever hands a model on may keep the data
        if hashlib.sha256(path.read_bytes()).hexdigest() != digest:
            raise BadData(
                f"{path}: not the data recorded in model.toml (sha256)", "use --no-replay to train without them"
            )
        files[path.name.partition(".")[0]] = path
    return files


def calibration(bundle: Bundle) -> Calibration | None:
    """How large an error the spread of its members stands for, if that is known.

    Raises BadData for a file that was changed, or that belongs to other weights.
    """
    path = bundle.path / CALIBRATION
    if bundle.is_foreign or not path.is_file():
        return None
    hint = "remove it, or replace it: psiflow evaluate --calibrate --overwrite"
    try:
        calibrated = cast("Calibration", json.loads(path.read_text(encoding="utf-8")))
        whole = calibrated["sha256"] == checksum(calibrated)
    except (OSError, ValueError, KeyError, TypeError):
        whole = False
    if not whole:
        raise BadData(f"{path}: not (or no longer) what psiflow evaluate --calibrate wrote (sha256)", hint)
    if calibrated["weights"] != bundle.fingerprint:
        raise BadData(f"{path}: the calibration belongs to weights other than those in this bundle", hint)
    return calibrated


def checksum(calibration: Calibration) -> str:
    """The sha256 of everything in it but that."""
    rest = {key: value for key, value in calibration.items() if key != "sha256"}
    return hashlib.sha256(json.dumps(rest, sort_keys=True).encode()).hexdigest()


def error_scales(bundle: Bundle) -> ErrorScales | None:
    """All of its calibration that expected errors depend on, if it has one; see `calibration`."""
    calibrated = calibration(bundle)
    return scales_of(calibrated) if calibrated else None


def scales_of(calibrated: Calibration) -> ErrorScales:
    """What of a calibration expected errors depend on."""
    forces: ErrorScale = {"scale": calibrated["forces"]["scale"], "floor": calibrated["forces"]["floor"]}
    if "energy" not in calibrated:
        return {"forces": forces}
    return {
        "forces": forces,
        "energy": {"scale": calibrated["energy"]["scale"], "floor": calibrated["energy"]["floor"]},
    }


def load(name: str) -> Bundle:
    """Open a bundle and check every weight file against its sha256; nothing of it is run.

    One that is replaced meanwhile is read again. Raises NoInput if there is none, BadData if it is broken or its
    weights are not those it was made with.
    """
    while True:
        before = _inode(name)
        try:
            return _load(name)
        except (BadData, NoInput):
            if _inode(name) == before:
                raise


def _inode(name: str) -> int:
    try:
        return os.stat(name).st_ino
    except OSError:
        return 0


def _load(name: str) -> Bundle:
    bundle = read(name)
    for error in differences(bundle):
        raise error
    return bundle


def read(name: str) -> Bundle:
    """Open a bundle without a look at its weights. Raises NoInput if there is none, BadData if it is broken."""
    path = Path(name)
    if not path.exists():
        hint = "train one with psiflow train, or combine models and references with psiflow model combine"
        if name.isidentifier():
            hint = f"give the path of a bundle; psiflow model combine {name} -o {name}.model makes one of a reference"
        raise NoInput(f"{name}: no such model bundle", hint)
    try:
        facts = toml.load(path / "model.toml", BadData, "restore the model.toml that psiflow wrote")
    except OSError:
        hint = "a bundle is a directory with a model.toml in it"
        if path.is_file():
            hint += f"; make one of a model file with psiflow model combine {name} -o NAME.model"
        raise BadData(f"{name}: not a model bundle", hint) from None
    except BadData as error:
        raise BadData(f"{name}: not a model bundle: {error.message}", error.hint) from None
    return Bundle(path, _checked(name, facts))


def differences(bundle: Bundle) -> Iterator[BadData]:
    """What the weights differ in from those that the bundle was made with, file by file."""
    for file, digest in bundle.facts["weights"].items():
        path = bundle.path / file
        if not path.is_file():
            yield BadData(f"{path}: missing from the bundle", "copy the entire directory")
        elif hashlib.sha256(path.read_bytes()).hexdigest() != digest:
            yield BadData(f"{path}: not the weights recorded in model.toml (sha256)", _DISTRUST)


_DISTRUST = "a model file is a program: run it only if you trust its source"
_FACTS: dict[str, type] = {"family": str, "elements": list, "members": int, "weights": dict}


def _checked(name: str, table: Mapping[str, object]) -> BundleFacts:
    """The facts. Raises BadData for a model.toml that lacks what every model has, or leaves weights unnamed."""
    for key, kind in _FACTS.items():
        if not isinstance(table.get(key), kind):
            raise BadData(f"{name}/model.toml: {key} is missing or wrong", "copy the bundle again, or train it again")
    facts = cast("BundleFacts", table)
    named = [Path(file) for file in facts["weights"]]
    folders = {f"member-{i}" for i in range(facts["members"])}
    terms: set[str] = set()
    if "terms" in facts:
        named = [file for file in named if not file.is_absolute()]  # what a term in Python reads from elsewhere
        terms = {file.parts[0] for file in named if str(file).startswith("term-")}
    inside = {str(file.parent) for file in named if file.parts[:1] not in [(name,) for name in terms]}
    if not folders or inside != folders:
        raise BadData(
            f"{name}/model.toml: [weights] does not match its {counted(facts['members'], 'member')}", _DISTRUST
        )
    # A family finds its weights by their suffix: one that is not named would be run without having been checked.
    suffixes = {file.suffix for file in named}
    there = [path for folder in folders for path in Path(name, folder).glob("*")]
    there += [path for folder in terms for path in Path(name, folder).rglob("*")]
    for path in sorted(there):
        if path.suffix in suffixes and path.is_file() and path.relative_to(name) not in named:
            raise BadData(f"{path}: these weights are not in model.toml", _DISTRUST)
    return facts
