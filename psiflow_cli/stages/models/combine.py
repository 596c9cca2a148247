"""A sum of potentials as a bundle: copies of all that its terms consist of, and a list of the terms for each member."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, cast

from psiflow_cli import __version__, bundle, protocols, registry, toml
from psiflow_cli.bundle import Bundle
from psiflow_cli.elements import SYMBOLS
from psiflow_cli.errors import BadData, CannotCreate, UsageError

if TYPE_CHECKING:
    from psiflow_cli.messages import BundleFacts, Settings, SumTerm, Term
    from psiflow_cli.protocols import Reference

FAMILY = "sum"
_LIST = "sum.json"
"""In each member's folder; what `potentials.sum` reads."""


@dataclass(frozen=True)
class Source:
    """A term, and what of it goes into the bundle."""

    term: Term
    members: list[SumTerm]  # of each of its members, with paths relative to the term's folder
    copies: dict[str, Path] = field(default_factory=dict)  # where each file of its folder comes from
    elsewhere: dict[str, str] = field(default_factory=dict)  # sha256 of files that stay where they are, by path
    runs_as: str = ""
    requires: tuple[str, ...] = ()
    frame_inputs: tuple[str, ...] = ()
    elements: frozenset[str] = frozenset()  # none: not known
    cutoff: float = 0.0  # Å; 0: not known
    dtype: str = ""
    atomic_energies: dict[str, float] | None = None  # eV


def of_model(model: Bundle, written: str, factor: float) -> list[Source]:
    """The term that a model is, or those of a sum."""
    if model.family == FAMILY:
        return [_of_sum(model, term, number, factor) for number, term in enumerate(model.facts["terms"])]
    facts, is_foreign = model.facts, model.is_foreign
    here = model.path.parent if is_foreign else model.path
    names = [*model.facts["weights"], *([] if is_foreign else ["model.toml"])]
    inside = {name: here / name for name in names if not os.path.isabs(name)}
    elsewhere = {name: digest for name, digest in facts["weights"].items() if os.path.isabs(name)}
    paths = [model.path.name] if is_foreign else [f"member-{i}" for i in range(facts["members"])]
    term: Term = {"factor": factor, "what": written, "sha256": _digest(facts["weights"]), "family": model.family}
    shared: SumTerm = {"factor": factor, "what": written, "family": model.family}
    if model.head is not None:
        term["head"] = shared["head"] = model.head
    members: list[SumTerm] = [{**shared, "member": path} for path in paths]
    energies = facts.get("atomic_energies")
    if model.head is not None:
        energies = facts.get("head_energies", {}).get(model.head)
    return [Source(
        term, members, inside, elsewhere, model.runs_as, registry.potential(model.family).REQUIRES,
        model.frame_inputs, frozenset(model.elements), facts.get("cutoff", 0.0), facts.get("dtype", ""), energies,
    )]  # fmt: skip


def _of_sum(model: Bundle, term: Term, number: int, factor: float) -> Source:
    """A term of a sum as one of another, which has its place in the bundle."""
    lists = [json.loads(Path(member, _LIST).read_text(encoding="utf-8"))["terms"] for member in model.members]
    folder = f"term-{number}/"
    of_member: list[SumTerm] = []
    for entry in (terms[number] for terms in lists):
        moved = {key: value.removeprefix(folder) for key, value in entry.items() if key in ("member", "reference")}
        of_member.append(cast("SumTerm", {**entry, **moved, "factor": factor * entry["factor"]}))
    weights = model.facts["weights"]
    elsewhere = {name: digest for name, digest in weights.items() if os.path.isabs(name)}
    names = [name for name in weights if name.startswith(folder)]
    names += [f"{folder}model.toml"] * (model.path / folder / "model.toml").is_file()
    distinct = [entry for i, entry in enumerate(of_member) if entry not in of_member[:i]]
    changed = term.copy()
    changed["factor"] = factor * term["factor"]
    return Source(
        changed, distinct, {name.removeprefix(folder): model.path / name for name in names}, elsewhere,
        model.runs_as, tuple(model.facts.get("requires", ())), model.frame_inputs,
        frozenset(model.elements), model.facts.get("cutoff", 0.0), model.facts.get("dtype", ""),
    )  # fmt: skip


def of_reference(name: str, settings: Settings, what: str, factor: float, parts: Sequence[str] = ()) -> Source:
    """The term that a reference is; `parts` are files that one of the user's own needs, besides itself.

    See `check_in_process`.
    """
    module = registry.load("references", name)
    is_own = name.endswith(".py")
    copies: dict[str, Path] = {}
    if is_own:
        folder = f"{os.path.dirname(os.path.abspath(name))}/"
        copies = {os.path.abspath(each).removeprefix(folder): Path(each) for each in (name, *parts)}
    digests = {file: _sha256(path) for file, path in copies.items()}
    own = Path(name).name if is_own else name
    plain: Settings = json.loads(json.dumps(settings))
    term: Term = {"factor": factor, "what": what, "sha256": _digest([plain, digests]), "reference": own}
    member: SumTerm = {"factor": factor, "what": what, "reference": own, "settings": plain}
    runs_as = Path(name).stem if is_own else name
    known_elements = frozenset(symbol for symbol in SYMBOLS if _takes(module, settings, symbol))
    return Source(
        term, [member], copies, {}, runs_as, module.REQUIRES, module.FRAME_INPUTS,
        known_elements if len(known_elements) < len(SYMBOLS) else frozenset(),
    )  # fmt: skip


def in_process() -> list[str]:
    """The references that can be a term: those that start no program."""
    modules = {name: registry.load("references", name) for name in registry.names("references")}
    return [name for name, module in modules.items() if isinstance(module, protocols.InProcess) and module.IN_PROCESS]


def check_in_process(name: str) -> None:
    """Raise UsageError for a reference that cannot be a term."""
    if name not in (known := in_process()):
        problem = f"the reference {name} cannot be a term, because it starts a program or needs an input file"
        raise UsageError(problem, f"references that can: {', '.join(known)}")


def _takes(module: Reference, settings: Settings, element: str) -> bool:
    try:
        module.check(settings, {element})
    except BadData:
        return False
    return True


def facts(sources: list[Source]) -> BundleFacts:
    """The contents of model.toml, less the checksums. Raises UsageError for terms that do not go together."""
    counts = {len(source.members) for source in sources} - {1}
    if len(counts) > 1:
        numbers = " and ".join(map(str, sorted(counts)))
        problem = f"committees of {numbers} members: each member of the sum adds one member of each committee"
        raise UsageError(problem, "add committees of equal size, or single models")
    elements = [source.elements for source in sources if source.elements]
    together = frozenset.intersection(*elements) if elements else frozenset[str]()
    if elements and not together:
        problem = "the terms have no element in common: " + "; ".join(
            f"{source.term['what']} knows {' '.join(_sorted(source.elements))}" for source in sources if source.elements
        )
        raise UsageError(problem, "the sum could not compute any frame")
    bundle_facts: BundleFacts = {
        "family": FAMILY, "members": max(counts, default=1), "elements": _sorted(together), "weights": {},
        "runs_as": _runs_as(sources), "psiflow": __version__,
    }  # fmt: skip
    bundle_facts["requires"] = list(dict.fromkeys(name for source in sources for name in source.requires))
    inputs = [name for source in sources for name in source.frame_inputs]
    if inputs:
        bundle_facts["frame_inputs"] = list(dict.fromkeys(inputs))
    if all(source.cutoff for source in sources):
        bundle_facts["cutoff"] = max(source.cutoff for source in sources)
    if dtypes := {source.dtype for source in sources if source.dtype}:
        bundle_facts["dtype"] = " and ".join(sorted(dtypes))
    if all(source.atomic_energies for source in sources):
        bundle_facts["atomic_energies"] = {
            symbol: sum(s.term["factor"] * (s.atomic_energies or {})[symbol] for s in sources)
            for symbol in bundle_facts["elements"] if all(symbol in (s.atomic_energies or {}) for s in sources)
        }  # fmt: skip
    return bundle_facts


def _runs_as(sources: list[Source]) -> str:
    """The family whose environment serves all terms. Raises UsageError where there is none.

    Any model's environment has what references need, or can have it.
    """
    trained = list(dict.fromkeys(s.runs_as for s in sources if s.runs_as in registry.families()))
    families = {name: registry.potential(name) for name in trained}
    extras = {family.EXTRA if isinstance(family, protocols.HasExtra) else name for name, family in families.items()}
    if len(extras) > 1:
        problem = f"models of {' and '.join(trained)} cannot share an environment, so they cannot be added"
        raise UsageError(
            problem, "psiflow label --reference BUNDLE gives the labels of each, which you can add yourself"
        )
    others = [source.runs_as for source in sources if "family" in source.term] or [s.runs_as for s in sources]
    return max(trained, key=lambda name: len(families[name].REQUIRES)) if trained else others[0]


def make(sources: list[Source], output: str, overwrite: bool) -> Bundle | None:
    """Put the bundle into its place, whole or not at all; None where it is there already.

    Raises CannotCreate for an output that is something else.
    """
    contents = facts(sources)
    place = Path(output)
    place.parent.mkdir(parents=True, exist_ok=True)
    folder = Path(tempfile.mkdtemp(prefix=f".{place.name}.", dir=place.parent))
    try:
        weights = contents["weights"]
        described: list[Term] = []
        for number, source in enumerate(sources):
            weights |= _copied(source, folder, f"term-{number}") | source.elsewhere
            described.append(_described(source, number))
        for index in range(contents["members"]):
            weights[f"member-{index}/{_LIST}"] = _write_member(sources, folder / f"member-{index}", index)
        tables = {"terms": described, "weights": weights}
        (folder / "model.toml").write_text(toml.dumps({**contents, **tables}), encoding="utf-8")
        combined = bundle.load(str(folder))
        if _is_there(place, combined, overwrite):
            return None
        os.chmod(folder, 0o777 & ~_umask())
        if place.exists():
            aside = Path(tempfile.mkdtemp(prefix=f".{place.name}.old.", dir=place.parent))
            place.rename(aside / "old")
            folder.rename(place)
            shutil.rmtree(aside)
        else:
            folder.rename(place)
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    return bundle.load(output)


def _described(source: Source, number: int) -> Term:
    """The term as model.toml has it."""
    term = source.term.copy()
    if source.copies:
        term["folder"] = f"term-{number}"
    if "family" in term:
        term["members"] = len(source.members)
    if source.elements and "family" in term:
        term["elements"] = _sorted(source.elements)
    return term


def _is_there(place: Path, combined: Bundle, overwrite: bool) -> bool:
    """Whether the same sum is there. Raises CannotCreate for what must not be replaced."""
    if not os.path.lexists(place):
        return False
    try:
        there = bundle.load(str(place))
    except Exception:
        raise CannotCreate(f"{place}: exists and is not a complete model bundle", "choose another --output") from None
    if there.fingerprint == combined.fingerprint:
        return True
    if not overwrite:
        raise CannotCreate(f"{place}: exists and is a different model", "replace it with --overwrite")
    return False


def _copied(source: Source, folder: Path, term: str) -> dict[str, str]:
    """The sha256 of the term's weights, by path in the bundle."""
    digests = {}
    for name, origin in source.copies.items():
        target = folder / term / name
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(origin, target)
        digests[f"{term}/{name}"] = _sha256(target)
    return digests


def _write_member(sources: list[Source], folder: Path, index: int) -> str:
    """The list of the terms of a member; returns its sha256."""
    folder.mkdir()
    listed: list[SumTerm] = []
    for number, source in enumerate(sources):
        entry = source.members[index % len(source.members)]
        place = f"term-{number}/"
        if "member" in entry:
            entry = {**entry, "member": place + entry["member"]}
        elif source.copies:
            entry = {**entry, "reference": place + entry["reference"]}
        listed.append(entry)
    text = json.dumps({"terms": listed}, indent=1, ensure_ascii=False) + "\n"
    (folder / _LIST).write_text(text, encoding="utf-8")
    return _sha256(folder / _LIST)


def _sorted(elements: frozenset[str]) -> list[str]:
    return sorted(elements, key=lambda symbol: SYMBOLS.index(symbol))


def _digest(value: object) -> str:
    return hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()


def _sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask
