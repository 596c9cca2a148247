"""Broken frames, templates, site and side files by the dozen and at random (R11): a place and a hint, no traceback."""

from __future__ import annotations

import gzip
import os
import re
from pathlib import Path

import pytest
from click.testing import CliRunner
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from psiflow_cli.main import main

OK = "2\n\nH 0 0 0\nH 0 0 0.74\n"
PERIODIC = '1\nLattice="{}" Properties=species:S:1:pos:R:3 pbc="T T T"\nH 0 0 0\n'
ROWS = '1\nProperties={} pbc="F F F"\n{}\n'
FRAMES: dict[str, tuple[str | bytes, str]] = {
    # name: (what the file holds, how the complaint goes on after the file's name)
    "empty": ("", ":1: it contains no frames"),
    "blank lines": ("\n\n\n", ":1: "),
    "prose": ("These are my structures.\n", ":1: "),
    "JSON": ('{"energy": 1.0}\n', ":1: "),
    "count in words": ("two\n\nH 0 0 0\nH 0 0 1\n", ":1: "),
    "count with a point": ("2.0\n\nH 0 0 0\nH 0 0 1\n", ":1: "),
    "negative count": ("-1\n\n", ":1: "),
    "no atoms": ("0\n\n", ":1: "),
    "huge count": ("99999999999999999999\n\nH 0 0 0\n", ":"),
    "count only": ("3\n", ":"),
    "no rows": ("2\n\n", ":"),
    "cut in the rows": ("2\n\nH 0 0 0\n", ":"),
    "cut in a row": ("2\n\nH 0 0 0\nH 0 0", ":4: "),
    "cut in the second frame": (OK + "2\n\nH 0 0 0\n", ":"),
    "one row too many": ("1\n\nH 0 0 0\nH 0 0 1\n", ":4: "),
    "one row too few": ("3\n\nH 0 0 0\nH 0 0 1\n" + OK, ":5: "),
    "blank line between frames that counts wrong": ("1\n\nH 0 0 0\n\n2\n\nH 0 0 0\n", ":"),
    "words for numbers": ("1\n\nH zero 0 0\n", ":3: "),
    "comma as the point": ("1\n\nH 0,5 0 0\n", ":3: "),
    "NaN": ("1\n\nH nan 0 0\n", ":3: "),
    "infinity": ("1\n\nH 0 inf 0\n", ":3: "),
    "stars of Fortran": ("1\n\nH ********* 0 0\n", ":3: "),
    "too few numbers": ("1\n\nH 0 0\n", ":3: "),
    "no such element": ("1\n\nQq 0 0 0\n", ":3: "),
    "element by a large number": ("1\n\n140 0 0 0\n", ":3: "),
    "bad columns": (ROWS.format("species:S:1:pos", "H 0 0 0"), ":2: "),
    "no positions": (ROWS.format("species:S:1", "H"), ":2: "),
    "no species": (ROWS.format("pos:R:3", "0 0 0"), ":2: "),
    "unknown type of column": (ROWS.format("species:S:1:pos:Q:3", "H 0 0 0"), ":2: "),
    "columns without number": (ROWS.format("species:S:1:pos:R:x", "H 0 0 0"), ":2: "),
    "column of no width": (ROWS.format("species:S:1:pos:R:0", "H 0 0 0"), ":2: "),
    "positions of two numbers": (ROWS.format("species:S:1:pos:R:2", "H 0 0"), ":2: "),
    "column twice": (ROWS.format("species:S:1:pos:R:3:pos:R:3", "H 0 0 0 0 0 0"), ":2: "),
    "forces cut off": (ROWS.format("species:S:1:pos:R:3:forces:R:3", "H 0 0 0 1 1"), ":3: "),
    "lattice of three": (PERIODIC.format("5 5 5"), ":2: "),
    "lattice in words": (PERIODIC.format("5 0 0 0 five 0 0 0 5"), ":2: "),
    "lattice with NaN": (PERIODIC.format("5 0 0 0 nan 0 0 0 5"), ":2: "),
    "pbc of two": ('1\nLattice="5 0 0 0 5 0 0 0 5" pbc="T T"\nH 0 0 0\n', ":2: "),
    "pbc in words": ('1\nLattice="5 0 0 0 5 0 0 0 5" pbc="yes no perhaps"\nH 0 0 0\n', ":2: "),
    "periodic without a lattice": ('1\npbc="T T T"\nH 0 0 0\n', ":2: "),
    "charge in words": ("1\ncharge=positive\nH 0 0 0\n", ":1: "),
    "half a charge": ("1\ncharge=0.5\nH 0 0 0\n", ":1: "),
    "multiplicity zero": ("1\nmultiplicity=0\nH 0 0 0\n", ":1: "),
    "not text": (b"\x89PNG\r\n\x1a\n\x00\x00\x00\rIHDR", ":1: "),
    "UTF-16": ("2\n\nH 0 0 0\nH 0 0 1\n".encode("utf-16"), ":1: "),
    "a byte that is no UTF-8": (b"1\nname=\xff\nH 0 0 0\n", ":2: "),
    "null byte": (b"1\n\nH 0 0 \x000\n", ":3: "),
    "gzip cut off": (gzip.compress(OK.encode() * 500)[:-30], ":"),
    "zstd cut off": (b"\x28\xb5\x2f\xfd\x04\x00\x99", ":"),
}
METHOD = """\
&FORCE_EVAL
  METHOD QS
  &DFT
    &SCF
      MAX_SCF 20
    &END SCF
    &XC
      &XC_FUNCTIONAL PADE
      &END XC_FUNCTIONAL
    &END XC
  &END DFT
  &SUBSYS
    &KIND H
      BASIS_SET SZV-MOLOPT-GTH
      POTENTIAL GTH-PADE-q1
    &END KIND
  &END SUBSYS
&END FORCE_EVAL
"""


def changed(old: str, new: str) -> str:
    assert old in METHOD
    return METHOD.replace(old, new, 1)


TEMPLATES: dict[str, tuple[str | bytes, str]] = {
    "empty": ("", ":1: "),
    "only comments": ("! my input\n# still mine\n", ":1: "),
    "prose": ("Please compute this.\n", ":1: "),
    "an XYZ file": (OK, ":1: "),
    "not text": (b"\x00\xff\xfe\x00", ":1: "),
    "cut in the middle": (METHOD[: len(METHOD) // 2], ":"),
    "never closed": (changed("    &END SCF\n", ""), ":"),
    "closed twice": (METHOD + "&END FORCE_EVAL\n", ":19: "),
    "closed by another name": (changed("&END SCF", "&END SFC"), ":6: "),
    "section without a name": (changed("&SCF", "&"), ":4: "),
    "keyword outside": ("MAX_SCF 20\n" + METHOD, ":1: "),
    "no FORCE_EVAL": ("&GLOBAL\n&END GLOBAL\n", ":1: "),
    "two FORCE_EVAL": (METHOD + METHOD, ":19: "),
    "no DFT": (changed("&DFT", "&DFTB").replace("&END DFT\n", "&END DFTB\n"), ":3: unknown section &DFTB"),
    "force field": (changed("METHOD QS", "METHOD FIST"), ":"),
    "charge in words": (changed("&SCF", "CHARGE plus\n&SCF"), ":4: "),
    "half a multiplicity": (changed("&SCF", "MULTIPLICITY 1.5\n&SCF"), ":4: "),
    "unset variable": (changed("20", "${STEPS}"), ":5: "),
    "unset variable, short": (changed("20", "$STEPS"), ":5: "),
    "IF without an end": ("@IF 1\n" + METHOD, ":1: "),
    "ENDIF without an IF": (METHOD + "@ENDIF\n", ":19: "),
    "IF within an IF, without its end": ("@IF 1\n@IF 1\n@ENDIF\n" + METHOD, ":1: "),
    "SET without a name": ("@SET\n" + METHOD, ":1: "),
    "missing include": ("@INCLUDE nowhere.inc\n" + METHOD, ":1: "),
    "include of nothing": ("@INCLUDE\n" + METHOD, ":1: "),
    "include of itself": ("@INCLUDE cp2k.inp\n", ":1: "),
    "unknown directive": ("@IFDEF X\n" + METHOD, ":1: "),
    "no KIND for an element": (changed("&KIND H", "&KIND O"), ":"),
    "KIND of a ghost only": (changed("&KIND H", "&KIND H\nGHOST"), ":"),
    "KIND without a name": (changed("&KIND H", "&KIND"), ":"),
}
SITE = """\
[providers.here]
[resources.task]
walltime = "5 min"
[executors.default]
provider = "here"
resources = "task"
[use]
default = "default"
"""
SITES: dict[str, tuple[str | bytes, str]] = {
    "empty": ("", ": "),
    "not TOML": ("provider: here\n", ":1: "),
    "not text": (b"\xff\xfe\x00", ": "),
    "cut": (SITE[:-3], ":8: "),
    "unknown table": (SITE + "[exectors]\n", ": exectors: "),
    "unknown key": (SITE.replace("walltime", "waltime"), ": [resources.task] waltime: "),
    "wrong type": (SITE.replace('"5 min"', "5"), ": [resources.task] walltime: "),
    "no such time": (SITE.replace("5 min", "5 blinks"), ": [resources.task] walltime: "),
    "name of nothing": (SITE.replace('provider = "here"', 'provider = "there"'), ": [executors.default] provider: "),
    "nothing is used": (SITE.replace('default = "default"\n', ""), ": [use] default: "),
    "more than there is": (SITE.replace("walltime", "cores = 99999\nwalltime"), ": [resources.task] cores: "),
    "no such environment": (
        SITE.replace("resources = ", 'environment = "e"\nresources = ') + '[environments.e]\nprefix = "/nowhere"\n',
        ": [environments.e] prefix: ",
    ),
}
SAID = re.compile(r"(psiflow: [^\n]+\n)(  hint: [^\n]+\n)?")


def refused(*arguments: str, code: int) -> str:
    """Run the command here; it must end with this code and one or two clear lines, and leave nothing behind."""
    before = set(os.listdir())
    result = CliRunner().invoke(main, ["label", *arguments])
    assert result.exit_code == code, result.output
    assert SAID.fullmatch(result.stderr), result.stderr
    assert result.stderr.replace("\n", "").isprintable()
    assert "bug" not in result.stderr
    assert set(os.listdir()) == before, "something is left behind"
    return result.stderr


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An empty folder with good frames and a good template in it."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("PSIFLOW_SITE", raising=False)
    Path("good.xyz").write_text(OK)
    Path("good.inp").write_text(METHOD)


def write(name: str, contents: str | bytes) -> None:
    Path(name).write_bytes(contents.encode() if isinstance(contents, str) else contents)


@pytest.mark.parametrize("name", FRAMES)
def test_broken_frames(name: str) -> None:
    contents, place = FRAMES[name]
    write("data.xyz", contents)
    assert refused("data.xyz", "--reference", "xtb", code=65).startswith(f"psiflow: data.xyz{place}")


@pytest.mark.parametrize("name", FRAMES)
def test_broken_frames_after_good_ones(name: str) -> None:
    contents, _ = FRAMES[name]
    write("data.xyz", contents)
    assert "data.xyz:" in refused("good.xyz", "data.xyz", "--reference", "xtb", "-o", "out.xyz", code=65)


@pytest.mark.parametrize("name", TEMPLATES)
def test_broken_templates(name: str) -> None:
    contents, place = TEMPLATES[name]
    write("cp2k.inp", contents)
    said = refused("good.xyz", "--reference", "cp2k", "--input", "cp2k.inp", code=65)
    assert said.startswith(f"psiflow: cp2k.inp{place}")
    assert re.match(r"psiflow: cp2k\.inp:\d+: ", said), "there is no line"


@pytest.mark.parametrize("name", SITES)
def test_broken_sites(name: str) -> None:
    contents, place = SITES[name]
    write("mine.toml", contents)
    said = refused("good.xyz", "--reference", "xtb", "--site", "./mine.toml", code=78)
    assert re.match(rf"psiflow: (\./)?mine\.toml{re.escape(place)}", said)
    assert "hint: " in said


RECOVERIES = {
    "not TOML": ("[[unconverged]\n", 78),
    "another table": ('[[crashed]]\n"FORCE_EVAL/DFT/SCF/MAX_SCF" = 2\n', 78),
    "no table": ("unconverged = 3\n", 78),
    "a list": ('[[unconverged]]\n"FORCE_EVAL/DFT/SCF/MAX_SCF" = [1]\n', 78),
}


@pytest.mark.parametrize("name", RECOVERIES)
def test_broken_side_files(name: str) -> None:
    contents, code = RECOVERIES[name]
    write("good.recover.toml", contents)
    said = refused("good.xyz", "--reference", "cp2k", "--input", "good.inp", code=code)
    assert "good.recover.toml" in said


REFERENCES = {
    "no Python": "this is no Python\n",
    "fails at import": "raise RuntimeError('no')\n",
    "another's module is missing": "import nowhere_to_be_found\n",
    "exits": "raise SystemExit(0)\n",
    "no label": "SUMMARY = 'x'\n",
    "fails when asked": "def settings(input_file, options):\n    return {}['a']\n"
    "check = label = SUMMARY = REQUIRES = FRAME_INPUTS = DEFAULT_TASK_SECONDS = 0\n",
    "not text": b"\xff\xfe\x00",
}


@pytest.mark.parametrize("name", REFERENCES)
def test_broken_references_of_ones_own(name: str) -> None:
    write("mine.py", REFERENCES[name])
    assert re.match(r"psiflow: \./mine\.py:\d+: ", refused("good.xyz", "--reference", "./mine.py", code=65))


FUZZ = settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
PIECES = [
    "\n",
    " ",
    '"',
    "&",
    "&END",
    "&END SCF\n",
    "$",
    "${",
    "}",
    "@IF",
    "@SET A",
    "@INCLUDE",
    "[",
    "]",
    "=",
    "é",
    "9" * 30,
]


def pasted(text: str) -> st.SearchStrategy[str]:
    """The text with something else in place of a part of it."""
    places = st.integers(0, len(text))
    return st.builds(
        lambda start, length, piece: text[:start] + piece + text[start + length :],
        places, st.integers(0, 30), st.sampled_from(PIECES),
    )  # fmt: skip


def judged(*arguments: str, codes: tuple[int, ...], where: str) -> None:
    """A dry run: well, or one of these codes with the file's name."""
    result = CliRunner().invoke(main, ["label", *arguments, "--dry-run"])
    assert result.exit_code in (0, *codes), result.output
    assert "bug" not in result.stderr
    assert "Traceback" not in result.output
    if result.exit_code:
        *notes, said = result.stderr.rstrip("\n").replace("\n  hint: ", "  hint: ").split("\n")
        assert where in said
        assert all(line.startswith("psiflow: ") for line in (*notes, said))


@FUZZ
@given(pasted(OK + PERIODIC.format("5 0 0 0 5 0 0 0 5")))
def test_frames_with_something_else_in_them(text: str) -> None:
    write("data.xyz", text)
    judged("data.xyz", "--reference", "xtb", codes=(65,), where="data.xyz:")


@FUZZ
@given(pasted(METHOD))
def test_templates_with_something_else_in_them(text: str) -> None:
    write("cp2k.inp", text)
    judged("good.xyz", "--reference", "cp2k", "--input", "cp2k.inp", codes=(65, 66), where="cp2k.inp:")


@FUZZ
@given(pasted(SITE))
def test_sites_with_something_else_in_them(text: str) -> None:
    write("mine.toml", text)
    judged("good.xyz", "--reference", "xtb", "--site", "./mine.toml", codes=(78,), where="mine.toml:")


@FUZZ
@given(st.binary(max_size=80))
def test_any_bytes_as_any_input(data: bytes) -> None:
    write("any", data)
    Path("data.xyz").write_bytes(data)
    judged("data.xyz", "--reference", "xtb", codes=(65,), where="data.xyz:")
    judged("good.xyz", "--reference", "cp2k", "--input", "any", codes=(65,), where="any:")
    Path("any.toml").write_bytes(data)
    judged("good.xyz", "--reference", "xtb", "--site", "./any.toml", codes=(78,), where="any.toml")
