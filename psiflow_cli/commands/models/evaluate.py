"""psiflow evaluate: predictions, an error table and a parity plot."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from psiflow_cli import formats, options
from psiflow_cli.commands.shared import bundles, runner

if TYPE_CHECKING:
    from psiflow_cli.messages import Summary
    from psiflow_cli.stages.core.workspace import Workspace


@click.command("evaluate", cls=options.StageCommand, short_help="Predictions of a model, and a table of its errors")
@options.frames
@options.model
@options.trust
@options.keys
@options.output("--plot", formats.FIGURE, "Draw predictions against labels; .png, .pdf or .svg.")
@options.max_failed
@options.common(formats.FRAMES)
def command(
    frames: tuple[str, ...],
    model: str | None,
    trust: bool,
    keys: str | None,
    plot: str | None,
    max_failed: options.Limit,
    common: options.Common,
) -> None:
    """Predict FRAMES with a model, beside whatever labels they have, and print the errors.

    Predictions are model_energy, model_forces and model_stress in the output; labels stay as they are. A committee
    predicts the mean of its members, with their standard deviation as model_energy_std and, of each atom,
    model_forces_std; a table and the plot say how well it tells where the mean is wrong.

    Errors are given by element and by config_type, too.

    \b
    Example:
      psiflow evaluate test.xyz --model water.model --plot parity.png -o evaluated.xyz
    """
    name = options.required(model, "--model")
    from psiflow_cli import extxyz, registry
    from psiflow_cli.stages.core.workspace import Job
    from psiflow_cli.stages.evaluate import stage

    loaded = bundles.load(name, trust)
    family = registry.load("models", loaded.family).__name__
    output = common.output or formats.beside(frames, "evaluated")
    settings = {"model": loaded.fingerprint, "keys": keys, "plot": plot}
    job = Job(
        "evaluate", frames, output, settings,
        other_outputs=(plot,) if plot else (), options_require={"matplotlib": "--plot"} if plot else {},
    )  # fmt: skip
    job = runner.on_site(job, common, loaded.family)
    evaluation = stage.Evaluation(job, loaded, family, extxyz.parse_keys(keys) if keys else None, plot)

    def plan(workspace: Workspace) -> dict[str, object]:
        seen, _, needed = stage.survey(evaluation, workspace)
        return {"total": len(seen), "todo": len(needed)}

    def say(summary: Summary) -> str:
        table = f"errors\n{summary['table']}" if summary["table"] else "no labels to compare with"
        if "spread_table" in summary:
            table += f"\nspread of the members, and error of their mean (root mean squares)\n{summary['spread_table']}"
        plotted = f", {summary['plot']}" if summary["plot"] else ""
        return f"{summary['total']} frames evaluated -> {runner.name(summary['output'])}{plotted}; {table}"

    runner.perform(
        job, common, plan=plan, say=say, verdict=max_failed.verdict,
        run=lambda workspace: stage.run(evaluation, workspace),
    )  # fmt: skip
