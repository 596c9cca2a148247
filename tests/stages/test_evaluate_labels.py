"""What evaluate says of the labels that it has nothing, or not everything, to compare with."""

from __future__ import annotations

from psiflow_cli import extxyz
from psiflow_cli.stages.evaluate.stage import _Labels

CELL = 'Lattice="9 0 0 0 9 0 0 0 9"'


def said(tmp_path, capsys, comment, keys=None):
    (tmp_path / "in.xyz").write_text(f"2\n{CELL} {comment} Properties=species:S:1:pos:R:3\nH 0 0 0\nH 0 0 1\n")
    labels = _Labels(keys)
    for frame in extxyz.read(tmp_path / "in.xyz"):
        labels.see(frame)
    labels.note_uncompared()
    return capsys.readouterr().err


def test_what_is_not_compared(tmp_path, capsys):
    assert said(tmp_path, capsys, "energy=-1 virial='1 0 0 0 1 0 0 0 1'") == ""
    slab = said(tmp_path, capsys, "energy=-1 virial='1 0 0 0 1 0 0 0 1' pbc='T T F'")
    assert "the stress of a frame that is not periodic in all three directions is not used" in slab
    assert "--keys energy=DFT_energy" in said(tmp_path, capsys, "DFT_energy=-1")
    assert said(tmp_path, capsys, "DFT_energy=-1", {"energy": "DFT_energy"}) == ""
