"""TOML that was written reads back as it was."""

from __future__ import annotations

import pytest

from psiflow_cli import toml
from psiflow_cli.errors import BadConfig


@pytest.mark.parametrize(
    "data",
    [
        {},
        {"table": {}},
        {"empty": {"inner": {}}},
        {"last": "value", "of": {"a": {"b": {"c": 1}}, "d": True}, "first": 2},
        {"a b": {"with.dot": "x", "": "y", "ü": [1, 2.5, "three", [], {"k": "v"}, {}]}},
        {"quotes": 'a "b" \\ \n\t \x00 \x7f \u2028 é 🙂', "big": 2**62, "tiny": 1e-300, "no": False},
    ],
)
def test_there_and_back(data):
    assert toml.loads(toml.dumps(data)) == data


def test_none_is_left_out():
    assert toml.dumps({"a": None, "b": {"c": None, "d": 1}}) == "\n[b]\nd = 1\n"


def test_plain_keys_stand_before_tables():
    assert toml.dumps({"run": {"cache": True}, "use": "x"}) == 'use = "x"\n\n[run]\ncache = true\n'


@pytest.mark.parametrize(
    ("line", "advice"),
    [
        ("ensemble = NPT", 'quote texts: ensemble = "NPT"'),
        ("reference = “xtb”", 'quote texts: reference = "xtb"'),
        ("temperature = 300K  # warm", 'quote texts: temperature = "300K"'),
        ("pressure = 2 GPa", 'quote texts: pressure = "2 GPa"'),
        ("input = ./cp2k.inp", 'quote texts: input = "./cp2k.inp"'),
        ("elements = [H, O]", 'also in lists and tables: ["H", "O"]'),
        ("walltime = 24:00:00", 'walltime = "24:00:00"'),
        ("trust = True", "write it in lower case: trust = true"),
        ("steps: 100", "put an equals sign between key and value: steps = 100"),
        ("steps 100", "write KEY = VALUE"),
        ("steps =", "a value is missing"),
        ('input = "C:\\data"', "single quotes: input = 'C:\\data'"),
        ('input = "cp2k.inp', "a quotation mark is missing"),
        ("[table", "write the head of a table as [NAME]"),
        ("a = 1\na = 2", "it occurs twice"),
        ("a = [1,", "is not closed"),
    ],
)
def test_a_line_that_is_no_toml_gets_advice(tmp_path, line, advice):
    path = tmp_path / "psiflow.toml"
    path.write_text(f"[sample]\n{line}\n")
    with pytest.raises(BadConfig) as error:
        toml.load(path, BadConfig)
    assert error.value.message.startswith(f"{path}:{3 if 'twice' in advice else 2}: not valid TOML: ")
    assert advice in error.value.hint


def test_a_mark_of_the_byte_order_is_no_syntax_error(tmp_path):
    (tmp_path / "mine.toml").write_bytes(b"\xef\xbb\xbfa = 1\n")
    assert toml.load(tmp_path / "mine.toml", BadConfig) == {"a": 1}


def test_the_line_of_a_key_stands_behind_the_message(tmp_path):
    path = tmp_path / "mine.toml"
    path.write_text('[a]\nb.c = 1\n[ x . "y z" ]\n# k = 0\nk = 2\n[[e]]\n')
    said = {"[a] b.c": 2, "[a.b] c": 2, "[a] b": 2, "[x.y z] k": 5, "[x.y z]": 3, "[e]": 6}
    for place, line in said.items():
        assert toml.with_line(f"{path}: {place}: bad") == f"{path}: {place}: bad (line {line})"
    for message in (f"{path}: [a] z: bad", "none.toml: [a] b: bad", "no such thing"):
        assert toml.with_line(message) == message
