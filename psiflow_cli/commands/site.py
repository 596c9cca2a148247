"""psiflow site: the site files."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import click

from psiflow_cli import options

if TYPE_CHECKING:
    from psiflow_cli.site.detect import Machine
    from psiflow_cli.site.schema import Site


@click.group("site")
def command() -> None:
    """List and show site files."""


@command.command("list")
@click.option("--json", "as_json", is_flag=True, help="A JSON list on stdout.")
@options.talk
def list_(as_json: bool) -> None:
    """List the site files that can be named, and where each is."""
    from psiflow_cli.errors import PsiflowError
    from psiflow_cli.site import load

    rows = []
    for name, path in sorted(load.available().items()):
        try:
            said = load.parse(path).description
        except PsiflowError as error:
            said = f"broken: {error.message}"
        rows.append({"name": name, "path": str(path), "description": said})
    if as_json:
        click.echo(json.dumps(rows))
        return
    width = max((len(r["name"]) for r in rows), default=0)
    for row in rows:
        click.echo(f"{row['name']:{width}}  {row['description']}\n{'':{width}}  {row['path']}")


@command.command("show")
@click.argument("name", envvar="PSIFLOW_SITE", default="local")
@click.option("--json", "as_json", is_flag=True, help="The checked site, and what this machine has, as JSON.")
@click.option("--script", metavar="EXECUTOR", help="The submit script of an executor's blocks; nothing is submitted.")
@options.talk
def show(name: str, as_json: bool, script: str | None) -> None:
    """Show a site file, checked, with what it means on this machine [default: $PSIFLOW_SITE, or local]."""
    import msgspec

    from psiflow_cli.errors import BadConfig
    from psiflow_cli.runtime.rundir import describe
    from psiflow_cli.site import detect, load, resolve

    path = load.find(name)
    site = load.parse(path)
    machine = detect.machine()
    if script:
        _show_script(site, script, machine)
        return
    if as_json:
        click.echo(json.dumps({"path": str(path), "site": msgspec.to_builtins(site), "machine": describe(machine)}))
        return
    click.echo(f"# {path}\n{path.read_text().rstrip()}\n")
    gpus = f"GPUs {', '.join(machine.gpus)}" if machine.gpus else "no GPU"
    click.echo(f"# here: {machine.cores} cores, {machine.memory_mb / 1024:.1f} GB, {gpus}, {machine.nodes} node(s)")
    for family, operation in (
        ("default", ""),
        *((f, o) for f, u in site.use.items() if isinstance(u, dict) for o in u),
    ):
        use = f"{family}.{operation}" if operation else family
        try:
            target = resolve.target(site, family, operation, machine)
        except BadConfig as error:
            click.echo(f"# {use}: {error.message}")
            continue
        context = target.context
        each = f"{target.cores} core(s), {context['gpus']} GPU(s), device {context['device']}"
        click.echo(f"# {use}: executor {target.label}: {target.workers} task(s) at once, each {each}")


def _show_script(site: Site, executor: str, machine: Machine) -> None:
    from psiflow_cli.errors import UsageError, nearest
    from psiflow_cli.runtime.script import script
    from psiflow_cli.site import resolve

    if executor not in site.executors:
        raise UsageError(f"no executor {executor!r} in this site", nearest(executor, list(site.executors)))
    click.echo(script(resolve.of_executor(site, executor, machine)).rstrip())


@command.command("check")
@click.argument("name", envvar="PSIFLOW_SITE", default="local")
@click.option("--submit", is_flag=True, help="Also run a tiny real task in a block of every executor.")
@click.option("--json", "as_json", is_flag=True, help="A JSON list of findings on stdout.")
@options.talk
def check(name: str, submit: bool, as_json: bool) -> None:
    """Check a site: names, programs, environments and partitions, and with --submit what its workers see."""
    from psiflow_cli.errors import BAD_CONFIG
    from psiflow_cli.runtime.rundir import describe
    from psiflow_cli.site import detect, load
    from psiflow_cli.stages import site_check

    site, machine = load.load(name), detect.machine()
    findings = list(site_check.without_job(site, machine))
    bad = {finding.executor for finding in findings if finding.problem}
    if submit and not bad:
        findings = list(site_check.with_job(site, machine))
    if as_json:
        click.echo(json.dumps([describe(finding) for finding in findings]))
    else:
        for finding in findings:
            click.echo(f"{finding.executor}: {finding.problem or 'good'}")
    if any(finding.problem for finding in findings):
        raise click.exceptions.Exit(BAD_CONFIG)


@command.command("schema")
def schema_() -> None:
    """Print the JSON schema of site files, for editors that complete and check TOML."""
    from psiflow_cli.site.json_schema import json_schema

    click.echo(json.dumps(json_schema(), indent=1))
