"""Every option of every command: values in any case and unit, and what a defaults file is told of a wrong one."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import click
import pytest
from click.testing import CliRunner

from psiflow_cli import defaults
from psiflow_cli.errors import BadConfig
from psiflow_cli.main import main
from psiflow_cli.values import kinds, quantities


def commands(group: click.Group, *names: str) -> Iterator[tuple[tuple[str, ...], click.Command]]:
    for name, command in group.commands.items():
        if isinstance(command, click.Group):
            yield from commands(command, *names, name)
        else:
            yield (*names, name), command


COMMANDS = [
    pytest.param(names, command, id=" ".join(names))
    for names, command in commands(main)
    if isinstance(command, defaults.Command)
]


def options(command: click.Command) -> Iterator[click.Option]:
    for param in command.params:
        if isinstance(param, click.Option) and any(name.startswith("--") for name in param.opts):
            yield param


def key(param: click.Option) -> str:
    return next(name.removeprefix("--") for name in param.opts if name.startswith("--"))


def of_file(names: tuple[str, ...], command: click.Command, text: str) -> dict[str, object]:
    Path("psiflow.toml").write_text(f"# a comment\n[{'.'.join(names)}]\n{text}\n")
    return defaults.read(command, [], names, main)


def wrong(param: click.Option) -> Iterator[str]:
    """Values that no option of this kind takes."""
    if param.is_flag or param.count:
        yield "'perhaps'"
    else:
        yield "[[]]" if param.multiple else "true"
    if isinstance(param.type, (kinds.Word, kinds.Name, kinds.Whole, kinds.Finite)) and not param.multiple:
        yield "'no-such-thing'"
    if isinstance(param.type, kinds.Whole):
        yield "1.5"
    if isinstance(param.type, kinds.Finite):
        yield "'1 lightyear'"
        yield "nan"


@pytest.mark.parametrize(("names", "command"), COMMANDS)
def test_a_wrong_value_of_a_defaults_file_is_an_error_of_that_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, names: tuple[str, ...], command: click.Command
) -> None:
    monkeypatch.chdir(tmp_path)
    for param in options(command):
        for value in wrong(param):
            with pytest.raises(BadConfig) as error:
                of_file(names, command, f"{key(param)} = {value}")
            said = error.value.message
            assert said.startswith(f"psiflow.toml: [{'.'.join(names)}] {key(param)}: "), (said, value)
            assert said.endswith(" (line 3)")
            assert error.value.hint, said


@pytest.mark.parametrize(("names", "command"), COMMANDS)
def test_a_kind_of_option_reads_what_people_type(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, names: tuple[str, ...], command: click.Command
) -> None:
    monkeypatch.chdir(tmp_path)
    table = []
    for param in options(command):
        kind = param.type
        clicks_own = (click.Choice, click.types.IntParamType, click.types.FloatParamType)
        if isinstance(kind, clicks_own) and not param.count:
            assert isinstance(kind, (kinds.Word, kinds.Whole, kinds.Finite)), f"{param.opts} knows no units or capitals"
        if isinstance(kind, (kinds.Word, kinds.Name)):
            for word in kind.choices:
                for typed in (word, word.upper(), word.capitalize().replace("-", "_")):
                    assert kind.convert(typed, param, None) == word
            table.append(f'{key(param)} = "{kind.choices[-1].upper()}"')
        elif isinstance(kind, kinds.Whole):
            assert kind.convert("1e4", param, None) == 10_000
            table.append(f"{key(param)} = 1e4")
        elif isinstance(kind, kinds.Finite):
            assert kind.unit or param.metavar in (None, "NUMBER"), f"no table has the unit {param.metavar}"
            if kind.unit and kind.unit != "SHARE":
                assert kind.convert(f"1 {kind.unit}", param, None) == kind.convert("1", param, None) == 1
                table.append(f'{key(param)} = "1 {kind.unit}"')
    read = of_file(names, command, "\n".join(table))
    assert len(read.keys() - {"site"}) == len(table)


def run(*words: str) -> tuple[int, str]:
    done = CliRunner().invoke(main, words)
    return done.exit_code, done.stderr


@pytest.mark.parametrize(
    ("project", "words", "code", "said"),
    [
        # decided only where the timestep is known, and in the command itself
        ('[sample]\nsteps = "1 ps"\ntimestep = 0.3', "sample x.xyz --model m", 78, "[sample] steps: '1 ps' is"),
        ('[sample]\nsteps = "1 ps"', "sample x.xyz --model m --timestep 0.3", 78, "[sample] steps: '1 ps'"),
        ("", "sample x.xyz --model m --timestep 0.3 --steps 1 ps", 2, "Invalid value for '--steps': '1 ps' is not"),
        ("[relax]\npressure = 2000", "relax x.xyz --model m", 78, "[relax] pressure: --pressure has no effect"),
        ('[relax]\ncell = "fixed"', "relax x.xyz --model m --pressure 2 GPa", 2, "psiflow: --pressure has no effect"),
        ("[split]\nparts = {train = 0.5, test = '40%'}", "split x.xyz", 78, "[split] parts: the shares add up to 0.9"),
        ("[phonons]\ntemperature = [300, '-4 K']", "phonons x.xyz", 78, "[phonons] temperature: '-4 K' is not a temp"),
        ("", "train x.xyz", 2, "missing option --arch\n  hint: one of allegro, mace, nequip; give it"),
        ("", "label x.xyz", 2, "  hint: one of cp2k, dftd, emt"),
        ("", "select x.xyz", 2, "  hint: one of random, farthest, committee, error; give it"),
        ("", "model export m", 2, "Missing option '--to'. Choose from: ase, lammps"),
        ("", "label x.xyz --reference xtc", 2, "unknown reference 'xtc'\n  hint: did you mean 'xtb'?"),
        ("[sample]\nensemble = NPT", "sample x.xyz", 78, 'hint: quote texts: ensemble = "NPT"'),
    ],
)  # fmt: skip
def test_who_is_blamed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, project: str, words: str, code: int, said: str
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("psiflow.toml").write_text(project)
    found = run(*words.split())
    assert found[0] == code, found[1]
    assert said in found[1]


def test_a_unit_behind_a_space_belongs_to_its_number(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    typed = ["start.xyz", "--pressure", "2", "GPa", "--steps=1", "ps", "--temperature", "100:500", "K", "-n", "5", "fs"]
    joined = ["start.xyz", "--pressure", "2 GPa", "--steps=1 ps", "--temperature", "100:500 K", "-n", "5 fs"]
    assert quantities.with_units(typed) == joined
    Path("fs").touch()
    assert quantities.with_units(["-n", "5", "fs"]) == ["-n", "5", "fs"]
    assert quantities.with_units(["--json", "fs", "2", "K"]) == ["--json", "fs", "2", "K"]


@pytest.mark.parametrize(
    ("words", "problem"),
    [
        ("--timestep 0.5ps", "must be above 0 and at most 100 fs, not 0.5ps"),
        ("--steps 10pc", "unknown unit 'pc'; a number without a unit is a number of steps; known: as, fs, ps"),
        ("--temperature 300C", "unknown unit 'C'; a number without a unit is in K; known: K, mK, kelvin"),
        ("--pressure 1foo", "unknown unit 'foo'; a number without a unit is in bar; known: bar, mbar"),
    ],
)
def test_a_unit_that_cannot_be_meant_is_refused(words: str, problem: str) -> None:
    code, stderr = run("sample", "in.xyz", "--model", "water.model", *words.split())
    assert code == 2
    assert problem in stderr
