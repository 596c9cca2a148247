"""The expression of `psiflow model combine`."""

from __future__ import annotations

import re

import pytest

from psiflow_cli.errors import UsageError
from psiflow_cli.stages.models.expression import Piece, options, parse

FILES = {
    "a.model", "b.model", "my water.model", "my", "a-b.model", "a - b.model", "2*a.model", "x+y.model", "sub/c.model",
    "mail@home.model", "emt",
}  # fmt: skip
REFERENCES = ["dftd", "emt", "xtb"]


def parsed(text: str) -> list[tuple[float, str, str | None]]:
    return [(piece.factor, piece.name, piece.head) for piece in parse(text, FILES.__contains__, REFERENCES)]


@pytest.mark.parametrize(
    ("text", "terms"),
    [
        ("a.model", [(1, "a.model", None)]),
        ("0.5*a.model + .5 * b.model - sub/c.model",
         [(0.5, "a.model", None), (0.5, "b.model", None), (-1, "sub/c.model", None)]),
        ("a.model+b.model-a.model", [(1, "a.model", None), (1, "b.model", None), (-1, "a.model", None)]),
        ("-1e-3*a.model +2.*b.model", [(-0.001, "a.model", None), (2, "b.model", None)]),
        ("1/4*a.model", [(0.25, "a.model", None)]),
        ("a.model - xtb:method=GFN1-xTB", [(1, "a.model", None), (-1, "xtb:method=GFN1-xTB", None)]),
        ("xtb:method=GFN1-xTB - a.model", [(1, "xtb:method=GFN1-xTB", None), (-1, "a.model", None)]),
        ("2*xtb-a.model", [(2, "xtb", None), (-1, "a.model", None)]),
        # what is the name of a file is one: the longest that begins there
        ("my water.model + a - b.model", [(1, "my water.model", None), (1, "a - b.model", None)]),
        ("my + a-b.model+x+y.model", [(1, "my", None), (1, "a-b.model", None), (1, "x+y.model", None)]),
        ("3*2*a.model", [(3, "2*a.model", None)]),
        ("emt + a.model", [(1, "emt", None), (1, "a.model", None)]),
        ("a.model@pbe + mail@home.model@r2scan", [(1, "a.model", "pbe"), (1, "mail@home.model", "r2scan")]),
        ("0.5*'dftd:xc=b97-d + x' + \"a.model\"@pbe", [(0.5, "dftd:xc=b97-d + x", None), (1, "a.model", "pbe")]),
        ("a.model \N{MINUS SIGN} 2\N{MULTIPLICATION SIGN}b.model", [(1, "a.model", None), (-2, "b.model", None)]),
        ("gone.model + a.model", [(1, "gone.model", None), (1, "a.model", None)]),
        ("sub/*.model", [(1, "sub/*.model", None)]),
        ("gone.model*2", [(1, "gone.model*2", None)]),
        ("no-such.model - a.model", [(1, "no-such.model", None), (-1, "a.model", None)]),
    ],
)  # fmt: skip
def test_terms(text: str, terms: list[tuple[float, str, str | None]]) -> None:
    assert parsed(text) == terms


def test_where_a_term_begins() -> None:
    assert [piece.at for piece in parse("a.model + 0.5*b.model", FILES.__contains__, REFERENCES)] == [1, 15]
    assert parse("xtb", FILES.__contains__, REFERENCES) == [Piece(1.0, "xtb", None, 1)]


@pytest.mark.parametrize(
    ("text", "at", "words"),
    [
        ("", 1, "no term"),
        ("   ", 4, "no term"),
        ("a.model +", 9, "no term follows '+'"),
        ("a.model + - b.model", 11, "a second sign"),
        ("a.model b.model", 9, "where + or - was expected"),
        ("a.model*0.5", 8, "where + or - was expected"),
        ("0*a.model", 1, "the factor is 0"),
        ("1e999*a.model", 1, "not a finite number"),
        ("1/0*a.model", 1, "not a finite number"),
        ("a.model + 0,5*b.model", 11, "not a comma"),
        ("a.model + 2*", 11, "no term follows the factor"),
        ("2*3*a.model", 3, "a second factor"),
        ("a.model + 1e*b.model", 11, "the factor '1e' is not a number"),
        ("2*nan*xtb", 3, "the factor 'nan' is not a number"),
        ("1/x*a.model", 1, "the factor '1/x' is not a number"),
        ("0.5*(a.model + b.model)", 5, "parentheses"),
        ("a.model + 'b.model", 11, "is not closed"),
        ("a.model + ''", 11, "no name"),
    ],
)
def test_what_is_wrong_has_its_place(text: str, at: int, words: str) -> None:
    with pytest.raises(UsageError, match=f"character {at}: .*{re.escape(words)}"):
        parsed(text)


def test_options() -> None:
    assert options("dftd:xc=pbe,version=d3") == ("dftd", {"xc": "pbe", "version": "d3"})
    assert options("pyscf:xc=.5*hf+.5*b88,lyp,basis=sto-3g") == ("pyscf", {"xc": ".5*hf+.5*b88,lyp", "basis": "sto-3g"})
    assert options("emt") == ("emt", {})
    for text, words in (("xtb:GFN1", "is not an option"), ("xtb:method=a,method=b", "twice")):
        with pytest.raises(ValueError, match=words):
            options(text)
