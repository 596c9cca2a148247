"""Where in an input it is that a code complains about."""

from __future__ import annotations

from pathlib import Path

import pytest

from psiflow_cli.errors import BAD_DATA, BadData, NoResources, PsiflowError
from psiflow_cli.references import psi4
from psiflow_cli.stages.label.method import Method, naming

INPUT = """\
set basis 6-31g
set scf_tipe df
set maxiter 3
gradient('nonsense')
"""


@pytest.mark.parametrize(
    ("message", "place"),
    [
        ("Psi4 rejects the input: SCF_TIPE is not a valid option", ":2: "),
        ("Derivative method 'name' nonsense and derivative level are not available", ":4: "),
        ("no set", ": "),  # on several lines
        ("nothing of it", ": "),
    ],
)
def test_a_complaint_gets_the_line_that_it_names(tmp_path: Path, message: str, place: str) -> None:
    path = tmp_path / "psi4.dat"
    path.write_text(INPUT)
    method = Method("psi4", psi4, psi4.settings(path, {}), str(path))
    with pytest.raises(BadData) as caught, naming(method):
        raise PsiflowError(message, "a hint", BAD_DATA)
    assert caught.value.message == f"{path}{place}{message}"
    assert caught.value.hint == "a hint"


def test_what_has_a_place_or_is_about_something_else_is_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "psi4.dat"
    path.write_text(INPUT)
    method = Method("psi4", psi4, psi4.settings(path, {}), str(path))
    for error in (BadData(f"{path}:1: wrong"), NoResources("no maxiter"), PsiflowError("maxiter")):
        with pytest.raises(PsiflowError) as caught, naming(method):
            raise error
        assert caught.value is error
