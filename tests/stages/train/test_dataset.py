"""Training data as a whole: what is refused before anything is submitted, who is drawn, and what a trainer gets."""

from __future__ import annotations

from functools import partial
from pathlib import Path

import pytest

from psiflow_cli import extxyz
from psiflow_cli.errors import BadData
from psiflow_cli.stages.train import dataset, e0s

CELL = 'Lattice="5 0 0 0 5 0 0 0 5" '


def frame(shift, symbol="H", more="", cell="", stress=""):
    """A molecule that no other shift gives."""
    pbc = "T T T" if cell else "F F F"
    return (
        f'2\n{cell}Properties=species:S:1:pos:R:3:forces:R:3 energy=-1.5 {stress}{more} pbc="{pbc}"\n'
        f"O 0 0 0 0.1 0 0\n{symbol} {1 + shift / 100} 0 0 -0.1 0 0\n"
    )


def frames(*shifts, **given):
    return "".join(frame(shift, **given) for shift in shifts)


@pytest.fixture
def read(tmp_path, monkeypatch):
    """Read these texts as the training, validation and old data."""
    monkeypatch.chdir(tmp_path)

    def run(train, valid="", old=(), share=0.25, seed=0, mixed=False, replay=True, keys=None, apart=False):
        texts = {"in.xyz": train, "valid.xyz": valid, **{f"old-{part}.xyz": text for part, text in old}}
        readers = {}
        for name, text in texts.items():
            Path(name).write_text(text)
            readers[name] = partial(extxyz.read, Path(name))
        sources = dataset.Sources(
            readers["in.xyz"], keys, readers["valid.xyz"] if valid else None,
            {part: readers[f"old-{part}.xyz"] for part, _ in old}, replay,
        )  # fmt: skip
        return sources, dataset.read(sources, share, seed, mixed, apart)

    return run


def said(read, *given, **named):
    with pytest.raises(BadData) as caught:
        read(*given, **named)
    assert caught.value.hint
    return caught.value.message


def test_a_validation_frame_that_is_trained_on(read):
    message = said(read, frames(1, 2, 3), frames(8, 3, 2))
    assert message == "valid.xyz:5: frame 2: also a training frame (in.xyz:9: frame 3, and 1 more)"
    _, data = read(frames(1, 2, 3), frames(3, 2, 1))  # the same set: that must be meant
    assert "say nothing about new structures" in data.notes[0]
    assert data.parts == ["train"] * 3 + ["valid"] * 3


def test_elements_that_cannot_be_learned(read):
    message = said(read, frames(1, 2), frames(5) + frames(6, symbol="N"))
    assert message == "valid.xyz:5: frame 2: N occurs in no training frame, so nothing about it can be learned"
    shares = [read(frames(1, 2, 3), seed=seed)[1].parts for seed in range(4)]
    assert all(parts.count("valid") == 1 for parts in shares)
    drawn = [said(read, frames(1), frames(2, symbol="N"))]
    assert "N" in drawn[0]


def test_another_level_of_theory(read):
    pbe, scan = "psiflow_reference=aaaa1111aaaa1111 psiflow_code=one", "psiflow_reference=bbbb2222bbbb2222"
    message = said(read, frames(1, 2, more=pbe), frames(3, more=scan))
    assert message.startswith("valid.xyz:1: frame 1: labelled by another method: psiflow_reference=bbbb2222bbbb2222")
    assert "aaaa1111aaaa1111 (one) in in.xyz:1: frame 1" in message
    assert "in.xyz:9: frame 3" in said(read, frames(1, 2, more=pbe) + frames(3, more=scan))
    _, data = read(frames(1, 2, more=pbe), frames(3, more=scan), mixed=True)
    assert ["another method" in note for note in data.notes] == [True]
    newer = pbe.replace("one", "two")  # a new version of the code is no other method
    assert read(frames(1, 2, more=pbe) + frames(3, more=newer))[1].notes == []
    atom = '1\nProperties=species:S:1:pos:R:3 energy=-1 psiflow_reference=cccc3333cccc3333 pbc="F F F"\nH 0 0 0\n'
    assert read(frames(1, 2, 3, more=pbe) + atom)[1].notes == []
    other = frames(1, 2, more=pbe + " my=-2") + frames(3, more=scan + " my=-2")
    assert read(other, keys={"energy": "my"})[1].notes == []  # psiflow's fingerprint is not about these labels


def test_another_head(read):
    heads = frames(1, 2, more="head=pbe") + frames(3, more="head=ccsdt")
    assert said(read, heads).startswith(
        "in.xyz:9: frame 3: labelled by another method: head=ccsdt, but head=pbe in in.xyz:1"
    )
    assert ["another method" in note for note in read(heads, mixed=True)[1].notes] == [True]
    assert read(frames(1, 2, 3, more="head=pbe"))[1].notes == []
    assert read(heads, mixed=True, apart=True)[1].heads == []


def test_several_heads(read):
    """A family that trains heads gets frames and atoms of each; a structure of both is in one part."""
    atom = '1\nProperties=species:S:1:pos:R:3 energy={} head={} pbc="F F F"\nH 0 0 0\n'
    atoms = atom.format(-1, "pbe") + atom.format(-2, "ccsdt")
    both = frames(*range(1, 9), more="head=pbe") + frames(*range(1, 9), more="head=ccsdt") + atoms
    for seed in range(3):
        sources, data = read(both, apart=True, seed=seed)
        assert (data.heads, data.notes) == (["ccsdt", "pbe"], [])
        assert data.parts[:8] == data.parts[8:16], "the model would know a validation frame already"
        assert data.parts.count("valid") == 4
        assert (data.e0s("pbe"), data.e0s("ccsdt")) == ({"H": -1}, {"H": -2})
        assert sum("head=pbe" in text for text in dataset.render(sources, data, "train")) == 6
    few = frames(*range(1, 9), more="head=pbe") + frames(20, more="head=ccsdt")
    assert "no frames of head=ccsdt to validate on" in said(read, few, apart=True)
    assert "frame 9: no head, but head=pbe in in.xyz:1" in said(read, both.replace(" head=ccsdt", "", 1), apart=True)
    scan = frames(30, 31, more="head=pbe psiflow_reference=b") + frames(*range(1, 9), more="head=ccsdt")
    mixed = frames(*range(1, 9), more="head=pbe psiflow_reference=a") + scan
    assert "psiflow_reference=b, but psiflow_reference=a" in said(read, mixed, apart=True)
    assert "an isolated H atom at -2" in said(read, both.replace("head=ccsdt pbc", "head=pbe pbc"), apart=True)


def test_a_virial_is_trained_on_as_a_stress(read):
    virial = 'REF_virials="-2.16 0 0 0 -4.32 0 0 0 -6.48" '
    sources, data = read(frames(1, 2, 3, cell=CELL, stress=virial))
    assert (data.with_stress, data.notes) == (3, [])
    (text, *_) = dataset.render(sources, data, "train")
    assert "virial" not in text
    assert float(text.partition('stress="')[2].split()[0]) == pytest.approx(2.16 / 125)
    mine = virial.replace("REF_virials", "my_virials")
    _, data = read(frames(1, 2, 3, cell=CELL, stress=mine))
    assert data.notes == ["my_virials looks like a stress, but is not read: use --keys virial=my_virials to read it"]
    assert read(frames(1, 2, 3, cell=CELL, stress=mine), keys={"virial": "my_virials"})[1].with_stress == 3


def test_an_ion_is_the_atom_only_where_there_is_no_other(read):
    one = "1\nProperties=species:S:1:pos:R:3 energy={} charge={} pbc='F F F'\nH 0 0 0\n"
    data = frames(1, 2, 3) + one.format(0.5, 1) + one.format(-14.3, -1)
    assert read(data + one.format(-13.6, 0))[1].e0s() == {"H": -13.6}
    assert "an isolated H atom at -14.3 eV" in said(read, data)
    assert read(frames(1, 2, 3) + one.format(0.5, 1))[1].e0s() == {"H": 0.5}


def test_a_label_under_a_near_name(read, tmp_path):
    with pytest.raises(BadData) as error:
        read(frames(1, 2).replace("energy=", "DFT_energy="))
    assert error.value.hint == "if it has another name, use --keys energy=DFT_energy"


@pytest.mark.parametrize("weight", ["-1", "nan", "inf", "much", "T"])
def test_a_weight_that_is_none(read, weight):
    assert "in.xyz:5: frame 2: config_weight=" in said(read, frame(1) + frame(2, more=f"config_weight={weight}"))


def test_where_a_frame_counts_more_than_others(read):
    _, data = read(frame(1) + frame(2, more="config_weight=1.0"))
    assert data.weighted == ""
    _, data = read(frame(1) + frame(2, more="config_forces_weight=2"))
    assert data.weighted == "in.xyz:5: frame 2: config_forces_weight=2"


UNUSED = "the stress of {} not periodic in all three directions is not used"


def test_stress_of_some_frames(read):
    stress = 'stress="1 0 0 0 2 0 0 0 3" '
    _, data = read(frames(1, 2, cell=CELL, stress=stress) + frames(3, cell=CELL) + frames(4, stress=stress))
    assert data.notes == [
        UNUSED.format("a frame that is"),
        "2 of 3 periodic frames have a stress: for the others only energy and forces are trained on",
    ]
    sources, data = read(frames(1, 2, 3, cell=CELL, stress=stress) + frames(4, 5, stress=stress))
    assert data.notes == [UNUSED.format("2 frames that are")]
    texts = [t for part in ("train", "valid") for t in dataset.render(sources, data, part)]
    assert sum(" stress=" in text for text in texts) == 3, "a molecule has no volume, and so no stress"


def test_what_a_trainer_gets(read):
    more = "config_type=cold config_weight=2.5 config_forces_weight=0.5 psiflow_reference=ab free_energy=-9 name=x"
    sources, data = read(frames(1, 2, 3, 4, more=more).replace(" energy=", " dft_energy="))
    Path("out.xyz").write_text("".join(dataset.render(sources, data, "train")))
    out = list(extxyz.read(Path("out.xyz")))
    assert len(out) == 3
    assert out[0].info == {
        "energy": -1.5, "config_type": "cold", "config_weight": 2.5, "config_forces_weight": 0.5,
        "psiflow_reference": "ab",
    }  # fmt: skip


def test_bootstraps(read):
    _, data = read(frames(*range(40)), frames(50, 51))
    first, again, second = data.copies(7, 0), data.copies(7, 0), data.copies(7, 1)
    assert first == again != second
    assert first != data.copies(8, 0)
    assert sum(first[:40]) == sum(second[:40]) == 40
    assert 0 in first[:40]
    assert max(first[:40]) > 1
    assert first[40:] == [1, 1], "validation data are drawn from"
    sources, data = read(frames(1, 2), frames(9))
    texts = list(dataset.render(sources, data, "train", [3, 0, 1]))
    assert texts == [texts[0]] * 3


def test_old_data_are_replayed(read):
    old = [("train", frames(1, 2, 3)), ("valid", frames(4))]
    sources, data = read(frames(3, 4, 5, 6, 7, 8), old=old)
    parts = data.parts[:6]
    assert parts[:2] == ["train", "valid"], "a structure that a model knows stays where it was"
    assert sorted(parts[2:]) == ["train", "train", "train", "valid"]
    assert data.parts[6:] == ["train", "train", "", ""], "what is among the new is not doubled"
    assert data.replayed == 2
    assert len(list(dataset.render(sources, data, "train"))) == 6
    _, data = read(frames(3, 4, 5, 6, 7, 8), old=old, replay=False)
    assert (len(data.parts), data.parts[:2], data.replayed) == (6, ["train", "valid"], 0)
    _, data = read(frames(5, 6), frames(2, 9), old=old)  # a validation file wins
    assert data.parts == ["train", "train", "valid", "valid", "train", "", "train", ""]
    _, data = read(frames(5, 6, symbol="N"), frames(7, symbol="N"), old=[("train", frames(1))], replay=False)
    assert data.elements == {"O", "N"}


def test_rounded_copies_are_the_same_structures(read):
    """Numbers that differ in the ninth decimal."""
    rounded = partial(frames, *(shift + 3e-7 for shift in (1, 2, 3)))
    assert "valid.xyz:1: frame 1: also a training frame" in said(read, frames(1, 2, 3, 4), rounded())
    _, data = read(frames(1, 2, 3), rounded())
    assert data.notes[0].startswith("the validation data are the training data")
    _, data = read(rounded() + frames(7, 8), old=[("train", frames(1, 2)), ("valid", frames(3))])
    assert (data.parts[:3], data.replayed) == (["train", "train", "valid"], 0)
    assert data.parts[5:] == ["", "", ""]


def test_replayed_labels_are_of_the_same_method(read):
    old = [("train", frames(1, more="psiflow_reference=ab"))]
    assert "old-train.xyz:1: frame 1: labelled by another" in said(
        read, frames(2, 3, 4, more="psiflow_reference=cd"), old=old
    )


def test_energies_stay_those_of_the_model_to_start_from():
    start = {"H": -13.0, "O": -400.0}
    assert e0s.choose({"H", "O"}, {}, set(), None, start) == (start, "")
    found = {"H": -13.0005, "O": -400.5}
    energies, note = e0s.choose({"H", "O"}, found, set(), None, start)
    assert energies == start
    assert "O -400.5 eV here, -400 eV there" in note
    assert "H" not in note
    assert e0s.choose({"H", "O"}, found, set(), {"O": -1.0}, start) == ({"H": -13.0, "O": -1.0}, "")
    assert e0s.choose({"H"}, {}, set(), "average", start) == ("average", "")
    with pytest.raises(BadData, match="for O"):
        e0s.choose({"H", "O"}, {"H": -1.0}, set(), None, None)
