"""psiflow site: the site files."""

from __future__ import annotations

import json

import click

from psiflow_cli import options


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
@options.talk
def show(name: str, as_json: bool) -> None:
    """Show a site file, checked, with what it means on this machine [default: $PSIFLOW_SITE, or local]."""
    import msgspec

    from psiflow_cli.errors import BadConfig
    from psiflow_cli.runtime.rundir import describe
    from psiflow_cli.site import detect, load, resolve

    path = load.find(name)
    site = load.parse(path)
    machine = detect.machine()
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
