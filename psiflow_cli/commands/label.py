"""psiflow label: energies, forces and stress of every frame from a reference method."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from psiflow_cli import options, registry
from psiflow_cli.commands import _stage
from psiflow_cli.console import note

if TYPE_CHECKING:
    from psiflow_cli.stages.workspace import Workspace


@click.command("label", cls=options.StageCommand)
@options.frames
@click.option("--reference", metavar="NAME|FILE.py", help="One of: " + ", ".join(registry.names("references")) + ".")
@click.option("--input", "input_file", metavar="FILE", help="The reference's own input, without coordinates.")
@options.settings
@click.option(
    "--failed", metavar="FILE", help="Where failed frames go [default: OUTPUT with .failed before the suffix]."
)
@options.max_failed
@click.option(
    "--recover",
    multiple=True,
    metavar="KEY=VALUE",
    help="Change of the input to try with a frame that does not converge; again for the next thing to try "
    "[default: those of INPUT.recover.toml].",
)
@click.option(
    "--from",
    "taken_from",
    multiple=True,
    metavar="FILE",
    help="Take labels over from here where frame and reference are the same; may be repeated.",
)
@click.option("--retry-failed", is_flag=True, help="Try again what failed for the frame's own reasons, too.")
@click.option("--strict-version", is_flag=True, help="Compute anew what another version of the code has labelled.")
@options.common
def command(
    frames: tuple[str, ...],
    reference: str | None,
    input_file: str | None,
    settings: dict[str, str],
    failed: str | None,
    max_failed: options.Limit,
    recover: tuple[str, ...],
    taken_from: tuple[str, ...],
    retry_failed: bool,
    strict_version: bool,
    common: options.Common,
) -> None:
    """Compute energies, forces and stress of FRAMES with a reference method.

    Frames that fail go to a file of their own, with the class and the reason of the failure. Run the same command again
    to go on where it stopped; frames that are new in FRAMES are computed, the others are not.

    \b
    Examples:
      psiflow label data.xyz --reference xtb
      psiflow label data.xyz --reference cp2k --input cp2k.inp --site hortense.toml -o labelled.xyz
    """
    name = options.required(reference, "--reference")
    import dataclasses
    from pathlib import Path

    from psiflow_cli.runtime.rundir import sha256
    from psiflow_cli.stages import label, recovery

    module = registry.load("references", name)
    method = module.settings(Path(input_file) if input_file else None, settings)
    _say_replaced(module, input_file)
    source = sha256(Path(name)) if name.endswith(".py") else ""
    output = common.output or options.beside(frames, "labelled")
    failed_output = failed or _failed_beside(output, frames)
    job = _stage.job(
        "label", Path(name).stem, "label", frames, output, common,
        settings={"reference": Path(name).stem, "settings": method, "source": source, "failed": failed_output},
        other_outputs=(failed_output,),
    )  # fmt: skip
    labelling = label.Labelling(
        job=job,
        name=name,
        module=module,
        worker=str(Path(name).absolute()) if name.endswith(".py") else module.__name__,
        settings=method,
        input_file=input_file or "",
        source=source,
        failed=failed_output,
        retry_failed=retry_failed,
        strict_version=strict_version,
        recovery=recovery.steps(module, name, method, recover, input_file or ""),
        allowed=max_failed.of,
        taken_from=taken_from,
    )

    def plan(space: Workspace) -> dict[str, object]:
        _, _, _, planned = label.survey(labelling, space)
        return dataclasses.asdict(planned)

    def say(summary: dict[str, Any]) -> str:
        counts = f"{summary['labelled']} of {summary['total']} labelled ({summary['computed']} computed now)"
        return f"{counts} -> {_stage.name(summary['output'])}"

    _stage.perform(
        job, common,
        plan=plan,
        run=lambda space: label.run(labelling, space),
        limit=max_failed,
        force=retry_failed or strict_version,
        say=say,
    )  # fmt: skip


def _say_replaced(module: Any, input_file: str | None) -> None:
    """What of the user's input does not count, because the frame or psiflow decides it."""
    from pathlib import Path

    replaced = module.replaced(Path(input_file)) if input_file and hasattr(module, "replaced") else []
    if replaced:
        note(f"{input_file}: not used, since the frame or psiflow decides it: {', '.join(replaced)}")


def _failed_beside(output: str, frames: tuple[str, ...]) -> str:
    """`OUT` with `.failed` before its suffix; beside the first file, or in the working directory, for stdout."""
    if output == "-":
        return options.beside(frames, "failed") if frames[0] != "-" else "stdin.failed.xyz"
    return options.beside((output,), "failed")
