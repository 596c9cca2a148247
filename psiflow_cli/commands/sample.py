"""psiflow sample: molecular dynamics of many walkers."""

from __future__ import annotations

import click

from psiflow_cli import options, registry
from psiflow_cli.commands import _model, _stage


@click.command("sample", cls=options.StageCommand, short_help="Molecular dynamics of many walkers with a model")
@options.frames
@options.model
@_model.trust
@click.option(
    "--ensemble", type=click.Choice(["nve", "nvt"]), default="nvt", show_default=True, help="What is conserved."
)
@click.option(
    "--temperature",
    type=options.Finite(0),
    default=300.0,
    show_default=True,
    metavar="K",
    help="Of the thermostat and of the first velocities.",
)
@click.option("--steps", type=click.IntRange(1), default=1000, show_default=True, help="Steps of each walker.")
@click.option(
    "--every", type=click.IntRange(1), default=10, show_default=True, help="Steps from one frame to the next."
)
@click.option(
    "--timestep",
    type=options.Finite(0, min_open=True),
    default=0.5,
    show_default=True,
    metavar="fs",
    help="Of one step.",
)
@click.option(
    "--friction",
    type=options.Finite(0, min_open=True),
    default=10.0,
    show_default=True,
    metavar="1/ps",
    help="Of the Langevin thermostat.",
)
@click.option("--walkers", type=click.IntRange(1), default=1, show_default=True, help="Walkers from each frame.")
@click.option(
    "--max-force",
    type=options.Finite(0, min_open=True),
    default=100.0,
    show_default=True,
    metavar="eV/Å",
    help="A walker with a larger force on an atom is stopped.",
)
@click.option(
    "--max-temperature",
    type=options.Finite(0, min_open=True),
    metavar="K",
    help="A hotter walker is stopped [default: ten times --temperature, at least 10000].",
)
@click.option(
    "--min-distance",
    type=options.Finite(0),
    default=0.4,
    show_default=True,
    metavar="Å",
    help="A walker with two atoms nearer to each other is stopped.",
)
@click.option(
    "--engine", default="ase", show_default=True, help="One of: " + ", ".join(registry.names("samplers")) + "."
)
@options.seed
@options.max_failed
@options.common
def command(
    frames: tuple[str, ...],
    model: str | None,
    trust: bool,
    ensemble: str,
    temperature: float,
    steps: int,
    every: int,
    timestep: float,
    friction: float,
    walkers: int,
    max_force: float,
    max_temperature: float | None,
    min_distance: float,
    engine: str,
    seed: int,
    max_failed: options.Limit,
    common: options.Common,
) -> None:
    """Run molecular dynamics from FRAMES with a model.

    Every walker has its own random numbers; one that explodes is stopped, and its unphysical frames are left out. The
    output has the walkers one after another, without the frames they started from. A committee moves its walkers by the
    mean of its members; each frame has their spread, model_energy_std and, of each atom, model_forces_std.

    \b
    Example:
      psiflow sample start.xyz --model water.model --temperature 330 --walkers 16 --steps 10000 -o traj.xyz
    """
    name = options.required(model, "--model")
    from psiflow_cli.stages import sample

    loaded = _model.load(name, trust)
    module = registry.load("samplers", engine)
    settings = {
        "ensemble": ensemble,
        "temperature": temperature,
        "timestep": timestep,
        "friction": friction,
        "steps": steps,
        "every": every,
        "seed": seed,
        "limits": {
            "force": max_force,
            "temperature": max_temperature or max(10 * temperature, 10_000.0),
            "distance": min_distance or None,
        },
    }
    output = common.output or options.beside(frames, "sampled")
    job = _stage.job(
        "sample", loaded.family, "evaluate", frames, output, common,
        settings={**settings, "model": loaded.fingerprint, "walkers": walkers, "engine": engine},
    )  # fmt: skip
    sampling = sample.Sampling(
        job=job,
        model=loaded,
        worker=module.__name__,
        family=registry.load("models", loaded.family).__name__,
        walkers=walkers,
        settings=settings,
    )

    _stage.perform(
        job, common,
        plan=lambda space: {"walkers": len(sample.starts(sampling, space)), "steps": steps},
        run=lambda space: sample.run(sampling, space),
        limit=max_failed,
        say=lambda s: f"{s['total']} walkers, {s['steps']} steps: {s['frames']} frames -> {_stage.name(s['output'])}",
    )  # fmt: skip
