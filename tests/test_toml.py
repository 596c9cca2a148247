"""TOML that was written reads back as it was."""

from __future__ import annotations

import pytest

from psiflow_cli import toml


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
