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
@options.output("--table", formats.ERRORS, "Write the table of errors as CSV, too.", "FILE.csv")
@options.max_failed
@options.common(formats.FRAMES)
def command(
    frames: tuple[str, ...],
    model: str | None,
    trust: bool,
    keys: str | None,
    plot: str | None,
    table: str | None,
    max_failed: options.Limit,
    common: options.Common,
) -> None:
    """Predict FRAMES with a model, beside whatever labels they have, and print the errors.

    Predictions are model_energy, model_forces and model_stress in the output; labels stay as they are. A committee
    predicts the mean of its members, with their standard deviation as model_energy_std and, of each atom,
    model_forces_std; a table and the plot say how well it tells where the mean is wrong.

    The table on stdout (on stderr where the frames go to stdout) has the errors of the energy per atom, the forces and
    the stress: of all frames, by element, by config_type and, of several FRAMES, by file. --json has them as `errors`,
    --table writes them as CSV.

    \b
    Examples:
      psiflow evaluate test.xyz --model water.model --plot parity.png -o evaluated.xyz
      psiflow evaluate water.xyz ice.xyz --model water.model --table errors.csv
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
        other_outputs=tuple(filter(None, (plot, table))),
        more_settings={"table": table} if table else {},
    )  # fmt: skip
    job = runner.on_site(job, common, loaded.family)
    evaluation = stage.Evaluation(job, loaded, family, extxyz.parse_keys(keys) if keys else None, plot, table)

    def plan(workspace: Workspace) -> dict[str, object]:
        seen, _, needed = stage.survey(evaluation, workspace)
        return {"total": len(seen), "todo": len(needed)}

    def say(summary: Summary) -> str:
        files = ", ".join(filter(None, (runner.name(summary["output"]), summary["plot"], summary["table_file"])))
        unlabelled = "" if summary["errors"] else "; no labels to compare with"
        return f"{summary['total']} frames evaluated -> {files}{unlabelled}"

    def show(summary: Summary) -> str:
        tables = [summary["table"]] if summary["table"] else []
        if "spread_table" in summary:
            tables += ["", "spread of the members, and error of their mean (root mean squares)"]
            tables += [summary["spread_table"]]
        return "\n".join(tables)

    runner.perform(
        job, common, plan=plan, say=say, show=show, verdict=max_failed.verdict,
        run=lambda workspace: stage.run(evaluation, workspace),
    )  # fmt: skip
