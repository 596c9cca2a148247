"""A journal survives being cut or flipped anywhere, and loses at most the record that was hit (R2)."""

from __future__ import annotations

import json

import pytest

from psiflow_cli.runtime import journal

RECORDS = [
    {"kind": "unit", "id": f"{i:016x}", "ok": True, "value": {"energy": -1.5 * i, "note": 'a "b" {c}'}}
    for i in range(5)
]


@pytest.fixture
def written(tmp_path):
    path = tmp_path / "journal.jsonl"
    book = journal.Journal(path)
    offsets = [o for record in RECORDS for o in book.append(record)]
    book.close()
    return path, offsets


def ids(path):
    return [record["id"] for _, record in journal.records(path)]


def test_every_line_is_json_and_comes_back(written):
    path, offsets = written
    lines = path.read_text().splitlines()
    assert [json.loads(line)["value"] for line in lines] == [r["value"] for r in RECORDS]
    book = journal.Journal(path)
    assert [book.value(o) for o in offsets] == [r["value"] for r in RECORDS]


def test_a_cut_at_any_byte_loses_at_most_one_record(written):
    path, _ = written
    data = path.read_bytes()
    for length in range(len(data) + 1):
        path.write_bytes(data[:length])
        whole = sum(data[:length].count(b"\n", 0, length) > i for i in range(5))
        kept = ids(path)
        assert kept == [r["id"] for r in RECORDS[: len(kept)]]
        assert len(kept) in (whole, whole + 1), length  # the last record may lack nothing but its line end


def test_appending_after_a_cut_keeps_both_sides(written):
    path, offsets = written
    data = path.read_bytes()
    for length in range(offsets[3], offsets[4]):
        path.write_bytes(data[:length])
        book = journal.Journal(path)
        (offset,) = book.append({"kind": "unit", "id": "new", "ok": True, "value": 7})
        assert book.value(offset) == 7
        book.close()
        assert [i for i in ids(path) if i not in ("new", RECORDS[3]["id"])] == [r["id"] for r in RECORDS[:3]]
        assert ids(path)[-1] == "new"


def test_any_flipped_byte_loses_at_most_one_record(written):
    path, _ = written
    data = path.read_bytes()
    for place in range(len(data)):
        for flip in (0x01, 0x80, data[place] ^ 0x0A):
            if not flip:
                continue
            broken = bytearray(data)
            broken[place] ^= flip
            path.write_bytes(bytes(broken))
            kept = ids(path)
            assert len(kept) >= 4, (place, flip)
            assert set(kept) <= {r["id"] for r in RECORDS}


def test_salvaged_records_can_be_read_by_their_offset(written):
    path, offsets = written
    data = bytearray(path.read_bytes())
    data[offsets[2] - 1] = ord("x")  # the line end between the second and the third record
    path.write_bytes(bytes(data))
    book = journal.Journal(path)
    found = {record["id"]: book.value(offset) for offset, record in journal.records(path)}
    assert found == {r["id"]: r["value"] for r in RECORDS}
