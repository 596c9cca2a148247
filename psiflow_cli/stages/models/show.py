"""What a model bundle is and how good, as far as its text files tell: nothing of the model is run."""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from psiflow_cli import bundle, registry
from psiflow_cli.errors import PsiflowError

_ERRORS = {
    "energy": ("e_meV_per_atom", "meV/atom"),
    "forces": ("f_meV_per_A", "meV/Å"),
    "stress": ("stress_meV_per_A3", "meV/Å³"),
}
"""How the trainers' logs end the names of validation errors, and the unit."""


def facts(model: bundle.Bundle) -> dict[str, Any]:
    """All that is known of a model, in builtins."""
    told = {k: v for k, v in model.facts.items() if k not in ("configuration", "weights", "data", "unfinished")}
    metrics = _metrics(model.path / "metrics.json")
    return {
        "model": str(model.path),
        **told,
        "fingerprint": model.fingerprint,
        "finished": not model.unfinished,
        "size": sum(file.stat().st_size for file in model.path.rglob("*") if file.is_file()),
        "errors": [{"member": i, **_errors(metrics.get(f"member-{i}", {}))} for i in range(told["members"])],
        "weights": model.facts["weights"],
        "data": model.facts.get("data", {}),
        "compiled": sorted(f"{p.parent.parent.name}/{p.stem}" for p in model.path.glob("member-*/compiled/*.json")),
        "settings": _main_settings(model),
        "configuration": model.facts.get("configuration", {}),
    }


def _metrics(path: Path) -> dict[str, Any]:
    """The metrics of each member; none where the file is missing or broken, which is no part of the model."""
    try:
        found = json.loads(path.read_text(encoding="utf-8"))["metrics"]
    except (OSError, ValueError, KeyError, TypeError):
        return {}
    return found if isinstance(found, dict) else {}


def _errors(metrics: dict[str, Any]) -> dict[str, Any]:
    """Validation errors of the weights that were kept, and of which epoch they are."""
    taken = metrics if any(key.startswith("rmse_") for key in metrics) else metrics.get("last", {})
    found = {"epoch": taken.get("epoch"), "epochs": metrics.get("epochs")}
    for quantity, (ending, _) in _ERRORS.items():
        errors = {kind: taken[f"{kind}_{ending}"] for kind in ("rmse", "mae") if f"{kind}_{ending}" in taken}
        if errors:
            found[quantity] = errors
    return found


def _main_settings(model: bundle.Bundle) -> dict[str, Any]:
    """The settings that its family calls the main ones, else those that are no tables."""
    config = model.facts.get("configuration", {})
    try:
        names: Iterable[str] = getattr(registry.load("models", model.family), "MAIN_SETTINGS", ())
    except PsiflowError:  # of another psiflow
        names = ()
    found = {name.rpartition(".")[2]: _at(config, name) for name in names}
    chosen = {name: value for name, value in found.items() if value is not None}
    return chosen or {name: value for name, value in config.items() if not isinstance(value, (dict, list))}


def _at(config: Any, name: str) -> Any:
    for part in name.split("."):
        config = config.get(part) if isinstance(config, dict) else None
    return config


def as_text(known: dict[str, Any]) -> str:
    """The facts as a person reads them."""
    energies = known.get("atomic_energies", {})
    rows = {
        "model": known["model"],
        "family": known["family"],
        "trainer": known.get("trainer", "?"),
        "training": _training(known),
        "members": _members(known),
        "elements": ", ".join(known["elements"]),
        "cut-off": f"{known.get('cutoff', 0):g} Å",
        "precision": known.get("dtype", "?"),
        "atomic energies": ", ".join(f"{symbol} {value:.6f}" for symbol, value in energies.items()) + " eV",
        "data": f"{known.get('train_frames', '?')} frames to train, {known.get('valid_frames', '?')} to validate",
        "data sha256": known.get("data_sha256", "?"),
        "size": f"{known['size'] / 2**20:.1f} MB",
        **({"compiled": ", ".join(known["compiled"])} if known["compiled"] else {}),
        "made by": f"psiflow {known.get('psiflow', '?')}",
    }
    width = max(map(len, rows))
    lines = [f"{name:{width}}  {value}" for name, value in rows.items()]
    lines += ["", "validation errors", *_error_lines(known["errors"])]
    lines += ["", "main settings (all of them: --json)"]
    lines += [f"  {name} = {_short(value)}" for name, value in known["settings"].items()]
    return "\n".join(lines)


def _training(known: dict[str, Any]) -> str:
    done = ", ".join(str(n) for n in dict.fromkeys(known.get("epochs", [])))
    state = "finished" if known["finished"] else "stopped by the clock"
    begun = f", from the model {known['init']}" if known.get("init") else ""
    return f"{state}{f' after {done} epochs' if done else ''}{begun}"


def _members(known: dict[str, Any]) -> str:
    how = ", each with its own sample of the data" if known.get("bootstrap") else ""
    first = known.get("seed", 0)
    last = first + known["members"] - 1
    seeds = f"seed {first}" if first == last else f"seeds {first} to {last}"
    return f"{known['members']} ({seeds}{how})"


def _error_lines(members: list[dict[str, Any]]) -> list[str]:
    """A table with a row for each member: RMSE / MAE of each quantity that the trainer has measured."""
    there = [quantity for quantity in _ERRORS if any(quantity in member for member in members)]
    if not there:
        return ["  none are known"]
    titles = "".join(f"{f'{quantity} / {_ERRORS[quantity][1]}':>22}" for quantity in there)
    lines = [
        f"  {'member':8}{'epoch':>6}{titles}",
        f"  {'':14}{'RMSE        MAE':>22}" + f"{'RMSE        MAE':>22}" * (len(there) - 1),
    ]
    for member in members:
        cells = "".join(f"{_cell(member.get(quantity, {})):>22}" for quantity in there)
        epoch = "?" if member["epoch"] is None else member["epoch"]
        lines.append(f"  {member['member']:<8}{epoch:>6}{cells}")
    return lines


def _cell(errors: dict[str, float]) -> str:
    return "".join(f"{errors[kind]:11.3f}" if kind in errors else f"{'-':>11}" for kind in ("rmse", "mae"))


def _short(value: Any) -> str:
    text = json.dumps(value, ensure_ascii=False)
    return text if len(text) < 80 else text[:77] + "..."
