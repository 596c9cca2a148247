"""psiflow evaluate: predictions, an error table and a parity plot."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from psiflow_cli import formats, options
from psiflow_cli.commands.shared import bundles, runner
from psiflow_cli.errors import CannotCreate, counted

if TYPE_CHECKING:
    from psiflow_cli.messages import Summary
    from psiflow_cli.stages.core.workspace import Workspace


@click.command("evaluate", cls=options.Command)
@options.frames
@options.model
@bundles.model_use
@options.keys
@options.output("--plot", formats.FIGURE, "Parity plot of predictions against labels: .png, .pdf or .svg.")
@options.output("--table", formats.CSV, "Also write the error table as CSV.", "FILE.csv")
@click.option("--calibrate", is_flag=True,
    help="Calibrate the expected errors of a committee on these frames and store them in its bundle.")  # fmt: skip
@options.max_failed
@options.common(formats.FRAMES)
def command(
    frames: tuple[str, ...],
    model: str | None,
    use: bundles.ModelUse,
    keys: str | None,
    plot: str | None,
    table: str | None,
    calibrate: bool,
    max_failed: options.Limit,
    common: options.Common,
) -> None:
    """Predict FRAMES with a model and print the errors with respect to their labels.

    The output has the predictions as model_energy, model_forces and model_stress; labels stay unchanged. A committee
    predicts the mean of its members, with the standard deviation over them (the spread) as model_energy_std and, for
    each atom, model_forces_std. The table and the plot compare the spread with the errors of the mean.

    --calibrate turns the spread into an expected error. It needs labelled frames that the committee was not trained on,
    100 or more if possible. The expected error of the force on an atom, or of the energy per atom, is the square root
    of (scale × spread)² + floor². Scale and floor are fitted to the errors and stored in the bundle. From then on,
    evaluate and sample also write model_forces_expected_error and model_energy_expected_error, and `sample
    --max-spread` and `select --by committee` use the expected error of the forces instead of the spread.

    The table on stdout (on stderr if the frames go to stdout) has the errors of the energy per atom, the forces and the
    stress: for all frames, by element, by config_type and, for several FRAMES, by file. --json has them as `errors`,
    --table writes them as CSV.

    \b
    Examples:
      psiflow evaluate test.xyz --model water.model --plot parity.png -o evaluated.xyz
      psiflow evaluate water.xyz ice.xyz --model water.model --table errors.csv
      psiflow evaluate held-out.xyz --model committee.model --calibrate
    """
    name = options.required(model, "--model")
    from psiflow_cli import bundle, extxyz
    from psiflow_cli.stages.core.workspace import Job
    from psiflow_cli.stages.evaluate import calibration, stage

    loaded = bundles.load(name, use)
    family = bundles.module(loaded)
    output = common.output or formats.beside(frames, "evaluated")
    settings = {"model": loaded.fingerprint, "keys": keys, "plot": plot}
    others = [*filter(None, (plot, table))]
    settled: dict[str, object] = {"table": table} if table else {}
    scales = None
    if calibrate:
        calibration.check_model(loaded)
        others.append(str(loaded.path / bundle.CALIBRATION))
        settled["calibrate"] = True
    elif scales := bundle.error_scales(loaded):
        settled["calibration"] = scales
    job = Job(
        "evaluate", frames, output, settings, other_outputs=tuple(others), more_settings=settled,
        options_require={"matplotlib": "--plot"} if plot else {},
    )  # fmt: skip
    job = bundles.on_site(job, common, loaded)
    read_keys = extxyz.parse_keys(keys) if keys else None
    evaluation = stage.Evaluation(job, loaded, family, read_keys, plot, table, calibrate, scales)

    def plan(workspace: Workspace) -> dict[str, object]:
        seen, _, needed = stage.survey(evaluation, workspace)
        return {"total": len(seen), "todo": len(needed)}

    def as_text(summary: Summary) -> str:
        files = ", ".join(filter(None, (runner.name(summary["output"]), summary["plot"], summary["table_file"])))
        unlabelled = "" if summary["errors"] else "; no labels to compare with"
        return f"{counted(summary['total'], 'frame')} evaluated -> {files}{unlabelled}"

    def show(summary: Summary) -> str:
        tables = [summary["table"]] if summary["table"] else []
        if "spread_table" in summary:
            what = "spread of the members, expected error," if "calibration" in summary else "spread of the members,"
            tables += ["", f"{what} and error of their mean (root mean squares)", summary["spread_table"]]
        if "calibrated" in summary:
            tables += [f"calibration -> {summary['calibrated']}"]
        return "\n".join(tables)

    try:
        runner.perform(
            job, common, plan=plan, as_text=as_text, show=show, verdict=max_failed.verdict,
            run=lambda workspace: stage.run(evaluation, workspace),
        )  # fmt: skip
    except CannotCreate as error:
        if calibrate and error.message.startswith(f"{others[-1]}: exists"):
            hint = "replace its calibration with --overwrite"
            raise CannotCreate(f"{others[-1]}: this model is already calibrated, with other frames", hint) from None
        raise
