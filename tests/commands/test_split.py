"""psiflow split: sizes, no structure in two parts, isolated atoms in the first, seeds, groups, proportions."""

from __future__ import annotations

import json
import re
from collections import Counter
from pathlib import Path

import pytest

from tests.commands.inputs import ATOMS

pytestmark = pytest.mark.usefixtures("in_threads")


def frame(x, extra=""):
    return f'2\nProperties=species:S:1:pos:R:3 energy={-x!r}{extra} pbc="F F F"\nO 0.0 0.0 0.0\nH {x!r} 0.0 0.0\n'


def distances(name):
    """The x of the hydrogen of each two-atom frame in a file."""
    lines = Path(name).read_text().splitlines()
    return [float(line.split()[1]) for line in lines if line.startswith("H") and not line.startswith("H 0.0 ")]


def test_sizes_order_and_content(psiflow):
    frames = [frame(1 + i / 100) for i in range(50)]
    Path("data.xyz").write_text("".join(frames))
    said = psiflow("split", "data.xyz", "--parts", "train=0.8,valid=0.12,test=0.08", "--json").stdout
    parts = {name: Path(f"data.{name}.xyz").read_text() for name in ("train", "valid", "test")}
    assert [text.count("energy=") for text in parts.values()] == [40, 6, 4]
    assert [part["frames"] for part in json.loads(said)["parts"].values()] == [40, 6, 4]
    seen = [x for name in parts for x in distances(f"data.{name}.xyz")]
    assert sorted(seen) == [1 + i / 100 for i in range(50)]
    for name, text in parts.items():
        assert distances(f"data.{name}.xyz") == sorted(distances(f"data.{name}.xyz")), "input order is lost"
        for one in text.split("2\nProperties")[1:]:
            assert "2\nProperties" + one in frames, "a frame was changed"
    assert seen != sorted(seen), "the parts are not drawn at random"


def test_equal_structures_stay_together(psiflow):
    copies = {x: 1 + i % 4 for i, x in enumerate(1 + i / 10 for i in range(20))}
    # equal in structure, not in text: other spellings of numbers, other labels
    text = [
        frame(x) if k % 2 else frame(x, " note=copy").replace("0.0 0.0\n", "0 0.000\n")
        for x, n in copies.items()
        for k in range(n)
    ]
    Path("data.xyz").write_text("".join(text))
    for seed in range(5):
        psiflow("split", "data.xyz", "--parts", "train=0.5,test=0.5", "--seed", seed, "-o", f"s{seed}.xyz")
        train, test = distances(f"s{seed}.train.xyz"), distances(f"s{seed}.test.xyz")
        assert not set(train) & set(test)
        assert len(set(train)) == len(set(test)) == 10
        assert len(train) + len(test) == sum(copies.values())


def test_isolated_atoms_go_to_the_first_part(psiflow):
    crystal = '1\nLattice="3 0 0 0 3 0 0 0 3" Properties=species:S:1:pos:R:3 pbc="T T T"\nCu {} 0.0 0.0\n'
    boxed = (
        '1\nLattice="9 0 0 0 9 0 0 0 9" Properties=species:S:1:pos:R:3 config_type=IsolatedAtom pbc="T T T"\nH 0 0 0\n'
    )
    crystals = "".join(crystal.format(i / 10) for i in range(4))
    Path("data.xyz").write_text("".join(frame(1 + i / 10) for i in range(4)) + ATOMS + boxed + crystals)
    for seed in range(4):
        psiflow("split", "data.xyz", "--parts", "a=0.5,b=0.5", "--seed", seed, "-o", f"s{seed}.xyz")
        first, second = (Path(f"s{seed}.{name}.xyz").read_text() for name in "ab")
        assert first.count("IsolatedAtom") == 3
        assert "IsolatedAtom" not in second
        # one-atom crystals are structures like any other: four molecules and four crystals are drawn
        assert first.count("energy=") + first.count("Cu ") == second.count("energy=") + second.count("Cu ") == 4


def test_the_seed_decides(psiflow):
    Path("data.xyz").write_text("".join(frame(1 + i / 100) for i in range(30)))
    for name, seed in (("a", 1), ("b", 1), ("c", 2)):
        psiflow("split", "data.xyz", "--seed", seed, "-o", f"{name}.xyz")
    a, b, c = (Path(f"{name}.test.xyz").read_bytes() for name in "abc")
    assert a == b
    assert a != c


def test_again_and_not_over_others(psiflow):
    Path("data.xyz").write_text("".join(frame(1 + i / 100) for i in range(10)))
    Path("data.valid.xyz").write_text("mine\n")
    assert "data.valid.xyz" in psiflow("split", "data.xyz", code=73).stderr
    assert not Path("data.train.xyz").exists()
    assert Path("data.valid.xyz").read_text() == "mine\n"
    psiflow("split", "data.xyz", "--overwrite")
    assert "up to date" in psiflow("split", "data.xyz").stderr
    Path("data.test.xyz").unlink()
    psiflow("split", "data.xyz")
    assert Path("data.test.xyz").exists(), "a missing part is not made again"


def test_stdin_needs_a_name(psiflow):
    text = "".join(frame(1 + i / 100) for i in range(10))
    psiflow("split", "-", stdin=text, code=2)
    psiflow("split", "-", "-o", "out.xyz", stdin=text)
    assert len(distances("out.train.xyz")) == 8


def values(name, key):
    """How often each value of a key is in a file."""
    return Counter(re.findall(rf" {key}=(\w+)", Path(name).read_text()))


def test_groups_stay_together(psiflow):
    walkers = [n for n in range(20) for _ in range(5 + n % 2 * 2)]
    Path("data.xyz").write_text("".join(frame(1 + i / 1000, f" walker={n}") for i, n in enumerate(walkers)) + ATOMS)
    for seed in range(3):
        done = psiflow("split", "data.xyz", "--group", "walker", "--seed", seed, "-o", f"s{seed}.xyz", "--json")
        found = [values(f"s{seed}.{name}.xyz", "walker") for name in ("train", "valid", "test")]
        assert sum(found, Counter()) == Counter(map(str, walkers))
        assert sum(len(part) for part in found) == 20, "a walker is in two parts"
        assert all(abs(part.total() - 120 * share) <= 7 for part, share in zip(found, (0.8, 0.1, 0.1), strict=True))
        parts = json.loads(done.stdout)["parts"].values()
        assert [part["groups"] for part in parts] == [len(part) for part in found]
    assert values("s0.test.xyz", "walker").keys() != values("s1.test.xyz", "walker").keys()
    assert values("s0.train.xyz", "config_type")["IsolatedAtom"] == 2


def test_groups_that_share_a_structure_stay_together(psiflow):
    text = [frame(1 + n + i / 10, f" walker={n}") for n in range(6) for i in range(3)]
    text += [frame(1.0 + n, f" walker={n + 1}") for n in range(2)]  # links 0, 1 and 2
    text += [frame(9.0), frame(9.1), frame(9.0)]
    Path("data.xyz").write_text("".join(text))
    for seed in range(4):
        done = psiflow(
            "split", "data.xyz", "--group", "walker", "--parts", "a=0.5,b=0.5", "--seed", seed, "-o", "s.xyz"
        )
        a, b = values("s.a.xyz", "walker"), values("s.b.xyz", "walker")
        assert not a.keys() & b.keys()
        assert len({"0", "1", "2"} & a.keys()) in (0, 3)
        assert not set(distances("s.a.xyz")) & set(distances("s.b.xyz"))
        assert abs(a.total() - b.total()) <= 4
    assert "no walker in 3 frames" in done.stderr


def test_every_part_gets_a_group(psiflow):
    Path("data.xyz").write_text("".join(frame(1 + i / 1000, f" walker={i // 10}") for i in range(30)))
    psiflow("split", "data.xyz", "--group", "walker")
    assert [len(values(f"data.{name}.xyz", "walker")) for name in ("train", "valid", "test")] == [1, 1, 1]


@pytest.mark.parametrize("key", ["config_type", "composition"])
def test_each_part_has_its_share_of_every_kind(psiflow, key):
    kinds = ["bulk"] * 70 + ["slab"] * 20 + ["ion"] * 10
    elements = {"bulk": "O", "slab": "N", "ion": "F"}
    text = [
        frame(1 + i / 1000, f" config_type={kind}").replace("\nO ", f"\n{elements[kind]} ")
        for i, kind in enumerate(kinds)
    ]
    Path("data.xyz").write_text("".join(text) + ATOMS)
    for seed in range(3):
        done = psiflow("split", "data.xyz", "--stratify", key, "--seed", seed, "-o", "s.xyz", "--json", "--overwrite")
        for name, share in (("train", 0.8), ("valid", 0.1), ("test", 0.1)):
            found = values(f"s.{name}.xyz", "config_type")
            found.pop("IsolatedAtom", None)
            assert found == {"bulk": 70 * share, "slab": 20 * share, "ion": 10 * share}
        assert sum(json.loads(done.stdout)["parts"]["test"]["kinds"].values()) == 10


def test_many_rare_kinds_still_meet_the_shares(psiflow):
    Path("data.xyz").write_text("".join(frame(1 + i / 1000, f" config_type=c{i // 2}") for i in range(100)))
    psiflow("split", "data.xyz", "--stratify", "config_type")
    assert [values(f"data.{name}.xyz", "config_type").total() for name in ("train", "valid", "test")] == [80, 10, 10]


def test_groups_and_kinds_at_once(psiflow):
    text = [frame(1 + i / 1000, f" walker={i // 5} config_type={'ab'[i // 5 % 4 == 0]}") for i in range(200)]
    Path("data.xyz").write_text("".join(text))
    psiflow("split", "data.xyz", "--group", "walker", "--stratify", "config_type", "--parts", "a=0.8,b=0.2")
    a, b = (values(f"data.{name}.xyz", "walker") for name in "ab")
    assert not a.keys() & b.keys()
    assert values("data.a.xyz", "config_type") == {"a": 120, "b": 40}
    assert values("data.b.xyz", "config_type") == {"a": 30, "b": 10}


@pytest.mark.parametrize(
    ("arguments", "code", "what"),
    [
        (("data.xyz", "--parts", "train=0.8,test=0.3"), 2, "1.1"),
        (("data.xyz", "--parts", "train=0.5,train=0.5"), 2, "twice"),
        (("data.xyz", "--parts", "train=1.5,test=-0.5"), 2, "test=-0.5"),
        (("data.xyz", "--parts", "train"), 2, "'train'"),
        (("data.xyz", "--parts", "../up=0.5,b=0.5"), 2, "../up"),
        (("data.xyz", "--parts", "a=nan,b=0.5"), 2, "a=nan"),
        (("data.xyz", "--group", "walkr"), 65, "did you mean 'walker'"),
        (("data.xyz", "--stratify", "config_type"), 65, "no frame has the key 'config_type'"),
        (("data.xyz", "--group", "walker"), 65, "stay together (1)"),
        (("data.xyz", "--group", "walker", "--stratify", "walker"), 2, "both walker"),
        (("missing.xyz",), 66, "missing.xyz"),
        (("data.xyz", "--seed", "-1"), 2, "--seed"),
        (("data.xyz", "-o", "none/out.xyz"), 73, "none"),
    ],
)
def test_wrong_usage(psiflow, arguments, code, what):
    Path("data.xyz").write_text(frame(1.0, " walker=0"))
    done = psiflow("split", *arguments, code=code)
    assert what in done.stderr
    assert len(done.stderr.strip().splitlines()) <= 2
