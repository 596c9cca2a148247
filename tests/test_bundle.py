"""A bundle is checked before anything of it is run."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pytest

from psiflow_cli import bundle, toml
from psiflow_cli.errors import BadData, NoInput

FACTS = {
    "family": "mace",
    "members": 2,
    "elements": ["H", "O"],
    "cutoff": 4.5,
    "wanted": True,
    "note": 'a "quoted" \\ Å\nline',
    "atomic_energies": {"H": -13.6, "O": -432.1},
    "configuration": {"lr": 1e-10, "heads": {"a b": [1, 2]}, "gone": None},
}


@pytest.fixture
def made(tmp_path):
    """A bundle of two members, and a function that writes its model.toml again with other facts."""
    folder = tmp_path / "water.model"
    weights = {}
    for i in range(2):
        (folder / f"member-{i}").mkdir(parents=True)
        (folder / f"member-{i}" / "mace.model").write_bytes(b"weights %d" % i)
        (folder / f"member-{i}" / "train.log").write_text("log\n")
        weights[f"member-{i}/mace.model"] = hashlib.sha256(b"weights %d" % i).hexdigest()

    def write(**changes):
        facts = {k: v for k, v in {**FACTS, "weights": weights, **changes}.items() if v is not None}
        (folder / "model.toml").write_text(toml.dumps(facts), encoding="utf-8")
        return str(folder)

    return write


def test_facts_come_back(made):
    loaded = bundle.load(made())
    assert (loaded.family, loaded.elements) == ("mace", ["H", "O"])
    assert [Path(m).name for m in loaded.members] == ["member-0", "member-1"]
    assert all(Path(m).is_absolute() for m in loaded.members)
    expected = {**FACTS, "configuration": {k: v for k, v in FACTS["configuration"].items() if v is not None}}
    assert {k: v for k, v in loaded.facts.items() if k != "weights"} == expected


def test_the_fingerprint_is_that_of_the_weights(made):
    first = bundle.load(made()).fingerprint
    assert bundle.load(made(note="another")).fingerprint == first
    path = Path(made()) / "member-1" / "mace.model"
    path.write_bytes(b"other")
    weights = {"member-0/mace.model": hashlib.sha256(b"weights 0").hexdigest()}
    weights["member-1/mace.model"] = hashlib.sha256(b"other").hexdigest()
    assert bundle.load(made(weights=weights)).fingerprint != first


def test_there_is_none(tmp_path):
    with pytest.raises(NoInput, match="no such model bundle"):
        bundle.load(str(tmp_path / "none.model"))
    with pytest.raises(NoInput) as refused:
        bundle.load("xtb")
    assert "psiflow model combine xtb -o xtb.model" in refused.value.hint
    with pytest.raises(BadData, match="not a model bundle"):
        bundle.load(str(tmp_path))
    (tmp_path / "file.model").write_bytes(b"\x80\x02pickle")
    with pytest.raises(BadData, match="not a model bundle"):
        bundle.load(str(tmp_path / "file.model"))
    (tmp_path / "model.toml").write_bytes(b"family = \xff\n")
    with pytest.raises(BadData, match="not a model bundle"):
        bundle.load(str(tmp_path))


@pytest.mark.parametrize(
    ("changes", "what"),
    [
        ({"family": None}, "family"),
        ({"elements": "HO"}, "elements"),
        ({"members": "two"}, "members"),
        ({"weights": None}, "weights"),
        ({"weights": 3}, "weights"),
        ({"weights": {}}, "weights"),
        ({"members": 0}, "weights"),
        ({"members": 3}, "weights"),
        ({"members": 1}, "weights"),
        ({"weights": {"member-0/mace.model": "0" * 64, "../member-1/mace.model": "0" * 64}}, "weights"),
        ({"weights": {"": "0" * 64}}, "weights"),
    ],
)
def test_facts_that_are_missing_or_wrong(made, changes, what):
    with pytest.raises(BadData, match=what) as caught:
        bundle.load(made(**changes))
    assert caught.value.hint


def test_weights_that_are_not_those(made):
    folder = Path(made())
    file = folder / "member-1" / "mace.model"
    good = file.read_bytes()
    file.write_bytes(good + b"\n")
    with pytest.raises(BadData, match=r"member-1/mace.model: .*sha256"):
        bundle.load(str(folder))
    file.unlink()
    with pytest.raises(BadData, match=r"member-1/mace.model: missing"):
        bundle.load(str(folder))
    file.write_bytes(good)
    bundle.load(str(folder))
    (folder / "member-0" / "another.model").write_bytes(b"smuggled in")
    with pytest.raises(BadData, match=r"member-0/another.model: these weights are not in model.toml"):
        bundle.load(str(folder))


def test_logs_may_change(made):
    folder = Path(made())
    (folder / "member-0" / "train.log").write_text("another\n")
    (folder / "notes.txt").write_text("mine\n")
    bundle.load(str(folder))


def test_toml_of_odd_numbers():
    facts = {"small": 1e-300, "large": 1e22, "none": -0.0, "infinite": float("inf"), "empty": [], "table": {}}
    assert toml.loads(toml.dumps(facts)) == facts
