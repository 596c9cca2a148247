"""Windows of `--vary`: their values, products, and names that PLUMED's input has or lacks."""

from __future__ import annotations

import pytest

from psiflow_cli.errors import BadData, UsageError
from psiflow_cli.stages.sample import windows
from psiflow_cli.worker.md.plumed.window import filled, in_window


def test_values_are_given_as_a_range_or_as_a_list() -> None:
    assert windows.values("AT=1.0:3.0:5") == ("AT", [1.0, 1.5, 2.0, 2.5, 3.0])
    assert windows.values("K=3:1:3") == ("K", [3.0, 2.0, 1.0])
    assert windows.values("A=1,2,5") == ("A", [1.0, 2.0, 5.0])
    assert windows.values("A=-2e-1") == ("A", [-0.2])


@pytest.mark.parametrize(
    "word",
    ["AT", "=1,2", "AT=", "AT=1:2", "AT=1:2:0", "AT=1:2:1", "AT=1:1:3", "AT=1:2:2.5", "AT=1,,2", "AT=a", "AT=nan,1",
     "AT=1,1.0", "1A=1,2", "step=1,2", "target_pressure=1,2", "energy=1", "AT=1:2:99999999"],
)  # fmt: skip
def test_what_is_no_window_is_refused(word: str) -> None:
    with pytest.raises(ValueError, match=r".+"):
        windows.values(word)


def test_several_names_make_products() -> None:
    found = windows.products([("A", [1.0, 2.0]), ("B", [3.0, 4.0])])
    assert found == [{"A": 1.0, "B": 3.0}, {"A": 1.0, "B": 4.0}, {"A": 2.0, "B": 3.0}, {"A": 2.0, "B": 4.0}]
    with pytest.raises(UsageError, match="--vary A is given twice"):
        windows.products([("A", [1.0]), ("A", [2.0])])
    with pytest.raises(UsageError, match="makes 1000000 windows"):
        windows.products([(name, [float(n) for n in range(100)]) for name in "ABC"])


def test_every_name_has_a_value_and_every_value_a_name() -> None:
    text, files = "INCLUDE FILE=more.dat\nRESTRAINT ARG=d AT=@AT@ KAPPA=1 # not @THIS@\n", {"more.dat": "\n\nA=@K@\n"}
    windows.check("p.dat", text, files, ["AT", "K"])
    with pytest.raises(BadData, match=r"more.dat:3: @K@ has no value"):
        windows.check("p.dat", text, files, ["AT"])
    with pytest.raises(BadData, match=r"p.dat:2: @AT@ has no value"):
        windows.check("p.dat", text, files, [])
    with pytest.raises(BadData, match="contain @B@"):
        windows.check("p.dat", text, files, ["AT", "K", "B"])
    windows.check("p.dat", "ATOMS=@phi-3,@psi-3 GROUP=@mdatoms,@water", {}, [])


def test_values_take_the_place_of_names_in_all_files() -> None:
    assert filled("AT=@AT@,@OTHER@ N=@N@", {"AT": 0.1, "N": 3.0}) == "AT=0.1,@OTHER@ N=3"
    job = {"plumed": "@A@", "plumed_files": {"x": "@A@ @A@"}}
    assert in_window(job, {"A": 1.5}) == {"plumed": "1.5", "plumed_files": {"x": "1.5 1.5"}}  # type: ignore[arg-type]
    assert in_window(job, {}) is job  # type: ignore[arg-type, comparison-overlap]
