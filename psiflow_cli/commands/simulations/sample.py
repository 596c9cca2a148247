"""psiflow sample: molecular dynamics of many walkers."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, cast

import click

from psiflow_cli import formats, options, registry
from psiflow_cli.commands.shared import bundles, conditions, runner, sampled
from psiflow_cli.console import echo_json, note
from psiflow_cli.errors import UsageError, counted
from psiflow_cli.values import kinds

if TYPE_CHECKING:
    from typing_extensions import Unpack

    from psiflow_cli.messages import Dynamics, DynamicsOptions, Summary
    from psiflow_cli.stages.sample.continuing import Reset
    from psiflow_cli.stages.sample.request import Outputs, Sampling


def _print_schema(ctx: click.Context, _param: click.Parameter, value: bool) -> None:
    if value and not ctx.resilient_parsing:
        from psiflow_cli.stages.sample.config import json_schema

        echo_json(json_schema(), indent=2)
        ctx.exit()


@click.command("sample", cls=options.Command)
@options.frames
@options.model
@bundles.model_use
@options.choice("--ensemble", ["nve", "nvt", "npt", "nvst"], "nvt",
    "Ensemble; nvst changes the shape of the cell at constant volume.")  # fmt: skip
@options.text("--temperature", "300", "K[:K][,K...]",
    "Temperature of the thermostat and the first velocities, in K. Walkers take a list in turn; 100:500 is a ramp.",
    conditions.temperatures)  # fmt: skip
@options.text(
    "--pressure", "1", "bar[,bar...]", "Pressure of npt, in bar; walkers take a list in turn.", conditions.pressures
)
@options.choice("--cell", ["isotropic", "flexible"], "isotropic",
    "Part of the cell that changes in npt: only its volume, or all lengths and angles.")  # fmt: skip
@options.steps("--steps", 1000, "Number of steps per walker, or a time such as 10ps.")
@options.steps("--every", 10, "Steps, or time, between recorded frames.")
@options.number("--timestep", 0.5, "fs", "Time step, in fs.", above=0, most=100, is_eager=True)
@options.choice("--thermostat", ["langevin", "csvr", "nose-hoover"], "langevin",
    "Thermostat; csvr is canonical velocity rescaling.")  # fmt: skip
@options.number("--friction", 10.0, "1/ps", "Langevin friction, in 1/ps.", above=0)
@options.count(
    "--walkers", None, "Number of walkers per frame [default: one for each temperature, pressure and window]."
)
@options.steps(
    "--exchange",
    None,
    "Steps between attempts to exchange the temperatures, pressures or windows of a frame's walkers.",
)
@options.file("--continue continued",
    "File of --final from an earlier run with the same FRAMES and --walkers: walkers continue from their frames in it; "
    "those without a frame start again.")  # fmt: skip
@options.text("--reset", None, "forces|energy:ERROR",
    "With --continue: restart walkers whose frame has a larger error, in meV/Å or meV/atom.",
    conditions.reset)  # fmt: skip
@options.flag("--draw-velocities", "Draw new velocities at --temperature even if FRAMES have velocities.")
@options.flag("--velocities", "Write the momenta of the atoms into every frame, in ASE's units.")
@options.count("--beads", 1, "Number of beads for path integrals; each bead is written as a frame.")
@options.file("--plumed", "Input file of PLUMED, for a bias or for monitoring collective variables.")
@options.texts("--vary", "NAME=START:STOP:N",
    "Values of @NAME@ in the PLUMED input, one window each; also NAME=1,2,5. If repeated, all combinations are used.",
    conditions.windows)  # fmt: skip
@options.file("--nearest", "File of frames; start each walker from the frame where the bias of its window is lowest.")
@options.flag("--share-bias", "Let all walkers build one common bias (METAD or PBMETAD).")
@options.file("--hills", "Earlier hills for METAD to start from, such as an OUT.hills.")
@options.number("--max-force", 100.0, "eV/Å", "Stop a walker if the force on an atom exceeds this, in eV/Å.", above=0)
@options.number("--max-temperature", None, "K",
    "Stop a walker if it gets hotter than this, in K [default: 10 × --temperature, at least 10000].",
    above=0)  # fmt: skip
@options.number("--min-distance", 0.4, "Å", "Stop a walker if two atoms get closer than this, in Å.", least=0)
@options.number("--max-spread", None, "eV/Å",
    "Stop a walker if the committee's spread of the force on an atom exceeds this, in eV/Å; for a "
    "calibrated committee, the expected error.", above=0)  # fmt: skip
@options.name("--engine", None, kinds.Name("sampler", ["auto", *registry.names("samplers")]),
    "; auto measures which is fastest.", "auto")  # fmt: skip
@options.count("--batch", None, "Number of walkers that are moved together [default: measured].")
@options.file("--config", "TOML file with further settings; see --config-schema.")
@click.option("--config-schema", is_flag=True, is_eager=True, expose_value=False, callback=_print_schema,
    help="Print the JSON schema of --config and exit.")  # fmt: skip
@options.seed
@sampled.outputs
@options.max_failed
@options.common(formats.STRUCTURES)
def command(
    frames: tuple[str, ...],
    model: str | None,
    use: bundles.ModelUse,
    temperature: list[list[float]],
    pressure: list[float],
    steps: int,
    walkers: int | None,
    draw_velocities: bool,
    velocities: bool,
    max_force: float,
    max_temperature: float | None,
    min_distance: float,
    max_spread: float | None,
    reset: Reset | None,
    engine: str,
    batch: int | None,
    config: str | None,
    plumed: str | None,
    share_bias: bool,
    hills: str | None,
    vary: list[tuple[str, list[float]]],
    nearest: str | None,
    continued: str | None,
    max_failed: options.Limit,
    outputs: Outputs,
    common: options.Common,
    **dynamics_options: Unpack[DynamicsOptions],
) -> None:
    """Run molecular dynamics from FRAMES with a model.

    Every walker has its own random numbers. A walker that explodes, or whose cell grows or shrinks tenfold in volume or
    width, is stopped, and its unphysical frames are left out. The output has the frames of one walker after another,
    without their starting frames. A committee moves its walkers with the mean of its members; each frame has the spread
    as model_energy_std and, for each atom, model_forces_std and, if the committee was calibrated (psiflow evaluate
    --calibrate), the expected errors.

    Atoms whose move_mask is F do not move; a masses column replaces the usual masses. Frames with momenta or velocities
    (in ASE's units, sqrt(u·eV) and sqrt(eV/u)) or with vel or velo (in Å/fs) start with them, so that the file of
    --final continues a run; --temperature is then only the thermostat's, and --seed only affects the noise.

    OUTPUT may also be .traj, .cif, .pdb or XDATCAR. At the end, means and their standard errors are printed (by
    blocking, which accounts for correlated frames); ? means that a trajectory is too short to tell.

    \b
    Examples:
      psiflow sample start.xyz --model water.model --temperature 330 --walkers 16 --steps 10000 -o traj.xyz
      psiflow sample ice.xyz --model water.model --ensemble npt --pressure 2000 --cell flexible
      psiflow sample start.xyz --model water.model --temperature 300,330,363,400 --exchange 100
      psiflow sample start.xyz --model water.model --beads 16 --thermostat csvr
      psiflow sample start.xyz --model water.model --properties run.csv --plot run.png --final next.xyz
      psiflow sample start.xyz --model better.model --continue next.xyz --final after.xyz
    """
    name = options.required(model, "--model")
    conditions.check_effect(dynamics_options["ensemble"], dynamics_options["thermostat"])
    from psiflow_cli import bundle
    from psiflow_cli.stages.core.workspace import Job
    from psiflow_cli.stages.sample import config as sampling_file
    from psiflow_cli.stages.sample import engines, stage, windows
    from psiflow_cli.stages.sample.plumed import memory as plumed_memory
    from psiflow_cli.stages.sample.plumed import outputs as plumed_outputs
    from psiflow_cli.stages.sample.plumed.files import read as read_plumed
    from psiflow_cli.stages.sample.request import Sampling

    loaded = bundles.load(name, use)
    if vary and not plumed:
        raise UsageError("--vary without --plumed", "give the PLUMED input whose @NAME@ is varied")
    if nearest and (not plumed or continued):
        reason = "needs --plumed" if not plumed else "and --continue both set the start of the walkers"
        raise UsageError(f"--nearest {reason}", "leave out one of them" if plumed else "give the PLUMED input")
    bias, bias_files = read_plumed(plumed) if plumed else (None, {})
    if plumed and bias is not None:
        windows.check(plumed, bias, bias_files, [name for name, _ in vary])
    memory = plumed_memory.settings(plumed, hills, share_bias)
    if plumed and continued and (empty := plumed_memory.starts_empty(plumed, hills)):
        note(f"--continue restores positions and velocities, but not the bias: {empty}")
    if plumed and (other := plumed_memory.other_temperature(plumed, [each for pair in temperature for each in pair])):
        note(other)
    scales = bundle.error_scales(loaded)
    hottest = max(max(pair) for pair in temperature)
    dynamics = cast("Dynamics", {
        **dynamics_options,
        "pressure": pressure[0],
        **sampling_file.read(config),
        "plumed": bias,
        **({"velocities": True} if velocities else {}),
        **({"plumed_files": bias_files} if bias_files else {}),
        **memory,
        "ramp_steps": steps if any(first != last for first, last in temperature) else None,
        "limits": {
            "force": max_force,
            "temperature": max_temperature or max(10 * hottest, 10_000.0),
            "distance": min_distance or None,
            "spread": max_spread,
            **({"error_scale": scales["forces"]} if scales and max_spread else {}),
        },
    })  # fmt: skip
    output = common.output or formats.beside(frames, "sampled")
    sampling = Sampling(
        model=loaded,
        family=bundles.module(loaded),
        dynamics=dynamics,
        walkers=walkers or len(temperature) * len(pressure) * math.prod(len(each) for _, each in vary),
        temperatures=temperature,
        steps=steps,
        engine=engine,
        batch=batch,
        draw=draw_velocities,
        outputs=outputs,
        plumed=plumed,
        plumed_outputs=plumed_outputs.names(plumed, output) if plumed else {},
        continued=continued,
        reset=reset,
        nearest=nearest,
        scales=scales,
        pressures=pressure if len(pressure) > 1 else [],
        windows=windows.products(vary) if vary else [],
    )
    _check(sampling)
    if steps < dynamics["every"]:
        note(f"no frame will be recorded: --every {dynamics['every']} is more than --steps {steps}")
    if reset and not continued:
        raise UsageError("--reset has no effect without --continue", "give the file with --continue")
    if "error_scale" in dynamics["limits"]:
        note(f"{name} is calibrated: --max-spread limits the expected error")
    engines.check(engine, dynamics, batch)
    if velocities and formats.FRAMES.complaint(output):
        raise UsageError(f"--velocities: {formats.FRAMES.complaint(output)}", formats.FRAMES.hint)
    job = Job(
        "sample", frames, output,
        settings=sampling.settings,
        other_inputs=tuple(filter(None, (config, plumed, hills, continued, nearest))),
        other_outputs=(*outputs.files, *sampling.plumed_outputs.values()),
        more_settings={
            **outputs.settings,
            **({"calibration": scales} if scales else {}),
            **({"reset": [reset.quantity, reset.limit]} if reset else {}),
        },
        options_require={**outputs.requires, **({"plumed": "--plumed"} if plumed else {})},
    )  # fmt: skip
    job = bundles.on_site(job, common, loaded)
    runner.perform(
        job, common,
        plan=lambda workspace: {"walkers": len(stage.starts(sampling, workspace)[0]), "steps": steps},
        run=lambda workspace: stage.run(sampling, workspace),
        verdict=max_failed.verdict,
        as_text=_as_text,
        show=lambda summary: summary["table"],
    )  # fmt: skip


def _check(sampling: Sampling) -> None:
    """Raise UsageError for options that contradict each other."""
    dynamics, temperatures, walkers = sampling.dynamics, sampling.temperatures, sampling.walkers
    ensemble, cold = dynamics["ensemble"], min(min(pair) for pair in temperatures)
    if ensemble != "nve" and cold == 0:
        raise UsageError(
            "a thermostat needs a --temperature above 0",
            "use --ensemble nve to start at rest, or psiflow relax to find a minimum",
        )
    if ensemble == "nve" and dynamics["ramp_steps"]:
        raise UsageError("--ensemble nve has no thermostat for a temperature ramp", "choose --ensemble nvt or npt")
    if dynamics.get("velocities") and dynamics["beads"] > 1:
        problem = "--velocities with --beads: the momenta of beads are not velocities of atoms"
        raise UsageError(problem, "leave one of them out")
    spread = dynamics["limits"]["spread"]
    if spread and len(sampling.model.members) < 2:
        raise UsageError("--max-spread needs a committee", "train one with psiflow train --members 4")
    if spread and sampling.scales and spread <= (floor := sampling.scales["forces"]["floor"]):
        problem = (
            f"--max-spread {spread:g}: this committee's error is expected to be {floor:.3g} eV/Å or more everywhere"
        )
        raise UsageError(problem, "every walker would stop; see the calibration with psiflow model show")
    if sampling.pressures and ensemble != "npt":
        raise UsageError(f"several --pressure, but {ensemble} has no barostat", "choose --ensemble npt")
    if walkers < len(sampling.conditions):
        problem = f"{counted(walkers, 'walker')} for {len(sampling.conditions)} temperatures, pressures and windows"
        if sampling.pressures or sampling.windows:
            raise UsageError(problem, "leave out --walkers, or give the same number or a multiple of it")
    if not dynamics["exchange"]:
        return
    if ensemble == "nve" or dynamics["ramp_steps"]:
        raise UsageError(
            "--exchange needs constant temperatures", "leave it out, or choose nvt, npt or nvst without a ramp"
        )
    repeated = len({pair[0] for pair in temperatures}) < len(temperatures)
    if (count := len(sampling.conditions)) < 2 or walkers % count or (repeated and count > len(temperatures)):
        raise UsageError(
            f"--exchange between {counted(walkers, 'walker')} at "
            f"{counted(count, 'temperature, pressure or window', 'temperatures, pressures and windows')}",
            "give two or more temperatures, as in --temperature 300,330,363, and the same number of walkers or a "
            "multiple of it",
        )


def _as_text(summary: Summary) -> str:
    how = summary["engine"] + (f", {summary['batch']} together" if summary["batch"] > 1 else "")
    # a walker that met a limit or a fault went less far
    steps = ("up to " if summary["failed"] else "") + counted(summary["steps"], "step")
    what = f"{counted(summary['total'], 'walker')}, {steps} ({how})"
    written = [summary.get(option) for option in ("properties", "plot", "final", "stopped")]
    files = [runner.name(summary["output"]), *filter(None, written), *summary.get("plumed", [])]
    return f"{what}: {counted(summary['frames'], 'frame')} -> {', '.join(files)}"
