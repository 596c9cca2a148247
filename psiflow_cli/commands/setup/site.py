"""psiflow site: the site files."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from psiflow_cli import formats, options
from psiflow_cli.console import echo_json
from psiflow_cli.errors import counted

if TYPE_CHECKING:
    from collections.abc import Iterator

    from psiflow_cli.site.detect import Machine
    from psiflow_cli.site.schema import Site


@click.group("site", cls=options.Group)
def command() -> None:
    """List, show, check and write site files.

    \b
    Examples:
      psiflow site init
      psiflow site check mycluster && psiflow label data.xyz --site mycluster
    """


@command.command("list", short_help="List the available site files and their paths")
@options.flag("--json as_json", "Print a JSON list.")
@options.talk
def list_(as_json: bool) -> None:
    """List the available site files and their paths.

    \b
    Examples:
      psiflow site list
      psiflow site list --json | jq -r '.[].name'
    """
    from psiflow_cli.errors import PsiflowError
    from psiflow_cli.site import load

    rows = []
    for name, path in sorted(load.available().items()):
        try:
            description = load.parse(path).description
        except PsiflowError as error:
            description = f"broken: {error.message}"
        rows.append({"name": name, "path": str(path), "description": description})
    if as_json:
        echo_json(rows)
        return
    width = max((len(r["name"]) for r in rows), default=0)
    for row in rows:
        click.echo(f"{row['name']:{width}}  {row['description']}\n{'':{width}}  {row['path']}")


@command.command("show", short_help="Print a site as TOML with all defaults")
@click.argument("name", envvar="PSIFLOW_SITE", default="local")
@options.flag("--json as_json", "Print the checked site and what this machine has as JSON.")
@options.text("--script", None, "EXECUTOR", "Print the submit script of this executor's blocks; nothing is submitted.")
@options.talk
def show(name: str, as_json: bool, script: str | None) -> None:
    """Print a site as TOML with everything it extends and all defaults, and what it means on this machine.

    Without NAME, the site is $PSIFLOW_SITE or local.

    \b
    Examples:
      psiflow site show hortense
      psiflow site show hortense --script reference
    """
    from dataclasses import asdict

    import msgspec

    from psiflow_cli import toml
    from psiflow_cli.site import detect, load

    path = load.find(name)
    site = load.parse(path)
    machine = detect.machine()
    if script:
        _show_script(site, script, machine)
        return
    if as_json:
        echo_json({"path": str(path), "site": msgspec.to_builtins(site), "machine": asdict(machine)})
        return
    click.echo(f"# {path}" + (f", which extends {site.extends}" if site.extends else ""))
    # what it extends is in it now, and must not be read once more
    click.echo(toml.dumps({k: v for k, v in msgspec.to_builtins(site).items() if k != "extends"}))
    for line in _on_this_machine(site, machine):
        click.echo(f"# {line}")


_MANY = 10_000  # members of a committee, more than there are cores


def _on_this_machine(site: Site, machine: Machine) -> Iterator[str]:
    """What a site means on this machine."""
    from psiflow_cli.errors import BadConfig
    from psiflow_cli.site import resolve

    if site.remote:
        yield f"commands run on {site.remote.host}; psiflow site check tests the site there"
        return
    gpus = f"GPUs {', '.join(machine.gpus)}" if machine.gpus else "no GPU"
    cores, nodes = counted(machine.cores, "core"), counted(machine.nodes, "node")
    yield f"here: {cores}, {machine.memory_mb / 1024:.1f} GB, {gpus}, {nodes}"
    for family, operation in (
        ("default", ""),
        *((f, o) for f, u in site.use.items() if isinstance(u, dict) for o in u),
    ):
        use = f"{family}.{operation}" if operation else family
        try:
            executor = resolve.executor_of(site, family, operation, machine)
        except BadConfig as error:
            yield f"{use}: {error.message}"
            continue
        context = executor.context
        each = f"{counted(executor.cores, 'core')}, {counted(context['gpus'], 'GPU')}, device {context['device']}"
        most = resolve.executor_of(site, family, operation, machine, tasks=_MANY).workers if operation == "train" else 0
        members = (
            f"; up to {most} members of a committee at a time, which share the cores" if most > executor.workers else ""
        )
        yield f"{use}: executor {executor.label}: {counted(executor.workers, 'task')} at once, each {each}{members}"


def _show_script(site: Site, executor: str, machine: Machine) -> None:
    from psiflow_cli.errors import UsageError, nearest
    from psiflow_cli.runtime.script import script
    from psiflow_cli.site import resolve

    if executor not in site.executors:
        raise UsageError(f"no executor {executor!r} in this site", nearest(executor, list(site.executors)))
    click.echo(script(resolve.of_executor(site, executor, machine)).rstrip())


@command.command("check", short_help="Check names, programs, environments and partitions")
@click.argument("name", envvar="PSIFLOW_SITE", default="local")
@options.flag("--submit", "Also run a tiny real task with every executor.")
@options.flag("--json as_json", "Print the findings as a JSON list.")
@options.talk
def check(name: str, submit: bool, as_json: bool) -> None:
    """Check a site: names, programs, environments and partitions, and with --submit what its workers see.

    Tables and keys without effect, model families that are not installed here, and the workers' PLUMED are reported as
    notes and do not fail the check. A site with [remote] is checked on its machine.

    \b
    Examples:
      psiflow site check mycluster
      psiflow site check --submit ./mycluster.toml
    """
    from dataclasses import asdict

    from psiflow_cli.console import note
    from psiflow_cli.errors import BAD_CONFIG, NoResources
    from psiflow_cli.remote import there
    from psiflow_cli.site import detect, load
    from psiflow_cli.stages.setup import site_check

    path = load.find(name)
    site, machine = load.parse(path), detect.machine()
    if site.remote:
        flags = ["--submit"] * submit + ["--json"] * as_json
        raise click.exceptions.Exit(there.check(path, site.remote, flags))
    note(f"checking {path}")
    findings, unanswered = [], None
    try:
        for finding in site_check.without_job(site, machine):
            findings.append(finding)
    except NoResources as error:
        unanswered = error
    bad = any(finding.problem for finding in findings)
    if submit and bad:
        note("no job was submitted: fix this first")
    elif submit and not unanswered:
        findings = list(site_check.with_job(site, machine))
    if as_json:
        rows = [asdict(finding) for finding in findings]
        echo_json([{key: value for key, value in row.items() if value or key != "note"} for row in rows])
    else:
        for finding in findings:
            verdict = finding.problem or (f"note: {finding.note}" if finding.note else "good")
            click.echo(f"{finding.executor or 'site'}: {verdict}")
    if any(finding.problem for finding in findings):
        raise click.exceptions.Exit(BAD_CONFIG)
    if unanswered:
        raise unanswered


@command.command("schema", short_help="Print the JSON schema of site files for editors")
def schema_() -> None:
    """Print the JSON schema of site files, for editors that complete and check TOML.

    \b
    Examples:
      psiflow site schema > site.schema.json
    """
    from psiflow_cli.site.json_schema import json_schema

    echo_json(json_schema(), indent=1)


@command.command("init", short_help="Write a first site file for this cluster")
@options.output("-o --output", formats.SITE, "Output file; - is stdout [default: ./CLUSTER.toml].")
@options.flag("--overwrite", "Replace an existing file.")
@options.flag("--json as_json", "Print JSON about what was written.")
@options.talk
def init(output: str | None, overwrite: bool, as_json: bool) -> None:
    """Write a first site file for this cluster, from what SLURM reports or, without SLURM, for this machine.

    \b
    Examples:
      psiflow site init
      psiflow site init -o ~/.config/psiflow/site.d/mycluster.toml
    """
    from psiflow_cli import registry
    from psiflow_cli.console import note
    from psiflow_cli.errors import UsageError
    from psiflow_cli.site import starter, starter_tasks

    if as_json and output == "-":
        raise UsageError("--json: stdout is already used for the site file", "give a file with --output")
    site = starter.make(output or "", overwrite)
    if output == "-":
        click.echo(site.text, nl=False)
    if as_json:
        echo_json({"command": "site init", "path": site.path, "cluster": site.cluster})
    if site.no_slurm:
        note(f"SLURM was not found ({site.no_slurm}): this site uses only this machine")
    for family in registry.names("models"):
        if first := starter_tasks.missing(family):
            note(f"nothing here can run {family}: {first}, then uncomment its lines in [use]")
    if output != "-":
        note(f"wrote {site.path}; next: psiflow site check --submit {site.name}")
