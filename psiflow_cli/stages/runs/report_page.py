"""The page itself: one file without anything from elsewhere. All text from files goes through `html.escape`."""

from __future__ import annotations

import base64
import os
from collections.abc import Iterable, Iterator, Sequence
from datetime import datetime
from html import escape
from pathlib import Path
from typing import TYPE_CHECKING, cast

from psiflow_cli.duration import short
from psiflow_cli.errors import counted
from psiflow_cli.stages.evaluate.error_table import UNITS
from psiflow_cli.stages.runs.report_dynamics import Sampling
from psiflow_cli.stages.runs.report_evaluated import Worst
from psiflow_cli.stages.runs.report_facts import Evaluation, Facts
from psiflow_cli.stages.sample import averages, exchanges
from psiflow_cli.stages.sample.blocking import Estimate

if TYPE_CHECKING:
    from psiflow_cli.messages import Pictures, ReportedRun

_STYLE = """
:root { color-scheme: light dark; --line: #8886; --soft: #8882; }
body { font: 15px/1.45 system-ui, sans-serif; max-width: 70rem; margin: 1.5rem auto; padding: 0 1rem; }
h1 { font-size: 1.5rem; } h2 { font-size: 1.15rem; margin-top: 2.2rem; border-bottom: 1px solid var(--line); }
.wide { overflow-x: auto; } table { border-collapse: collapse; font-variant-numeric: tabular-nums; }
th, td { padding: .2rem .7rem; border-bottom: 1px solid var(--line); text-align: left; vertical-align: top; }
.number { text-align: right; } td.number, th, .word { white-space: nowrap; } code { overflow-wrap: anywhere; }
img { max-width: 100%; background: #fff; border-radius: 6px; } summary { cursor: pointer; padding: .3rem 0; }
.best { font-weight: bold; } .done { color: #2a8a4a; } .running { color: #2a7a9a; } .partial { color: #b8860b; }
.failed, .dead { color: #c33; }
#structure { height: 26rem; background: #fff; color: #000; color-scheme: light; border-radius: 6px; }
#info { min-height: 6rem; background: #fff; color: #000; color-scheme: light; border-radius: 6px; }
@media print { details::details-content { content-visibility: visible; } .viewer { display: none; } }
"""
# Nothing is loaded from elsewhere, whatever the viewer might want.
_POLICY = (
    "default-src 'none'; img-src data: blob:; style-src 'unsafe-inline'; font-src data:; "
    "script-src 'unsafe-inline' 'unsafe-eval' blob:; worker-src blob:; connect-src data: blob:"
)


def page(title: str, folder: Path, facts: Facts, wrong: Worst, drawn: Pictures) -> Iterator[str]:
    yield f"""<!doctype html>
<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1">
<meta http-equiv="Content-Security-Policy" content="{_POLICY}">
<title>psiflow: {escape(title)}</title><style>{_STYLE}</style></head><body>
<h1>{escape(title)}</h1>
<p>{escape(_states(facts))}</p>
"""
    if facts.evaluations:
        yield "<h2>Errors</h2>" + _errors(facts)
        if drawn.get("errors"):
            yield _image(Path(drawn["errors"]), "errors of all evaluations")
    if drawn.get("missing"):
        yield f"<p>{escape(drawn['missing'])}</p>"
    parity = [(each.name, each.plot) for each in facts.evaluations]
    yield from _pictures("Predictions against labels", parity)
    yield from _pictures("Learning curves", [(each.name, each.curve) for each in facts.trainings])
    if facts.samplings:
        yield "<h2>Dynamics</h2>" + _dynamics(facts.samplings)
        if any(each.exchanges for each in facts.samplings):
            yield "<h2>Accepted exchanges</h2>" + _exchanges(facts.samplings)
        yield from _pictures("Temperature, energy and pressure", [(each.name, each.plot) for each in facts.samplings])
    if facts.failures:
        yield "<h2>Failures</h2>" + _failures(facts)
    if wrong.frames or wrong.cut:
        yield from _worst(facts.newest(), folder, wrong, drawn)
    if facts.data:
        yield "<h2>Data</h2>" + _data(facts)
    yield "<h2>Runs</h2>" + _runs(facts) + "</body></html>\n"


def _states(facts: Facts) -> str:
    states = [run["state"] for run in facts.runs]
    counts = ", ".join(f"{states.count(state)} {state}" for state in dict.fromkeys(states))
    newest = max((run["updated"] or "" for run in facts.runs), default="")
    changed = f"; last change {datetime.fromisoformat(newest):%Y-%m-%d %H:%M:%S} UTC" if newest else ""
    hours = sum(run["core_hours"] for run in facts.runs)
    runs = counted(len(states), "run")
    return f"{runs}: {counts}; {hours:.2f} core-hours{changed}"


def _table(heads: Iterable[str], rows: Iterable[str]) -> str:
    head = "".join(f"<th{' class=number' if name.endswith('#') else ''}>{name.rstrip('#')}</th>" for name in heads)
    return f"<div class=wide><table><tr>{head}</tr>{''.join(f'<tr>{row}</tr>' for row in rows)}</table></div>\n"


def _number(text: str, more: str = "") -> str:
    return f'<td class="number {more}">{text}</td>'


def _errors(facts: Facts) -> str:
    quantities = [q for q in UNITS if any(q in each.errors for each in facts.evaluations)]
    compared = facts.comparable()
    least = {q: min((e.errors[q]["rmse"] for e in compared if q in e.errors), default=None) for q in quantities}

    def row(each: Evaluation) -> Iterator[str]:
        yield f"<td>{escape(each.name)}</td>" + _number(str(each.frames))
        for q in quantities:
            error = each.errors.get(q)
            best = "best" if error and each in compared and len(compared) > 1 and error["rmse"] == least[q] else ""
            for number in (error["rmse"], error["mae"]) if error else (None, None):
                yield _number("–" if number is None else f"{number:.2f}", best)

    heads = ["evaluated", "frames#"]
    for q in quantities:
        heads += [f"{q} RMSE ({UNITS[q]})#", "MAE#"]
    others = len(facts.evaluations) - len(compared)
    note = f"<p>{others} of them have other frames and are not in the picture.</p>" if others else ""
    return _table(heads, ("".join(row(each)) for each in facts.evaluations)) + note


def _image(path: Path, title: str) -> str:
    data = base64.b64encode(path.read_bytes()).decode("ascii")
    return f'<p><img alt="{escape(title)}" src="data:image/png;base64,{data}"></p>\n'


def _pictures(title: str, named: Iterable[tuple[str, Path | None]]) -> Iterator[str]:
    """The last one is open."""
    existing = [(name, path) for name, path in named if path]
    if existing:
        yield f"<h2>{title}</h2>"
    for number, (name, path) in enumerate(existing, 1):
        opened = " open" if number == len(existing) else ""
        yield f"<details{opened}><summary>{escape(name)}</summary>{_image(path, f'{title}: {name}')}</details>"


def _dynamics(samplings: Sequence[Sampling]) -> str:
    """A row for each average of each run; only what any of them has."""
    shown = [row for each in samplings for row in each.averages[:_SHOWN]]
    means = {name: head for name, head in _MEANS.items() if any(name in row for row in shown)}
    stopped, drifts = any(each.stopped for each in samplings), any(each.drift is not None for each in samplings)

    def rows(each: Sampling) -> Iterator[str]:
        of_run = f"<td>{escape(each.name)}</td><td>{escape(each.ensemble)}</td><td>{escape(each.engine)}</td>"
        of_run += _number(f"{each.walkers}")
        of_run += _number(f"{each.stopped}") if stopped else ""
        of_run += _number("–" if each.drift is None else f"{each.drift:.3g}") if drifts else ""
        several = len({str(row.get("target")) for row in each.averages}) > 1
        for row in each.averages[:_SHOWN] or [{}]:
            of = averages.title(cast("averages.Label", row), several) if row else "–"
            numbers = "".join(_number(_mean(row.get(name))) for name in means)
            yield f"{of_run}<td class=word>{escape(of)}</td>{_number(str(row.get('frames', '–')))}{numbers}"
            of_run = "<td></td>" * of_run.count("<td")

    heads = ["run", "ensemble", "engine", "walkers#", *(["stopped#"] if stopped else [])]
    heads += [*(["drift (meV/atom/ps)#"] if drifts else []), "average of", "frames#"]
    table = _table(
        [*heads, *(f"{head}#" for head in means.values())], (row for each in samplings for row in rows(each))
    )
    return table + _ON_ERRORS + (_ON_DRIFT if drifts else "")


def _exchanges(samplings: Iterable[Sampling]) -> str:
    rows = (
        f"<td>{escape(each.name)}</td><td class=word>{escape(exchanges.pair(rate))}</td>"
        + _number(f"{rate['rate']:.0%}")
        + _number(f"{rate['accepted']}")
        + _number(f"{rate['tried']}")
        for each in samplings
        for rate in each.exchanges
    )
    return _table(["run", "between", "accepted#", "number#", "attempts#"], rows)


_MEANS = {"temperature": "T (K)", "model_energy": "energy (eV)", "pressure": "pressure (bar)"}
"""The averages of a sampling that are shown."""
_SHOWN = 20
"""So many averages of a run are shown."""
_ON_ERRORS = "<p>± is the standard error of a mean; ±? means that the trajectory is too short to estimate it.</p>"
_ON_DRIFT = "<p>The drift is the largest drift of the total energy of any walker, at constant energy (nve).</p>"


def _mean(estimate: object) -> str:
    if not isinstance(estimate, dict):
        return "–"
    error = estimate.get("error")
    return averages.number(Estimate(estimate["mean"], error, estimate.get("at_least", error)))


def _data(facts: Facts) -> str:
    rows = (
        f"<td>{escape(each.file)}</td>{_number(escape(_megabytes(each.size)))}"
        f"<td><code>{each.sha256[:12]}</code></td>"
        f"<td>{escape(', '.join(dict.fromkeys(each.used_by)))}</td>"
        for each in facts.data
    )
    return _table(["file", "MB#", "sha256", "read by"], rows)


def _megabytes(size: int) -> str:
    return f"{size / 1e6:.3f}" if size >= 1000 else "< 0.001"


def _failures(facts: Facts) -> str:
    rows = (
        f"<td>{escape(each.name)}</td><td>{escape(kind)}</td>{_number(str(count))}"
        f"<td>{'<br>'.join(escape(example) for example in each.examples[kind])}</td>"
        for each in facts.failures
        for kind, count in each.counts.most_common()
    )
    return _table(["run", "class", "number#", "such as"], rows)


def _worst(evaluation: Evaluation | None, folder: Path, wrong: Worst, drawn: Pictures) -> Iterator[str]:
    viewer = drawn.get("viewer", {})
    file = escape(os.path.relpath(evaluation.file, folder)) if evaluation and evaluation.file else ""
    yield f"<h2>Largest errors of the model</h2><p>Frames of <code>{file}</code>, by the force on one atom.</p>"
    if wrong.cut:
        yield f"<p class=failed>The file has changed and could not be read to its end: {escape(wrong.cut)}</p>"
    rows = (
        f"{_number(str(n))}{_number(f'{1e3 * w.error:.0f}')}{_number(str(w.frame))}{_number(str(w.line))}"
        f"{_number(str(w.natoms))}<td>{escape(w.config_type)}</td>"
        for n, w in enumerate(wrong.frames, 1)
    )
    yield _table(["#", "error (meV/Å)#", "frame#", "line#", "atoms#", "config_type"], rows)
    if drawn.get("worst"):
        yield _image(Path(drawn["worst"]), "frames with the largest force errors")
    if "data" not in viewer:
        yield f"<p>{escape(viewer.get('missing', ''))}</p>"
        return
    yield "<div class=viewer><div id=meta></div><div id=structure></div><div id=info></div></div>\n<script>"
    yield Path(viewer["script"]).read_text(encoding="utf-8")
    # in JSON, `<` is found in strings only, where this means the same
    data = Path(viewer["data"]).read_text(encoding="utf-8").replace("<", "\\u003c")
    yield f"</script>\n<script>Chemiscope.StructureVisualizer.load({_CONFIG}, {data});</script>\n"


_CONFIG = '{"meta": "meta", "structure": "structure", "info": "info"}'


def _word(argument: str) -> str:
    """An argument; a browser would break a line behind the hyphens of an option."""
    return f"<span class=word>{escape(argument)}</span>" if argument.startswith("-") else escape(argument)


def _runs(facts: Facts) -> str:
    def row(run: ReportedRun) -> str:
        words = " ".join(map(_word, run["argv"][1:]))
        reason = f"<br>{escape(run['message'])}" if run["message"] else ""
        state, done, hours = run["state"], f"{run['done']}/{run['total']}", f"{run['core_hours']:.2f}"
        duration = "–"
        if run["started"] and run["updated"]:
            begun, ended = (datetime.fromisoformat(str(run[key])) for key in ("started", "updated"))
            duration = short(max(0.0, (ended - begun).total_seconds()))
        return (
            f"<td>{escape(run['name'])}</td><td>{escape(str(run['command']))}</td><td class={state}>{state}</td>"
            f"{_number(done)}{_number(str(run['failed']))}{_number(duration)}{_number(hours)}"
            f"<td><code>psiflow {words}</code>{reason}</td>"
        )

    return _table(
        ["run", "command", "state", "done#", "failed#", "time#", "core-hours#", "command line"], map(row, facts.runs)
    )
