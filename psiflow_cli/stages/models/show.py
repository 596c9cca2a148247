"""What a model bundle is and how good, as far as its text files tell: nothing of the model is run."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Literal, cast

from psiflow_cli import bundle, registry
from psiflow_cli.errors import PsiflowError, counted
from psiflow_cli.protocols import HasMainSettings

if TYPE_CHECKING:
    from psiflow_cli.messages import CalibratedQuantity, Calibration, Config, MemberErrors, ModelReport, Term

Quantity = Literal["energy", "forces", "stress"]
_ERRORS: dict[Quantity, tuple[str, str]] = {
    "energy": ("e_meV_per_atom", "meV/atom"),
    "forces": ("f_meV_per_A", "meV/Å"),
    "stress": ("stress_meV_per_A3", "meV/Å³"),
}
"""How the trainers' logs end the names of validation errors, and the unit."""


def facts(model: bundle.Bundle) -> ModelReport:
    """All that is known of a model, in builtins."""
    left_out = ("configuration", "weights", "data", "unfinished")
    metrics, config = _metrics(model.path / "metrics.json"), model.facts.get("configuration", {})
    calibration = bundle.calibration(model)
    report = {
        "model": str(model.path), **{key: value for key, value in model.facts.items() if key not in left_out},
        "fingerprint": model.fingerprint, "finished": not model.unfinished,
        "size": sum(file.stat().st_size for file in _files(model)),
        "errors": [member_errors(i, metrics.get(f"member-{i}", {})) for i in range(model.facts["members"]) if metrics],
        "weights": model.facts["weights"], "data": model.facts.get("data", {}),
        "compiled": sorted(f"{p.parent.parent.name}/{p.stem}" for p in model.path.glob("member-*/compiled/*.json")),
        **({"calibration": calibration} if calibration else {}),
        "settings": _settings(model.family, config), "configuration": config,
    }  # fmt: skip
    return cast("ModelReport", report)


def _files(model: bundle.Bundle) -> list[Path]:
    if model.is_foreign:
        return [Path(path) for path in model.weights]
    return [file for file in model.path.rglob("*") if file.is_file()]


def _metrics(path: Path) -> Config:
    """The metrics of each member; none where the file is missing or broken, which is no part of the model."""
    try:
        metrics = json.loads(path.read_text(encoding="utf-8"))["metrics"]
    except (OSError, ValueError, KeyError, TypeError):
        return {}
    return metrics if isinstance(metrics, dict) else {}


def member_errors(member: int, metrics: Config) -> MemberErrors:
    """Validation errors of the weights that were kept, and of which epoch they are."""
    taken = metrics if any(key.startswith("rmse_") for key in metrics) else metrics.get("last", {})
    row: MemberErrors = {"member": member, "epoch": taken.get("epoch"), "epochs": metrics.get("epochs")}
    for quantity, (ending, _) in _ERRORS.items():
        measured = {kind: taken.get(f"{kind}_{ending}") for kind in ("rmse", "mae")}
        errors = {kind: value for kind, value in measured.items() if value is not None}  # null: not a number
        if errors:
            row[quantity] = errors
    return row


def _settings(family: str, config: Config) -> dict[str, object]:
    """The settings that a family calls the main ones, else those that are no tables."""
    try:
        chosen = main_settings(registry.potential(family), config)
    except PsiflowError:  # of another psiflow
        chosen = {}
    return chosen or {name: value for name, value in config.items() if not isinstance(value, (dict, list))}


def main_settings(family: object, config: Mapping[str, object]) -> dict[str, object]:
    """The settings that a family calls the main ones, as far as a configuration has them."""
    names = family.MAIN_SETTINGS if isinstance(family, HasMainSettings) else ()
    values = {name.rpartition(".")[2]: _at(config, name) for name in names}
    return {name: value for name, value in values.items() if value is not None}


def _at(config: Mapping[str, object], name: str) -> object:
    value: object = config
    for part in name.split("."):
        value = value.get(part) if isinstance(value, dict) else None
    return value


def as_text(report: ModelReport) -> str:
    """The facts as a person reads them."""
    if report.get("foreign") or "terms" in report:
        return _untrained_text(report)
    energies = report.get("atomic_energies", {})
    frames = counted(report.get("train_frames", 0), "frame")
    rows = {
        "model": report["model"],
        "family": report["family"],
        "trainer": report.get("trainer", "?"),
        "training": _training(report),
        "members": _members(report),
        **({"heads": ", ".join(report["heads"])} if len(report.get("heads", [])) > 1 else {}),
        "elements": ", ".join(report["elements"]),
        "cut-off": f"{report.get('cutoff', 0):g} Å",
        "precision": report.get("dtype", "?"),
        "atomic energies": ", ".join(f"{symbol} {value:.6f}" for symbol, value in energies.items()) + " eV",
        "data": f"{frames} to train, {report.get('valid_frames', '?')} to validate",
        "data sha256": report.get("data_sha256", "?"),
        "size": f"{report['size'] / 2**20:.1f} MB",
        **({"compiled": ", ".join(report["compiled"])} if report["compiled"] else {}),
        **({"calibration": _calibration(report["calibration"])} if "calibration" in report else {}),
        "made by": f"psiflow {report.get('psiflow', '?')}",
    }
    width = max(map(len, rows))
    lines = [f"{name:{width}}  {value}" for name, value in rows.items()]
    lines += ["", "validation errors", *error_lines(report["errors"])]
    lines += ["", "main settings (all of them: --json)"]
    lines += [f"  {name} = {_short(value)}" for name, value in report["settings"].items()]
    return "\n".join(lines)


def _untrained_text(report: ModelReport) -> str:
    """The facts of a sum, or of a bare model file."""
    terms = report.get("terms", [])
    rows = {
        "model": report["model"],
        "family": f"{report['family']}: {registry.potential(report['family']).SUMMARY}",
        "fingerprint": report["fingerprint"],
        **({"members": str(report["members"])} if report["members"] > 1 else {}),
        "elements": ", ".join(report["elements"]) or "not known before it runs",
        **({"cut-off": f"{report['cutoff']:g} Å"} if "cutoff" in report else {}),
        **({"precision": report["dtype"]} if "dtype" in report else {}),
        "runs as": f"{report.get('runs_as', report['family'])} of the site file",
        **({"needs": ", ".join(report["requires"])} if "requires" in report else {}),
        "size": f"{report['size'] / 2**20:.1f} MB",
        **({"calibration": _calibration(report["calibration"])} if "calibration" in report else {}),
    }
    width = max(map(len, rows))
    lines = [f"{name:{width}}  {value}" for name, value in rows.items()]
    if terms:
        lines += ["", "terms", *(f"  {term['factor']:+g} * {_term(term)}" for term in terms)]
    else:
        lines += ["", "files (sha256)", *(f"  {name}  {digest}" for name, digest in report["weights"].items())]
    return "\n".join(lines)


def _term(term: Term) -> str:
    what = term.get("family", "reference")
    members = f" of {term['members']} members" if term.get("members", 1) > 1 else ""
    head = f", head {term['head']}" if "head" in term else ""
    return f"{term['what']} ({what}{members}{head}; sha256 {term['sha256'][:16]}…)"


def _training(report: ModelReport) -> str:
    done = ", ".join(str(n) for n in dict.fromkeys(report.get("epochs", [])))
    state = "finished" if report["finished"] else "stopped before the end"
    begun = f", from the model {report['init']}" if report.get("init") else ""
    return f"{state}{f' after {done} epochs' if done else ''}{begun}"


def _calibration(calibration: Calibration) -> str:
    energy = f", of the energy {_scale(calibration['energy'], 'eV per atom')}" if "energy" in calibration else ""
    data = f"by {calibration['frames']} frames ({', '.join(calibration['data'])})"
    return f"expected error of a force {_scale(calibration['forces'], 'eV/Å')}{energy}; {data}"


def _scale(quantity: CalibratedQuantity, unit: str) -> str:
    return f"√(({quantity['scale']:.3g} s)² + ({quantity['floor']:.3g} {unit})²)"


def _members(report: ModelReport) -> str:
    how = ", each trained on its own sample of the data" if report.get("bootstrap") else ""
    first = report.get("seed", 0)
    # before they were recorded, they were consecutive
    seeds = report.get("seeds") or list(range(first, first + report["members"]))
    return f"{report['members']} (seed{'s' if len(seeds) > 1 else ''} {', '.join(map(str, seeds))}{how})"


def error_lines(members: list[MemberErrors]) -> list[str]:
    """A table with a row for each member: RMSE / MAE of each quantity that the trainer has measured."""
    measured = [quantity for quantity in _ERRORS if any(quantity in member for member in members)]
    if not measured:
        return ["  none are known"]
    titles = "".join(f"{f'{quantity} ({_ERRORS[quantity][1]})':>20}" for quantity in measured)
    lines = [
        f"  {'member':8}{'epoch':>6}{titles}",
        f"  {'':14}{'RMSE       MAE':>20}" + f"{'RMSE       MAE':>20}" * (len(measured) - 1),
    ]
    for member in members:
        cells = "".join(f"{_cell(member.get(quantity, {})):>20}" for quantity in measured)
        epoch = "?" if member["epoch"] is None else member["epoch"]
        lines.append(f"  {member['member']:<8}{epoch:>6}{cells}")
    return lines


def _cell(errors: dict[str, float]) -> str:
    return "".join(f" {errors[kind]:9.3f}" if kind in errors else f"{'-':>10}" for kind in ("rmse", "mae"))


def _short(value: object) -> str:
    text = json.dumps(value, ensure_ascii=False)
    return text if len(text) < 80 else text[:77] + "..."
